using System;
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
