using System;
using System.Diagnostics;
using System.IO;
using System.Threading.Tasks;
using FluentAssertions;

namespace TokenService.Tests.Support;

/// <summary>The program of a former commit, built from the repository's own history.</summary>
internal sealed class PreviousBuild : IDisposable
{
    public const string Programs = "git dotnet tar";

    public const string InstalledBy = "apt-get install git tar";

    private readonly string _folder = Directory.CreateTempSubdirectory("token-service-build-").FullName;

    private PreviousBuild()
    {
    }

    /// <summary>The program, until this is disposed.</summary>
    public string Program => Path.Combine(_folder, "out", "TokenService");

    /// <summary>Builds a commit, which takes a minute.</summary>
    public static async Task<PreviousBuild> Of(string commit)
    {
        var build = new PreviousBuild();
        try
        {
            await Build(commit, build._folder);
            return build;
        }
        catch
        {
            build.Dispose();
            throw;
        }
    }

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    // Not by Native AOT, which takes minutes and changes nothing in what the program does.
    private static Task Build(string commit, string folder) => Run(
        """
        set -e
        git -C "$1" cat-file -e "$2^{commit}" || { echo "The history does not go back to $2: git fetch --unshallow"; exit 1; }
        git -C "$1" archive "$2" | tar -x -C "$3"
        cd "$3"
        dotnet build TokenService --configuration Release --output out --disable-build-servers -nodeReuse:false -p:RunAnalyzers=false -p:GenerateDocumentationFile=false
        """,
        Repository.Root,
        commit,
        folder);

    private static async Task Run(string script, params string[] args)
    {
        using var process = Process.Start(new ProcessStartInfo("sh", ["-c", script, "sh", .. args]) { RedirectStandardOutput = true, RedirectStandardError = true })!;
        var (output, error) = (process.StandardOutput.ReadToEndAsync(), process.StandardError.ReadToEndAsync());
        try
        {
            await process.WaitForExitAsync().WaitAsync(TimeSpan.FromMinutes(10));
        }
        catch (TimeoutException)
        {
            process.Kill(entireProcessTree: true);
            throw;
        }

        process.ExitCode.Should().Be(0, $"it builds\n{await output}\n{await error}");
    }
}
