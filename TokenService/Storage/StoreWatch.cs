using System;
using System.Threading;
using System.Threading.Tasks;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using TokenService.Clients;
using TokenService.Keys;
using TokenService.Operations;
using TokenService.Protocol;

namespace TokenService.Storage;

/// <summary>All that a request needs of the store, at one moment.</summary>
/// <param name="Version">The store's change count at that moment.</param>
/// <param name="Registry">Clients and resources.</param>
/// <param name="Keys">Signing keys.</param>
public sealed record StoreSnapshot(long Version, Registry Registry, SigningKeyRing Keys);

/// <summary>
/// Keeps the store's content in memory. A request takes <see cref="Current"/> once and never waits for the store; a change by any
/// process is seen within a second or two.
/// </summary>
/// <remarks>
/// Each change counts up one number in the transaction that makes it; the watch asks for that number once a second and reads again
/// when it has moved: the clients that were noted as changed, or all where anything else was, or may have been. That needs no notification
/// that could get lost, and costs one row a second. Where the database announces changes, it asks at once. While the store does not answer,
/// the last snapshot stays, until it is too old to go by.
/// </remarks>
/// <param name="store">The store.</param>
/// <param name="health">Told whether the store answers.</param>
/// <param name="maxStaleness">For how long after the store's last answer requests go by the snapshot.</param>
/// <param name="clock">The clock.</param>
/// <param name="logger">Told what was read.</param>
public sealed class StoreWatch(Store store, StoreHealth health, TimeSpan maxStaleness, TimeProvider clock, ILogger logger) : BackgroundService
{
    private const string Use = "the store cannot be read";

    private static readonly TimeSpan s_interval = TimeSpan.FromSeconds(1);

    // With the interval, less than the 5 seconds in which a change is to be known, or not to be known to be known.
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(3);
    private static readonly TimeSpan s_staleRetry = TimeSpan.FromSeconds(5);

    private readonly Lock _reading = new();

    // In monotonic time.
    private long _answeredAt = clock.GetTimestamp();
    private volatile bool _answers = true;
    private volatile bool _stale;

    // Of which file the current snapshot is.
    private int _followed = store.DataSource.Follow();

    private volatile StoreSnapshot _current = Read(store);

    /// <summary>Which tokens were revoked, by whichever process.</summary>
    public RevokedTokens Revoked { get; } = ReadRevoked(store);

    /// <summary>What the store held when it was last read, however long ago.</summary>
    public StoreSnapshot Current => _current;

    /// <summary>
    /// Whether the store answered when it was last asked. Where not, nobody knows what was revoked, added or taken away since: what
    /// is known against a token stays true, that nothing is known against it says nothing.
    /// </summary>
    public bool Answers => _answers;

    /// <summary>How long ago the store last answered, and so how old <see cref="Current"/> may be.</summary>
    public TimeSpan Staleness => clock.GetElapsedTime(Volatile.Read(ref _answeredAt));

    /// <summary>What a request goes by.</summary>
    /// <returns><see cref="Current"/>, or <c>temporarily_unavailable</c> where the store has not answered for too long.</returns>
    public Result<StoreSnapshot> Take() => _stale
        ? OAuthError.TemporarilyUnavailable(s_staleRetry, null, new("store", $"an answer of the store in the last {maxStaleness}", "a request that came later"))
        : _current;

    /// <summary>Reads the store again if it has changed.</summary>
    public void Refresh()
    {
        // One after the other: what one has read that began earlier would take the place of what is newer.
        lock (_reading)
        {
            Look();
        }
    }

    private void Look()
    {
        try
        {
            // Before it is asked: what changes while it answers may be missing.
            var asked = clock.GetTimestamp();
            var followed = store.DataSource.Follow();
            var another = followed != _followed;
            var version = StoreTransaction.Read(store.DataSource, connection =>
            {
                Revoked.Read(connection, again: another);
                return StoreTransaction.Version(connection);
            });
            if (another || version != _current.Version)
            {
                // After an outage its notes may lead on from another state: a standby that was promoted may lack the last changes, and have counted others since.
                var next = another || !_answers ? null : ReadChanges(_current);

                // Changes of one store are none of another that has come into its place meanwhile.
                _current = next is not null && store.DataSource.Follow() == followed ? next : Read(store);
                _followed = followed;
                logger.StoreRead(_current.Registry.Clients.Count, _current.Registry.Resources.Count);
            }

            Volatile.Write(ref _answeredAt, asked);
            (_answers, _stale) = (true, false);
            health.ReportStale(false);
            if (health.Report(Use, null))
            {
                logger.StoreReadable();
            }
        }
        catch (Exception fault)
        {
            // Whatever it is: the watch must go on, and requests with it.
            Missed(StoreFault.Of(fault));
        }
    }

    /// <inheritdoc/>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        // One announcement that waits is enough for any number of them.
        using var announced = new SemaphoreSlim(0);
        var hearing = Hear(announced, stoppingToken);
        var refreshing = Task.CompletedTask;
        try
        {
            while (true)
            {
                await announced.WaitAsync(s_interval, stoppingToken);

                // A store that neither answers nor refuses holds up this one look, and not the time; nor a look that reads many clients those who
                // answer requests, so it has a thread of its own.
                refreshing = refreshing.IsCompleted
                    ? Task.Factory.StartNew(Refresh, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default)
                    : refreshing;
                try
                {
                    await refreshing.WaitAsync(s_patience, stoppingToken);
                }
                catch (TimeoutException)
                {
                    Missed(StoreFault.NoAnswer(s_patience));
                }
            }
        }
        finally
        {
            // The store is closed next.
            await Task.WhenAny(Task.WhenAll(refreshing, hearing), Task.Delay(s_patience, CancellationToken.None));
        }
    }

    private async Task Hear(SemaphoreSlim announced, CancellationToken stopping)
    {
        while (!stopping.IsCancellationRequested)
        {
            try
            {
                await store.DataSource.Listen(
                    () =>
                    {
                        if (announced.CurrentCount == 0)
                        {
                            announced.Release();
                        }
                    },
                    stopping);
            }
            catch (Exception) when (!stopping.IsCancellationRequested)
            {
                // The watch asks by itself meanwhile, and tells what it finds.
                await Task.Delay(s_interval, stopping).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
            catch (Exception)
            {
                return;
            }
        }
    }

    private void Missed(StoreFault fault)
    {
        _answers = false;
        if (health.Report(Use, fault.Reason))
        {
            logger.StoreUnreadable(fault.Detail);
        }

        if (!_stale && clock.GetElapsedTime(Volatile.Read(ref _answeredAt)) > maxStaleness)
        {
            _stale = true;
            health.ReportStale(true);
            logger.StoreTooOld(maxStaleness);
        }
    }

    private static RevokedTokens ReadRevoked(Store store) => StoreTransaction.Read(store.DataSource, connection =>
    {
        var revoked = new RevokedTokens();
        revoked.Read(connection, again: true);
        return revoked;
    });

    private StoreSnapshot? ReadChanges(StoreSnapshot before) => StoreTransaction.Read(store.DataSource, connection =>
        store.Registry.ReadChanges(connection, before.Version, before.Registry) is { } registry
            ? before with { Version = StoreTransaction.Version(connection), Registry = registry }
            : null);

    private static StoreSnapshot Read(Store store) => StoreTransaction.Read(store.DataSource, connection =>
        new StoreSnapshot(StoreTransaction.Version(connection), store.Registry.ReadWithSecrets(connection), store.Keys.ReadRing(connection)));
}
