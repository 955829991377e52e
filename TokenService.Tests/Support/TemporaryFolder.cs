using System;
using System.IO;

namespace TokenService.Tests.Support;

/// <summary>A folder for one test, and a database where the tests run on PostgreSQL.</summary>
internal sealed class TemporaryFolder : IDisposable
{
    private readonly bool _own;

    public TemporaryFolder() => (Database, _own) = TestStorage.IsPostgreSql ? (TestStorage.CreateDatabase(Path), true) : (null, false);

    /// <summary>With a database on a server of the test's own.</summary>
    public TemporaryFolder(PostgreSqlServer server) => Database = TestStorage.CreateDatabase(server, Path);

    /// <summary>A further replica's: with the database and the master key of the first.</summary>
    public TemporaryFolder(TemporaryFolder first)
    {
        Database = first.Database;
        System.IO.File.Copy(first.File("token-service.master-key"), File("token-service.master-key"));
        TestStorage.Configure(Path, Database!);
    }

    public string Path { get; } = Directory.CreateTempSubdirectory("token-service-test-").FullName;

    /// <summary>The connection string of the database, or <see langword="null"/> on the embedded one.</summary>
    public string? Database { get; }

    /// <summary>Whether its store has a signing key, or is left to make one.</summary>
    public bool HasKey { get; set; }

    public string File(string name) => System.IO.Path.Combine(Path, name);

    public string Write(string name, string content)
    {
        System.IO.File.WriteAllText(File(name), content);
        return File(name);
    }

    public void Dispose()
    {
        if (_own)
        {
            TestStorage.DropDatabase(Database!);
        }

        Directory.Delete(Path, recursive: true);
    }
}
