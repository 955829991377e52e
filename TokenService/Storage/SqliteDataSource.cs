using System;
using System.Data.Common;
using System.IO;
using Microsoft.Data.Sqlite;
using TokenService.Protocol;

namespace TokenService.Storage;

/// <summary>Connections to the embedded store: one SQLite file in WAL mode, each commit synced to the disk before it counts.</summary>
public sealed class SqliteDataSource : DbDataSource
{
    // Older ones can lose committed data when a checkpoint and a write meet (sqlite.org/wal.html, "the WAL-reset bug").
    private static readonly Version s_oldestSound = new(3, 51, 3);

    private SqliteDataSource(string connectionString, string file) => (ConnectionString, File) = (connectionString, file);

    /// <inheritdoc/>
    public override string ConnectionString { get; }

    /// <summary>The full path of the file.</summary>
    public string File { get; }

    /// <summary>Opens the store, and makes the file, readable for its owner only, where there is none.</summary>
    /// <param name="connectionString">As Microsoft.Data.Sqlite takes it, or <see langword="null"/> for <c>token-service.db</c>.</param>
    /// <param name="contentRoot">The folder that a relative path starts from.</param>
    /// <exception cref="OperatorFaultException">The connection string, the file, or the library is not fit.</exception>
    public static SqliteDataSource Open(string? connectionString, string contentRoot)
    {
        var builder = Parse(connectionString ?? "Data Source=token-service.db");
        if (builder.DataSource.Length == 0 || builder.DataSource.StartsWith(':') || builder.Mode == SqliteOpenMode.Memory)
        {
            throw new OperatorFaultException(
                "ConnectionStrings:TokenService names no file; accepted: \"Data Source=\" and the path of a file.");
        }

        var file = Path.GetFullPath(builder.DataSource, contentRoot);
        builder.DataSource = file;
        builder.ForeignKeys = true;
        builder.DefaultTimeout = 10;

        var store = new SqliteDataSource(builder.ConnectionString, file);
        try
        {
            MakeFile(file);
            using var connection = store.OpenConnection();
            CheckLibrary(connection);
            connection.Execute("PRAGMA journal_mode = WAL");
        }
        catch (Exception fault) when (fault is SqliteException or IOException or UnauthorizedAccessException)
        {
            throw new OperatorFaultException($"The store {file} cannot be opened: {fault.Message}", fault);
        }

        return store;
    }

    /// <inheritdoc/>
    protected override DbConnection CreateDbConnection() => new SqliteConnection(ConnectionString);

    /// <inheritdoc/>
    protected override DbConnection OpenDbConnection()
    {
        var connection = new SqliteConnection(ConnectionString);
        try
        {
            connection.Open();
            connection.Execute("PRAGMA synchronous = FULL");
            return connection;
        }
        catch
        {
            connection.Dispose();
            throw;
        }
    }

    /// <summary>Closes the pooled connections; with the last one the write-ahead log is taken into the file.</summary>
    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            using var connection = new SqliteConnection(ConnectionString);
            SqliteConnection.ClearPool(connection);
        }

        base.Dispose(disposing);
    }

    private static SqliteConnectionStringBuilder Parse(string connectionString)
    {
        try
        {
            return new SqliteConnectionStringBuilder(connectionString);
        }
        catch (ArgumentException fault)
        {
            // Not the message of the fault: it may repeat a part of the string, and that may be a password.
            throw new OperatorFaultException(
                "ConnectionStrings:TokenService is malformed; accepted: \"Data Source=\" and the path of a file.", fault);
        }
    }

    private static void MakeFile(string file)
    {
        if (System.IO.File.Exists(file))
        {
            return;
        }

        // SQLite would make it readable for all; the files that it puts beside it take over the mode of this one.
        var options = new FileStreamOptions { Mode = FileMode.OpenOrCreate, Access = FileAccess.ReadWrite };
        if (!OperatingSystem.IsWindows())
        {
            options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
        }

        new FileStream(file, options).Dispose();
    }

    private static void CheckLibrary(DbConnection connection)
    {
        var version = connection.QuerySingle<string>("SELECT sqlite_version()");
        if (Version.Parse(version) < s_oldestSound)
        {
            throw new OperatorFaultException(
                $"The SQLite library beside the program is {version}, which can lose data; {s_oldestSound} or later is needed.");
        }
    }
}
