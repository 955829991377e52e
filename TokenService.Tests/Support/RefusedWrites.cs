using System;
using System.Diagnostics;
using System.Globalization;
using System.IO;
using System.Linq;
using System.Threading.Tasks;
using FluentAssertions;

namespace TokenService.Tests.Support;

/// <summary>
/// A running program's disk that becomes read-only, as a file system makes itself where it meets an error: what is open stays open, and what is written
/// to it is refused. Nobody can remount a disk so while a file on it is open for writing; strace makes it so for one process.
/// </summary>
internal sealed class RefusedWrites
{
    private const string Calls = "pwrite64,pwritev,ftruncate,fallocate";

    private readonly Process _strace;

    private RefusedWrites(Process strace) => _strace = strace;

    /// <summary>From when this returns, no thread of the process writes into a file at a position: SQLite alone does so.</summary>
    public static async Task<RefusedWrites> Begin(int id)
    {
        string[] args = ["-f", "-qqq", "-o", "/dev/null", "-e", $"trace={Calls}", "-e", $"inject={Calls}:error=EROFS", "-p", id.ToString(CultureInfo.InvariantCulture)];
        var refused = new RefusedWrites(Process.Start(new ProcessStartInfo("strace", args) { RedirectStandardError = true })!);
        var since = Stopwatch.StartNew();
        while (!Directory.GetDirectories($"/proc/{id}/task").Select(thread => Path.Combine(thread, "status")).All(IsTraced))
        {
            refused._strace.HasExited.Should().BeFalse("it is allowed to trace");
            since.Elapsed.Should().BeLessThan(TimeSpan.FromSeconds(10));
            await Task.Delay(10);
        }

        return refused;
    }

    /// <summary>Writes go through again.</summary>
    public async Task End()
    {
        using (_strace)
        {
            (await RunningProgram.Run("sh", ["-c", $"kill -TERM {_strace.Id}"])).ExitCode.Should().Be(0);
            await _strace.WaitForExitAsync().WaitAsync(TimeSpan.FromSeconds(10));
        }
    }

    private static bool IsTraced(string status)
    {
        try
        {
            return !File.ReadLines(status).Contains("TracerPid:\t0");
        }
        catch (IOException)
        {
            // The thread has ended.
            return true;
        }
    }
}
