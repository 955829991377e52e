using System;
using System.Data.Common;
using System.Threading;
using System.Threading.Tasks;

namespace TokenService.Storage;

/// <summary>
/// Connections to the store, and the few facts in which the two databases differ. All SQL beside these facts and the migrations is written
/// once, for both.
/// </summary>
public abstract class StoreDataSource : DbDataSource
{
    /// <summary>Which store it is, to complete <c>The store …</c> in a message; without any secret.</summary>
    public abstract string Name { get; }

    /// <summary>Told of each transaction that has ended: <c>read</c> or <c>write</c>, how long it took, and the kind of its fault, if it had one.</summary>
    internal Action<string, TimeSpan, string?>? Used { get; set; }

    /// <summary>Where the service keeps a master key of its own, or <see langword="null"/> where a setting must name one.</summary>
    internal abstract string? OwnMasterKeyFile { get; }

    /// <summary>The folder of the migrations.</summary>
    internal abstract string Migrations { get; }

    /// <summary>Whether there is a table of this name.</summary>
    internal abstract bool HasTable(DbConnection connection, string name);

    /// <summary>Begins to read: all is read as it is at one moment, and no writer is held up.</summary>
    internal abstract DbTransaction BeginRead(DbConnection connection);

    /// <summary>Begins to write, when it is this writer's turn.</summary>
    internal abstract DbTransaction BeginWrite(DbConnection connection, Turn turn);

    /// <summary>Makes sure that what is written stays, where the database itself does not.</summary>
    /// <exception cref="StoreUnavailableException">It is written to no place that lasts.</exception>
    internal virtual void CheckInPlace()
    {
    }

    /// <summary>
    /// Notices that the store is another one than the last time: a backup that was restored, or another server that has taken over. What was
    /// read from the one before is to be read again.
    /// </summary>
    /// <returns>How many there have been: another number means another store.</returns>
    /// <exception cref="StoreUnavailableException">The store is gone.</exception>
    /// <exception cref="DbException">The store does not answer.</exception>
    internal abstract int Follow();

    /// <summary>Tells the replicas of a change, once the transaction is committed. They look by themselves too, only later.</summary>
    internal virtual void Announce(DbConnection connection)
    {
    }

    /// <summary>Hears what replicas announce, as long as the store is there; the caller begins again when this ends or fails.</summary>
    /// <param name="changed">Called at each announcement.</param>
    /// <param name="stopping">Ends it.</param>
    internal virtual Task Listen(Action changed, CancellationToken stopping) => Task.Delay(Timeout.Infinite, stopping);

    /// <summary>Called when the store did not answer: connections that were made before may be dead.</summary>
    internal virtual void Doubt()
    {
    }
}

/// <summary>
/// Which writers wait for each other, on a database that has many at once. SQLite has one writer at a time, whatever it writes. Writers of
/// different numbers never touch the same table, and so never wait for rows of each other.
/// </summary>
/// <param name="Number">Those with the same number do.</param>
/// <param name="Together">Waits only for those that are not together: their inserts may be at the same time.</param>
internal readonly record struct Turn(int Number, bool Together = false)
{
    /// <summary>The schema.</summary>
    public static readonly Turn Migrations = new(1);

    /// <summary>
    /// Clients, resources and signing keys: a decision is taken on the state that it is written to. When credentials were last used goes with
    /// its client.
    /// </summary>
    public static readonly Turn Registry = new(2);

    /// <summary>Notes of used assertions: the primary key decides between them.</summary>
    public static readonly Turn Assertions = new(3, Together: true);

    /// <summary>
    /// Old notes of used assertions go, when nobody inserts: an insert that has read the horizon before they went would find neither the
    /// note nor the new horizon.
    /// </summary>
    public static readonly Turn OldAssertions = new(3);

    /// <summary>Revoked tokens: replicas read them by increasing id, so they must be committed in that order.</summary>
    public static readonly Turn Revocations = new(4);

    /// <summary>Refusals.</summary>
    public static readonly Turn Refusals = new(5);
}
