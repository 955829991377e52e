using System;
using System.IO;
using System.Threading;
using System.Threading.Tasks;
using FluentAssertions;

namespace TokenService.Tests.Support;

/// <summary>
/// The wall clock of a program in a process of its own, set beside the machine's: a library that is loaded before all others adds to
/// CLOCK_REALTIME alone, as setting the machine's clock would. It can be set again, and stopped, while the program runs.
/// </summary>
internal sealed class ClockShift
{
    public const string Programs = "gcc";

    public const string InstalledBy = "apt-get install gcc libc6-dev";

    private const string FileVariable = "TEST_CLOCK_SHIFT";

    private const string Source = """
        #define _GNU_SOURCE
        #include <dlfcn.h>
        #include <fcntl.h>
        #include <stdlib.h>
        #include <sys/mman.h>
        #include <time.h>

        /* How far it is set, and where it stands; both in nanoseconds, the latter 0 where it goes. */
        static volatile long long *shift;
        static int (*real)(clockid_t, struct timespec *);

        __attribute__((constructor)) static void begin(void)
        {
            real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
            const char *name = getenv("TEST_CLOCK_SHIFT");
            int file = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
            void *map = file < 0 ? MAP_FAILED : mmap(0, 2 * sizeof(long long), PROT_READ, MAP_SHARED, file, 0);
            if (map != MAP_FAILED)
                shift = map;
        }

        int clock_gettime(clockid_t clock, struct timespec *time)
        {
            if (!real)
                begin();
            int result = real(clock, time);
            if (result == 0 && shift && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
                long long now = shift[1] ? shift[1] : time->tv_sec * 1000000000LL + time->tv_nsec + shift[0];
                time->tv_sec = now / 1000000000LL;
                time->tv_nsec = now % 1000000000LL;
            }
            return result;
        }
        """;

    private static readonly Lazy<Task<string>> s_library = new(Compile, LazyThreadSafetyMode.ExecutionAndPublication);

    private readonly string _file;

    private ClockShift(string file, string library) => (_file, Variables) = (file, [("LD_PRELOAD", library), (FileVariable, file)]);

    /// <summary>What the program needs to be started with.</summary>
    public (string Name, string Value)[] Variables { get; }

    /// <summary>Makes one.</summary>
    /// <param name="file">Where it keeps how far it is set.</param>
    /// <param name="shift">How far it goes before the machine's, or, where less than nothing, behind it.</param>
    public static async Task<ClockShift> Make(string file, TimeSpan shift)
    {
        var clock = new ClockShift(file, await s_library.Value);
        clock.Set(shift);
        return clock;
    }

    /// <summary>Sets it, also of a program that runs.</summary>
    public void Set(TimeSpan shift) => Write(shift, TimeSpan.Zero);

    /// <summary>Sets it to a moment at which it stands still.</summary>
    public void Stop(DateTimeOffset moment) => Write(TimeSpan.Zero, moment - DateTimeOffset.UnixEpoch);

    private void Write(TimeSpan shift, TimeSpan stopped)
    {
        // In place: the program has this very file in its memory.
        using var file = new FileStream(_file, FileMode.OpenOrCreate, FileAccess.Write, FileShare.ReadWrite);
        file.Write([.. BitConverter.GetBytes(shift.Ticks * 100), .. BitConverter.GetBytes(stopped.Ticks * 100)]);
    }

    private static async Task<string> Compile()
    {
        var folder = Directory.CreateTempSubdirectory("token-service-clock-").FullName;
        AppDomain.CurrentDomain.ProcessExit += (_, _) => Directory.Delete(folder, recursive: true);
        var (source, library) = (Path.Combine(folder, "clock.c"), Path.Combine(folder, "clock.so"));
        await File.WriteAllTextAsync(source, Source);
        var compiled = await RunningProgram.Run("gcc", ["-shared", "-fPIC", "-O2", "-o", library, source, "-ldl"]);
        compiled.ExitCode.Should().Be(0, compiled.Error);
        return library;
    }
}
