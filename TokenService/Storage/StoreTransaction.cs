using System;
using System.Data;
using System.Data.Common;
using Microsoft.Data.Sqlite;

namespace TokenService.Storage;

/// <summary>The store did not do what was asked: it is locked, full, broken or away. Nothing is known to be written.</summary>
/// <param name="message">What the driver says.</param>
/// <param name="inner">The driver's own exception, if it was one.</param>
public sealed class StoreUnavailableException(string message, Exception? inner = null) : Exception(message, inner);

/// <summary>What all reads and writes of the store share.</summary>
internal static class StoreTransaction
{
    /// <summary>Reads several tables as they are at one moment, without holding up writers.</summary>
    /// <exception cref="StoreUnavailableException">The store does not answer.</exception>
    public static T Read<T>(DbDataSource dataSource, Func<DbConnection, T> read)
    {
        try
        {
            using var connection = dataSource.OpenConnection();

            // Deferred, because otherwise the SQLite driver takes the write lock at once.
            using var transaction = ((SqliteConnection)connection).BeginTransaction(deferred: true);
            return read(connection);
        }
        catch (DbException fault)
        {
            throw new StoreUnavailableException($"The store cannot be read: {fault.Message}", fault);
        }
    }

    /// <summary>Writes, with no other writer in between. Once this returns, what was written survives a crash.</summary>
    /// <exception cref="StoreUnavailableException">The store does not take it.</exception>
    public static void Write(DbDataSource dataSource, Action<DbConnection> write)
    {
        try
        {
            using var connection = dataSource.OpenConnection();
            using var transaction = connection.BeginTransaction(IsolationLevel.Serializable);
            (dataSource as SqliteDataSource)?.CheckInPlace();
            write(connection);
            transaction.Commit();
            (dataSource as SqliteDataSource)?.CheckInPlace();
        }
        catch (DbException fault)
        {
            throw new StoreUnavailableException($"The store cannot be written: {fault.Message}", fault);
        }
    }

    /// <summary>The number that each change counts up.</summary>
    public static long Version(DbConnection connection) => connection.QuerySingle<long>("SELECT version FROM store_version");

    /// <summary>Counts it up, in the transaction of the change.</summary>
    public static void CountVersion(DbConnection connection) => connection.Execute("UPDATE store_version SET version = version + 1");
}
