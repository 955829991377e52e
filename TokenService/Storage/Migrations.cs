using System;
using System.Collections.Generic;
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
    private const string Applied = "schema_migrations";

    /// <exception cref="OperatorFaultException">A newer build brought it to a schema that this one cannot run on.</exception>
    public static void Apply(StoreDataSource dataSource)
    {
        using var connection = dataSource.OpenConnection();
        RefuseNewer(dataSource, connection);
        if (Pending(dataSource, connection).Count == 0)
        {
            // One that can only be read opens as well; this needs the right to write, and writes nothing.
            connection.Execute("UPDATE store_version SET version = version WHERE 1 = 0");
            return;
        }

        using var transaction = dataSource.BeginWrite(connection, Turn.Migrations);

        // Asked again, now that no other process can be migrating.
        foreach (var (version, name) in Pending(dataSource, connection))
        {
            if (!dataSource.HasTable(connection, Applied))
            {
                connection.Execute($"CREATE TABLE {Applied} (version BIGINT NOT NULL PRIMARY KEY)");
            }

            // However long it takes: nobody waits for it but this start.
            using var migrate = connection.Command(Text(name), []);
            migrate.CommandTimeout = 0;
            migrate.ExecuteNonQuery();
            connection.Execute($"INSERT INTO {Applied} (version) VALUES (@version)", ("@version", version));
        }

        transaction.Commit();
    }

    // A migration after which older builds cannot run, if there ever is one, begins the next thousand.
    private static void RefuseNewer(StoreDataSource dataSource, DbConnection connection)
    {
        var (known, there) = (All(dataSource.Migrations).Max(migration => migration.Version), AppliedTo(dataSource, connection).Append(0).Max());
        if (there / 1000 > known / 1000)
        {
            throw new OperatorFaultException(
                $"The store was brought to schema {there} by a newer build, and this one goes up to {known}: start the newer build, or restore a backup from before it.");
        }
    }

    private static List<(long Version, string Name)> Pending(StoreDataSource dataSource, DbConnection connection)
    {
        var applied = AppliedTo(dataSource, connection);
        return [.. All(dataSource.Migrations).Where(migration => !applied.Contains(migration.Version)).OrderBy(migration => migration.Version)];
    }

    private static List<long> AppliedTo(StoreDataSource dataSource, DbConnection connection)
        => dataSource.HasTable(connection, Applied) ? connection.Query($"SELECT version FROM {Applied}", row => row.GetInt64(0)) : [];

    private static IEnumerable<(long Version, string Name)> All(string folder)
        => Assembly.GetExecutingAssembly().GetManifestResourceNames()
            .Where(name => name.StartsWith(folder, StringComparison.Ordinal))
            .Select(name => (long.Parse(name.AsSpan(folder.Length + 1, 4), CultureInfo.InvariantCulture), name));

    private static string Text(string name)
    {
        using var reader = new StreamReader(Assembly.GetExecutingAssembly().GetManifestResourceStream(name)!);
        return reader.ReadToEnd();
    }
}
