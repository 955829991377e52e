using System;
using System.Runtime.InteropServices;

namespace TokenService.Operations;

/// <summary>
/// Has Linux schedule the service's threads as a batch (<c>SCHED_BATCH</c>, sched(7)): a thread that wakes up does not interrupt another in the
/// middle of a signature.
/// </summary>
/// <remarks>
/// Each request that arrives wakes the thread that reads from the sockets, for a moment. Otherwise it takes the core from the thread that
/// signs each time, and on a virtual machine such an interruption costs up to a tenth of an RSA signature, and more than that of a P-256 one. Under
/// load requests are read several at a time instead; a core that has nothing to do takes each at once, as ever. The share of the processor that
/// the service gets beside other programs stays the same.
/// </remarks>
internal static partial class BatchScheduling
{
    private const int Batch = 3;

    /// <summary>Begins it, for this thread and all that it starts from now on; to be called before there are others.</summary>
    /// <remarks>Not on other systems, and not where the system does not let it: then all is slower, and nothing else.</remarks>
    public static void Begin()
    {
        if (OperatingSystem.IsLinux())
        {
            var priority = 0;
            _ = SetScheduler(0, Batch, in priority);
        }
    }

    [LibraryImport("libc", EntryPoint = "sched_setscheduler")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int SetScheduler(int thread, int policy, in int priority);
}
