using System;
using System.Diagnostics;
using System.IO;
using System.Threading.Tasks;
using FluentAssertions;

namespace TokenService.Tests.Support;

/// <summary>
/// The program of a former commit, built from the repository's own history. It is kept beside what the build makes, since a commit is always the
/// same: a second run has it at once.
/// </summary>
internal static class PreviousBuild
{
    public const string Programs = "git dotnet tar";

    public const string InstalledBy = "apt-get install git tar";

    /// <summary>Builds a commit, which takes half a minute, where that was not done before.</summary>
    /// <returns>The program.</returns>
    public static async Task<string> Of(string commit)
    {
        var kept = Repository.File("TokenService.Tests", "obj", "previous", commit);
        if (!Directory.Exists(kept))
        {
            // On the same disk, and under its name only when it is whole.
            var parent = Directory.CreateDirectory(Path.GetDirectoryName(kept)!).FullName;
            var folder = Directory.CreateDirectory(Path.Combine(parent, Path.GetRandomFileName())).FullName;
            try
            {
                await Build(commit, folder);
                Directory.Move(Path.Combine(folder, "out"), kept);
            }
            finally
            {
                Directory.Delete(folder, recursive: true);
            }
        }

        return Path.Combine(kept, "TokenService");
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
