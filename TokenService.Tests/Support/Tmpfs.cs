using System;
using System.IO;
using System.Threading.Tasks;
using FluentAssertions;
using Xunit;

namespace TokenService.Tests.Support;

/// <summary>A small disk of its own, in memory.</summary>
internal sealed class Tmpfs : IAsyncDisposable
{
    private Tmpfs(string path) => Path = path;

    public string Path { get; }

    /// <param name="path">A folder to make.</param>
    /// <param name="size">As mount takes it: <c>2m</c>.</param>
    public static async Task<Tmpfs> Mount(string path, string size)
    {
        Directory.CreateDirectory(path);
        await Run("mount", "-t", "tmpfs", "-o", $"size={size}", "tmpfs", path);
        return new Tmpfs(path);
    }

    public Task Remount(string mode) => Run("mount", "-o", $"remount,{mode}", Path);

    /// <summary>Writes a file until nothing more goes in.</summary>
    /// <returns>The file.</returns>
    public string Fill()
    {
        var file = System.IO.Path.Combine(Path, "ballast");
        using var stream = new FileStream(file, FileMode.Create, FileAccess.Write, FileShare.None, bufferSize: 0);
        try
        {
            while (true)
            {
                stream.Write(new byte[4096]);
            }
        }
        catch (IOException)
        {
            return file;
        }
    }

    public async ValueTask DisposeAsync() => await Run("umount", Path);

    private static async Task Run(string program, params string[] args)
    {
        var run = await RunningProgram.Run(program, args);
        run.ExitCode.Should().Be(0, run.Error);
    }
}

/// <summary>A test that mounts a disk; reported as skipped where that is not allowed.</summary>
internal sealed class TmpfsFactAttribute : FactAttribute
{
    private static readonly Lazy<bool> s_allowed = new(() => OperatingSystem.IsLinux() && Environment.IsPrivilegedProcess && CanMount());

    public TmpfsFactAttribute()
    {
        if (!s_allowed.Value)
        {
            Skip = "needs to mount a tmpfs: run as root, in a container with CAP_SYS_ADMIN";
        }
    }

    private static bool CanMount()
    {
        var folder = Directory.CreateTempSubdirectory("token-service-test-").FullName;
        var mounted = RunningProgram.Run("mount", ["-t", "tmpfs", "tmpfs", folder]).GetAwaiter().GetResult().ExitCode == 0;
        if (mounted)
        {
            RunningProgram.Run("umount", [folder]).GetAwaiter().GetResult();
        }

        Directory.Delete(folder);
        return mounted;
    }
}
