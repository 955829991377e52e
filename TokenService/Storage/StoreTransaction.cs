using System;
using System.Data;
using System.Data.Common;
using System.Diagnostics;
using System.IO;
using System.Net.Sockets;

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
    public static T Read<T>(StoreDataSource dataSource, Func<DbConnection, T> read) => Run(dataSource, "read", "read", connection =>
    {
        using var transaction = dataSource.BeginRead(connection);
        return read(connection);
    });

    /// <summary>Writes, when it is this writer's turn. Once this returns, what was written survives a crash.</summary>
    /// <exception cref="StoreUnavailableException">The store does not take it; where the commit itself failed, nobody knows whether it was made.</exception>
    public static void Write(StoreDataSource dataSource, Turn turn, Action<DbConnection> write) => Run(dataSource, "write", "written", connection =>
    {
        using var transaction = dataSource.BeginWrite(connection, turn);
        dataSource.CheckInPlace();
        write(connection);
        try
        {
            transaction.Commit();
        }
        catch (Exception fault) when (IsFault(fault, connection))
        {
            dataSource.Doubt();
            throw new StoreUnavailableException($"The store did not say whether it keeps the change; look before you try again: {Reason(fault)}", fault);
        }

        dataSource.CheckInPlace();
        return true;
    });

    /// <summary>The number that each change counts up.</summary>
    public static long Version(DbConnection connection) => connection.QuerySingle<long>("SELECT version FROM store_version");

    /// <summary>Counts it up, in the transaction of the change, and tells the replicas.</summary>
    public static void CountVersion(StoreDataSource dataSource, DbConnection connection)
    {
        connection.Execute("UPDATE store_version SET version = version + 1");

        // Notes of this version and later ones are of a time before the store was set back to an older state.
        connection.Execute("DELETE FROM client_changes WHERE version >= (SELECT version FROM store_version)");
        dataSource.Announce(connection);
    }

    /// <summary>What a driver says, with the cause where that is another exception.</summary>
    public static string Reason(Exception fault) => fault.InnerException is { } cause ? $"{fault.Message} ({cause.Message})" : fault.Message;

    private static bool IsFault(Exception fault, DbConnection? connection) => fault is DbException or IOException or SocketException or TimeoutException
        || (fault is InvalidOperationException && connection is { State: not ConnectionState.Open });

    private static T Run<T>(StoreDataSource dataSource, string operation, string what, Func<DbConnection, T> work)
    {
        var began = Stopwatch.GetTimestamp();
        string? kind = null;
        DbConnection? connection = null;
        try
        {
            connection = dataSource.OpenConnection();
            return work(connection);
        }
        catch (Exception fault) when (IsFault(fault, connection))
        {
            kind = StoreFault.Of(fault).Kind;
            dataSource.Doubt();
            throw new StoreUnavailableException($"The store cannot be {what}: {Reason(fault)}", fault);
        }
        catch (StoreUnavailableException fault)
        {
            kind = StoreFault.Of(fault).Kind;
            throw;
        }
        finally
        {
            connection?.Dispose();
            dataSource.Used?.Invoke(operation, Stopwatch.GetElapsedTime(began), kind);
        }
    }
}
