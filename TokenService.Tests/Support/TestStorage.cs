using System;
using System.Data.Common;
using System.IO;
using System.Security.Cryptography;
using System.Text.Json;
using System.Threading;
using System.Threading.Tasks;
using Npgsql;

namespace TokenService.Tests.Support;

/// <summary>
/// Which database the tests run on: the embedded one, or, with <c>TOKENSERVICE_STORAGE=PostgreSql</c>, a server that is started for
/// them. Each <see cref="TemporaryFolder"/> has a database of its own then, and an <c>appsettings.json</c> that names it.
/// </summary>
internal static class TestStorage
{
    private static readonly Lazy<Task<PostgreSqlServer>> s_server = new(StartServer, LazyThreadSafetyMode.ExecutionAndPublication);

    private static int s_databases;

    public static bool IsPostgreSql { get; } = Environment.GetEnvironmentVariable("TOKENSERVICE_STORAGE") == "PostgreSql";

    /// <summary>Makes an empty database for a folder.</summary>
    public static string CreateDatabase(string folder) => CreateDatabase(s_server.Value.GetAwaiter().GetResult(), folder);

    /// <summary>Makes an empty database for a folder, on a server, and writes there the settings and the master key of a service that uses it.</summary>
    /// <returns>Its connection string.</returns>
    public static string CreateDatabase(PostgreSqlServer server, string folder)
    {
        var connectionString = server.CreateDatabase($"test_{Interlocked.Increment(ref s_databases)}").GetAwaiter().GetResult();
        Configure(folder, connectionString);
        return connectionString;
    }

    /// <summary>Writes the settings and, where there is none, a master key.</summary>
    public static void Configure(string folder, string connectionString)
    {
        var key = Path.Combine(folder, "token-service.master-key");
        if (!File.Exists(key))
        {
            File.WriteAllText(key, Convert.ToBase64String(RandomNumberGenerator.GetBytes(32)) + "\n");
        }

        File.WriteAllText(Path.Combine(folder, "appsettings.json"), $$"""
            {
              "TokenService": { "Storage": "PostgreSql", "MasterKeyFile": {{JsonSerializer.Serialize(key)}} },
              "ConnectionStrings": { "TokenService": {{JsonSerializer.Serialize(connectionString)}} }
            }
            """);
    }

    public static void DropDatabase(string connectionString)
    {
        var database = new NpgsqlConnectionStringBuilder(connectionString).Database!;
        s_server.Value.GetAwaiter().GetResult().DropDatabase(database).GetAwaiter().GetResult();
    }

    /// <summary>A connection of its own, as the outside makes one.</summary>
    public static DbConnection Connect(string connectionString)
    {
        var connection = new NpgsqlConnection($"{connectionString};Pooling=false");
        connection.Open();
        return connection;
    }

    private static async Task<PostgreSqlServer> StartServer()
    {
        // What is lost with the machine is lost with the tests.
        var server = await PostgreSqlServer.Start("fsync = off", "max_connections = 500");
        AppDomain.CurrentDomain.ProcessExit += (_, _) => server.DisposeAsync().AsTask().GetAwaiter().GetResult();
        return server;
    }
}
