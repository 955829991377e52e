using System;
using System.Collections.Generic;
using System.Data;
using System.Data.Common;
using System.Globalization;
using System.IO;
using System.Linq;
using System.Reflection;
using TokenService.Protocol;

namespace TokenService.Storage;

/// <summary>
/// Brings the store's schema up to date: numbered SQL files, each applied once, all that are missing in one transaction. They only
/// add, so that the build before this one still runs on the schema after it.
/// </summary>
internal static class Migrations
{
    /// <exception cref="OperatorFaultException">A newer build brought it to a schema that this one cannot run on.</exception>
    public static void Apply(DbDataSource dataSource)
    {
        using var connection = dataSource.OpenConnection();
        RefuseNewer(connection);
        if (Pending(connection).Count == 0)
        {
            // One that can only be read opens as well; this needs the right to write, and writes nothing.
            connection.Execute("UPDATE store_version SET version = version WHERE 1 = 0");
            return;
        }

        using var transaction = connection.BeginTransaction(IsolationLevel.Serializable);
        connection.Execute("CREATE TABLE IF NOT EXISTS schema_migrations (version INTEGER NOT NULL PRIMARY KEY) STRICT");

        // Asked again, now that no other process can be migrating.
        foreach (var (version, name) in Pending(connection))
        {
            connection.Execute(Text(name));
            connection.Execute("INSERT INTO schema_migrations (version) VALUES (@version)", ("@version", version));
        }

        transaction.Commit();
    }

    // A migration after which older builds cannot run, if there ever is one, begins the next thousand.
    private static void RefuseNewer(DbConnection connection)
    {
        var (known, there) = (All().Max(migration => migration.Version), Applied(connection).Append(0).Max());
        if (there / 1000 > known / 1000)
        {
            throw new OperatorFaultException(
                $"The store was brought to schema {there} by a newer build, and this one goes up to {known}: start the newer build, or restore a backup from before it.");
        }
    }

    private static List<(long Version, string Name)> Pending(DbConnection connection)
    {
        var applied = Applied(connection);
        return [.. All().Where(migration => !applied.Contains(migration.Version)).OrderBy(migration => migration.Version)];
    }

    private static List<long> Applied(DbConnection connection)
    {
        var started = connection.QuerySingle<long>("SELECT COUNT(*) FROM sqlite_master WHERE name = 'schema_migrations'") == 1;
        return started ? connection.Query("SELECT version FROM schema_migrations", row => row.GetInt64(0)) : [];
    }

    private static IEnumerable<(long Version, string Name)> All()
        => Assembly.GetExecutingAssembly().GetManifestResourceNames()
            .Where(name => name.EndsWith(".sql", StringComparison.Ordinal))
            .Select(name => (long.Parse(name.AsSpan(0, 4), CultureInfo.InvariantCulture), name));

    private static string Text(string name)
    {
        using var reader = new StreamReader(Assembly.GetExecutingAssembly().GetManifestResourceStream(name)!);
        return reader.ReadToEnd();
    }
}
