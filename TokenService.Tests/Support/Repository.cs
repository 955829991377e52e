using System;
using System.IO;
using System.Linq;
using System.Reflection;

namespace TokenService.Tests.Support;

/// <summary>Where things are.</summary>
internal static class Repository
{
    public static string Root { get; } = Metadata("RepositoryRoot");

    /// <summary>
    /// The program: the published one that <c>TOKENSERVICE_BINARY</c> names, or else the one that the build made. Every test that runs
    /// the program as a process runs this.
    /// </summary>
    public static string Program { get; } = Published ?? Built("TokenService", "TokenService");

    public static string? Published => Environment.GetEnvironmentVariable("TOKENSERVICE_BINARY") is { Length: > 0 } path ? Path.GetFullPath(path, Root) : null;

    public static string File(params string[] path) => Path.Combine([Root, .. path]);

    public static string Built(string project, string program)
        => Path.Combine(Root, project, "bin", Metadata("Configuration"), "net10.0", program);

    private static string Metadata(string key) => typeof(Repository).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>()
        .Single(attribute => attribute.Key == key).Value!;
}
