using System.IO;
using Microsoft.Data.Sqlite;

namespace TokenService.Tests.Support;

/// <summary>The store's file as the outside sees it: read and changed without the program.</summary>
internal static class StoreFile
{
    /// <summary>A connection of its own, which a test can hold the store locked with.</summary>
    public static SqliteConnection Open(TemporaryFolder folder)
    {
        var connection = new SqliteConnection($"Data Source={folder.File("token-service.db")};Pooling=False");
        connection.Open();
        return connection;
    }

    public static object? Scalar(TemporaryFolder folder, string sql)
    {
        using var connection = Open(folder);
        using var command = connection.CreateCommand();
        command.CommandText = sql;
        return command.ExecuteScalar();
    }

    public static void Execute(TemporaryFolder folder, string sql) => Scalar(folder, sql);

    /// <summary>All that is in it: the file and its write-ahead log.</summary>
    public static byte[] Bytes(TemporaryFolder folder)
    {
        using var all = new MemoryStream();
        foreach (var name in (string[])["token-service.db", "token-service.db-wal"])
        {
            using var file = new FileStream(folder.File(name), FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
            file.CopyTo(all);
        }

        return all.ToArray();
    }
}
