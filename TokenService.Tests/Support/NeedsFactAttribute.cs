using System;
using System.Collections.Concurrent;
using System.IO;
using System.Linq;
using Xunit;

namespace TokenService.Tests.Support;

/// <summary>
/// A test that needs programs (their names separated by spaces) one of which may be missing on this machine: it is then reported as skipped, with what installs it. CI has all
/// of them and lets nothing be skipped.
/// </summary>
internal sealed class NeedsFactAttribute : FactAttribute
{
    public NeedsFactAttribute(string programs, string install)
    {
        if (Array.Find(programs.Split(' '), program => !OnPath(program)) is { } missing)
        {
            Skip = $"needs {missing}: {install}";
        }
    }

    private static bool OnPath(string program) => Environment.GetEnvironmentVariable("PATH")!
        .Split(Path.PathSeparator)
        .Any(folder => File.Exists(Path.Combine(folder, program)) || File.Exists(Path.Combine(folder, program + ".exe")));
}

/// <summary>The same with data.</summary>
internal sealed class NeedsTheoryAttribute : TheoryAttribute
{
    public NeedsTheoryAttribute(string programs, string install) => Skip = new NeedsFactAttribute(programs, install).Skip;
}

/// <summary>
/// A test that needs modules of Python (their names separated by spaces) one of which may be missing on this machine; reported as skipped in the same way.
/// </summary>
internal sealed class NeedsPythonFactAttribute : FactAttribute
{
    /// <summary>The system's own: Debian's packages are no other's, and another one may come first on the path.</summary>
    public const string Python = "/usr/bin/python3";

    // xunit makes the attribute of a test more than once.
    private static readonly ConcurrentDictionary<string, bool> s_present = new();

    public NeedsPythonFactAttribute(string modules, string install)
    {
        if (Array.Find(modules.Split(' '), module => !s_present.GetOrAdd(module, CanImport)) is { } missing)
        {
            Skip = $"needs {missing} for {Python}: {install}";
        }
    }

    private static bool CanImport(string module)
        => File.Exists(Python) && RunningProgram.Run(Python, ["-c", $"import {module}"]).GetAwaiter().GetResult().ExitCode == 0;
}

/// <summary>A test of the program that Native AOT made; reported as skipped where none is named.</summary>
internal sealed class PublishedFactAttribute : FactAttribute
{
    public PublishedFactAttribute()
    {
        if (Repository.Published is null)
        {
            Skip = "needs the published program: dotnet publish TokenService -o out && export TOKENSERVICE_BINARY=out/TokenService";
        }
    }
}

/// <summary>A test in which strace makes system calls of the published program fail; reported as skipped where either is missing.</summary>
internal sealed class StraceFactAttribute : FactAttribute
{
    public StraceFactAttribute() => Skip = new NeedsFactAttribute("strace", "apt-get install strace").Skip ?? new PublishedFactAttribute().Skip;
}
