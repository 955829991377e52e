using System.Threading.Tasks;

namespace TokenService.Tests.Support;

/// <summary>The program's commands on one store, each in a process of its own.</summary>
internal sealed class Cli(TemporaryFolder folder, string environment = "Production")
{
    /// <summary>Another build than this one.</summary>
    public string Program { get; init; } = Repository.Program;

    /// <summary>Environment variables beside those of the tests.</summary>
    public (string Name, string Value)[] Variables { get; init; } = [];

    public Task<Finished> Run(params string[] args) => RunningProgram.Run(
        Program, [$"--contentRoot={folder.Path}", $"--environment={environment}", .. args], folder.Path, Variables);

    /// <summary>Starts the service on a port, with this issuer unless another is set.</summary>
    public Task<RunningProgram> Serve(int port, params string[] settings) => RunningProgram.Start(
        Program,
        [
            $"--contentRoot={folder.Path}", $"--environment={environment}", $"--urls=http://127.0.0.1:{port}",
            $"--TokenService:Issuer=http://127.0.0.1:{port}", .. settings,
        ],
        new($"http://127.0.0.1:{port}/health/ready"),
        folder.Path,
        Variables);
}
