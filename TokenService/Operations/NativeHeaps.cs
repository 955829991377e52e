using System;
using System.Runtime.InteropServices;

namespace TokenService.Operations;

/// <summary>Has the C library keep as many heaps as there are cores (<c>M_ARENA_MAX</c>, mallopt(3)).</summary>
/// <remarks>
/// glibc gives nearly each thread a heap of its own, and none gives back what it once had. What signs and what stores takes native memory, on whatever thread it
/// happens to run: so memory would grow for minutes, by some hundred KiB whenever a thread does something for the first time. More heaps than cores serve nobody.
/// </remarks>
internal static partial class NativeHeaps
{
    private const int ArenaMax = -8;

    /// <summary>Begins it; to be called before there are many threads.</summary>
    /// <remarks>Not where the C library is another one, which has no such heaps.</remarks>
    public static void Limit()
    {
        if (!OperatingSystem.IsLinux())
        {
            return;
        }

        try
        {
            _ = SetOption(ArenaMax, Environment.ProcessorCount);
        }
        catch (EntryPointNotFoundException)
        {
            // musl: one heap for all.
        }
    }

    [LibraryImport("libc", EntryPoint = "mallopt")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int SetOption(int option, int value);
}
