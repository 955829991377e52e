using System;
using System.Collections.Generic;
using System.Data;
using System.Data.Common;
using System.Globalization;
using System.IO;
using System.Linq;
using System.Reflection;

namespace TokenService.Storage;

/// <summary>
/// Brings the store's schema up to date: numbered SQL files, each applied once, all that are missing in one transaction. They only
/// add, so that the build before this one still runs on the schema after it.
/// </summary>
internal static class Migrations
{
    public static void Apply(DbDataSource dataSource)
    {
        using var connection = dataSource.OpenConnection();
        if (Pending(connection).Count == 0)
        {
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

    private static List<(long Version, string Name)> Pending(DbConnection connection)
    {
        var started = connection.QuerySingle<long>("SELECT COUNT(*) FROM sqlite_master WHERE name = 'schema_migrations'") == 1;
        var applied = started ? connection.Query("SELECT version FROM schema_migrations", row => row.GetInt64(0)) : [];
        return [.. All().Where(migration => !applied.Contains(migration.Version)).OrderBy(migration => migration.Version)];
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
