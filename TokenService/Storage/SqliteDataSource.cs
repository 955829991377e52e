using System;
using System.Data;
using System.Data.Common;
using System.IO;
using System.Threading;
using Microsoft.Data.Sqlite;
using TokenService.Protocol;

namespace TokenService.Storage;

/// <summary>Connections to the embedded store: one SQLite file in WAL mode, each commit synced to the disk before it counts.</summary>
public sealed class SqliteDataSource : StoreDataSource
{
    // Older ones can lose committed data when a checkpoint and a write meet (sqlite.org/wal.html, "the WAL-reset bug").
    private static readonly Version s_oldestSound = new(3, 51, 3);

    private readonly Lock _lock = new();
    private (ulong Device, ulong Inode) _file;
    private (ulong Device, ulong Inode) _log;
    private ulong _length;
    private int _followed;

    private SqliteDataSource(string connectionString, string file) => (ConnectionString, File) = (connectionString, file);

    /// <inheritdoc/>
    public override string ConnectionString { get; }

    /// <summary>The full path of the file.</summary>
    public string File { get; }

    /// <inheritdoc/>
    public override string Name => File;

    internal override string OwnMasterKeyFile => MasterKeyFile.Beside(File);

    internal override string Migrations => "Sqlite";

    private string Log => $"{File}-wal";

    /// <summary>Opens the store, and makes the file, readable for its owner only, where there is none.</summary>
    /// <param name="connectionString">As Microsoft.Data.Sqlite takes it, or <see langword="null"/> for <c>token-service.db</c>.</param>
    /// <param name="contentRoot">The folder that a relative path starts from.</param>
    /// <exception cref="OperatorFaultException">The connection string, the file, or the library is not fit.</exception>
    public static SqliteDataSource Open(string? connectionString, string contentRoot)
    {
        var builder = Parse(connectionString ?? "Data Source=token-service.db");
        if (builder.DataSource.Length == 0 || builder.DataSource.StartsWith(':')
            || builder.Password.Length > 0 || builder.Mode is not (SqliteOpenMode.ReadWriteCreate or SqliteOpenMode.ReadWrite))
        {
            throw new OperatorFaultException(
                "ConnectionStrings:TokenService names no file that can be written; accepted: \"Data Source=\" and the path of a file, without password.");
        }

        var file = Path.GetFullPath(builder.DataSource, contentRoot);
        builder.DataSource = file;

        // Made here and nowhere else: where the file is gone, a new and empty one would hide the loss.
        builder.Mode = SqliteOpenMode.ReadWrite;
        builder.ForeignKeys = true;
        builder.DefaultTimeout = 10;

        var store = new SqliteDataSource(builder.ConnectionString, file);
        try
        {
            MakeFile(file);
            using var connection = store.Connect();
            CheckLibrary(connection);
            connection.Execute("PRAGMA journal_mode = WAL");
            store.Follow();
        }
        catch (Exception fault) when (fault is SqliteException or IOException or UnauthorizedAccessException)
        {
            throw new OperatorFaultException($"The store {file} cannot be opened: {fault.Message}", fault);
        }

        return store;
    }

    internal override bool HasTable(DbConnection connection, string name)
        => connection.Query("SELECT COUNT(*) FROM sqlite_master WHERE name = @name", row => row.GetInt64(0), ("@name", name))[0] == 1;

    // Deferred, because otherwise the driver takes the write lock at once.
    internal override DbTransaction BeginRead(DbConnection connection) => ((SqliteConnection)connection).BeginTransaction(deferred: true);

    internal override DbTransaction BeginWrite(DbConnection connection, Turn turn) => connection.BeginTransaction(IsolationLevel.Serializable);

    /// <inheritdoc/>
    protected override DbConnection CreateDbConnection() => new SqliteConnection(ConnectionString);

    /// <inheritdoc/>
    protected override DbConnection OpenDbConnection()
    {
        // Not before it is followed: SQLite would read the log of the file that was there into the one that is there now.
        if (FileIdentity.Of(File) is { } there && IsAnother(there))
        {
            throw Gone();
        }

        return Connect();
    }

