using System;
using System.Collections.Generic;
using System.Data.Common;
using System.IO;
using System.Threading.Tasks;
using FluentAssertions;
using Microsoft.Data.Sqlite;
using TokenService.Storage;

namespace TokenService.Tests.Support;

/// <summary>The store as the outside sees it: read and changed without the program.</summary>
internal static class StoreFile
{
    /// <summary>A connection of its own.</summary>
    public static DbConnection Open(TemporaryFolder folder, string? file = null)
    {
        if (folder.Database is not null)
        {
            return TestStorage.Connect(folder.Database);
        }

        var connection = new SqliteConnection($"Data Source={file ?? folder.File("token-service.db")};Pooling=False");
        connection.Open();
        return connection;
    }

    /// <summary>Keeps every other writer waiting until the end.</summary>
    public static IDisposable Lock(TemporaryFolder folder)
    {
        var connection = Open(folder);
        Scalar(connection, folder.Database is null
            ? "BEGIN IMMEDIATE"
            : $"SELECT pg_advisory_lock({PostgreSqlDataSource.LockSpace}, turn) FROM generate_series(1, 5) AS turn");
        return connection;
    }

    public static object? Scalar(TemporaryFolder folder, string sql, string? file = null)
    {
        using var connection = Open(folder, file);
        return Scalar(connection, sql);
    }

    public static long Number(TemporaryFolder folder, string sql) => (long)Scalar(folder, sql)!;

    public static void Execute(TemporaryFolder folder, string sql) => Scalar(folder, sql);

    /// <summary>The store's own check of itself: the one part of a fault test that knows which database it is.</summary>
    public static void Check(TemporaryFolder folder)
    {
        if (folder.Database is null)
        {
            Check(folder.File("token-service.db"));
            return;
        }

        // Each index, and that each row is in it.
        Execute(folder, "CREATE EXTENSION IF NOT EXISTS amcheck");
        Number(folder, """
            SELECT COUNT(bt_index_check(indexrelid, true)::TEXT)
            FROM pg_index JOIN pg_class ON pg_class.oid = indrelid WHERE relnamespace = 'public'::REGNAMESPACE
            """).Should().BeGreaterThan(10);
    }

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

    /// <summary>The first column of each row.</summary>
    public static List<string> Texts(TemporaryFolder folder, string sql)
    {
        using var connection = Open(folder);
        using var command = connection.CreateCommand();
        command.CommandText = sql;
        using var reader = command.ExecuteReader();
        List<string> rows = [];
        while (reader.Read())
        {
            rows.Add(reader.GetString(0));
        }

        return rows;
    }

    /// <summary>Waits until something is true of it.</summary>
    public static async Task Until(Func<bool> condition)
    {
        for (var i = 0; i < 1000 && !condition(); i++)
        {
            await Task.Delay(10);
        }

        condition().Should().BeTrue();
    }

    /// <summary>All that is in the embedded one: the file and its write-ahead log.</summary>
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

    private static object? Scalar(DbConnection connection, string sql)
    {
        using var command = connection.CreateCommand();
        command.CommandText = sql;
        return command.ExecuteScalar();
    }
}
