using System.IO;
using FluentAssertions;
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

    /// <summary>The store's own check of itself: the one part of a fault test that knows which database it is.</summary>
    public static void Check(TemporaryFolder folder) => Check(folder.File("token-service.db"));

    public static void Check(string file)
    {
        using var connection = new SqliteConnection($"Data Source={file};Pooling=False");
        connection.Open();
        foreach (var (pragma, sound) in ((string, object?)[])[("integrity_check", "ok"), ("foreign_key_check", null)])
        {
            using var command = connection.CreateCommand();
            command.CommandText = $"PRAGMA {pragma}";
            command.ExecuteScalar().Should().Be(sound, pragma);
        }
    }

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