    private SqliteConnection Connect()
    {
        var connection = new SqliteConnection(ConnectionString);
        try
        {
            connection.Open();

            // The wait for another writer is SQLite's own, which looks again after a millisecond or two; the driver's would look after 150.
            connection.Execute("PRAGMA synchronous = FULL; PRAGMA busy_timeout = 10000");
            return connection;
        }
        catch
        {
            connection.Dispose();
            throw;
        }
    }

    // Where the file was replaced, by a restored backup for example, or cut, connections from now on go to what is there, where those that are
    // open would go on with the old one, which has no name any more, or with the pages that they remember.
    internal override int Follow()
    {
        if (InPlace())
        {
            return _followed;
        }

        ClearPool();
        if (FileIdentity.Of(File) is not { Length: > 0 } found)
        {
            throw new StoreUnavailableException($"The store {File} is gone or empty, or cannot be reached.");
        }

        try
        {
            if (IsAnother(found))
            {
                RemoveLogOfTheOneBefore();
            }

            // Not every backup comes with it.
            using var connection = Connect();
            connection.Execute("PRAGMA journal_mode = WAL");
        }
        catch (Exception fault) when (fault is DbException or IOException or UnauthorizedAccessException)
        {
            throw new StoreUnavailableException($"The store {File} cannot be opened: {fault.Message}", fault);
        }

        lock (_lock)
        {
            if (FileIdentity.Of(File) is { } there)
            {
                (_file, _length) = ((there.Device, there.Inode), there.Length);
            }

            return ++_followed;
        }
    }

    // It only grows, but for a VACUUM.
    private bool InPlace()
    {
        // In this order: what is in its place afterwards was so when the log was looked at, and the log is its own.
        var log = FileIdentity.Of(Log);
        lock (_lock)
        {
            if (FileIdentity.Of(File) is not { } there || (there.Device, there.Inode) != _file || there.Length < _length)
            {
                return false;
            }

            _length = there.Length;
            _log = log is null ? _log : (log.Device, log.Inode);
            return true;
        }
    }

    private bool IsAnother(FileIdentity there)
    {
        lock (_lock)
        {
            return _file != default && (there.Device, there.Inode) != _file;
        }
    }

    // Connections that are still open write on into files without names, which counts for nothing. A log that came with the new file is another one, and stays.
    private void RemoveLogOfTheOneBefore()
    {
        if (FileIdentity.Of(Log) is { } log && (log.Device, log.Inode) == _log)
        {
            System.IO.File.Delete(Log);
            System.IO.File.Delete($"{File}-shm");
        }
    }

    private StoreUnavailableException Gone() => new($"The store {File} or its write-ahead log is gone, or was cut or replaced.");

    // A write goes, or went, into the files that have the store's names: what is written to a file without a name is gone with the process,
    // and was never acknowledged.
    internal override void CheckInPlace()
    {
        if (!InPlace() || FileIdentity.Of(Log) is null)
        {
            // The last connection that is closed takes into the file what is in a log without a name.
            ClearPool();
            throw Gone();
        }
    }

    /// <summary>Closes the pooled connections; with the last one the write-ahead log is taken into the file.</summary>
    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            ClearPool();
        }

        base.Dispose(disposing);
    }

    private void ClearPool()
    {
        using var connection = new SqliteConnection(ConnectionString);
        SqliteConnection.ClearPool(connection);
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
        if (FileIdentity.Of(file) is { } there && (there.Length > 0 || !there.IsRegular))
        {
            return;
        }

        // A key is made after what it belongs to. To begin anew beside it would hide the loss of all that it opens.
        if (System.IO.File.Exists(MasterKeyFile.Beside(file)))
        {
            throw new OperatorFaultException(
                $"The store {file} is gone or empty, and its master key is there: restore the store from its backup, or move {MasterKeyFile.Beside(file)} away to begin with a new one.");
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
