using System;
using System.Diagnostics;
using System.IO;
using System.Threading;
using System.Threading.Tasks;
using FluentAssertions;

namespace TokenService.Tests.Support;

/// <summary>The program of a former commit, built from the repository's own history; once for each commit, in the folder for temporary files.</summary>
internal static class PreviousBuild
{
    public const string Programs = "git dotnet tar";

    public const string InstalledBy = "apt-get install git tar";

    private static readonly SemaphoreSlim s_one = new(1);

    /// <summary>Where the program is.</summary>
    public static async Task<string> Program(string commit)
    {
        await s_one.WaitAsync();
        try
        {
            var built = Path.Combine(Path.GetTempPath(), $"token-service-build-{Environment.UserName}-{commit[..12]}");
            if (!Directory.Exists(built))
            {
                var folder = Directory.CreateTempSubdirectory("token-service-build-").FullName;
                await Build(commit, folder);
                try
                {
                    // In one step: what is there is whole.
                    Directory.Move(Path.Combine(folder, "out"), built);
                }
                catch (IOException) when (Directory.Exists(built))
                {
                    // Another run was first.
                }

                Directory.Delete(folder, recursive: true);
            }

            return Path.Combine(built, "TokenService");
        }
        finally
        {
            s_one.Release();
        }
    }

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
