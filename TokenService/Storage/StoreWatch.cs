using System;
using System.Threading;
using System.Threading.Tasks;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using TokenService.Clients;
using TokenService.Keys;
using TokenService.Operations;

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
/// Each change counts up one number in the transaction that makes it; the watch asks for that number once a second and reads all again
/// when it has moved. That needs no notification that could get lost, and costs one row a second. Where the database announces changes, it asks
/// at once. While the store does not answer, the last snapshot stays.
/// </remarks>
/// <param name="store">The store.</param>
/// <param name="health">Told whether the store answers.</param>
/// <param name="logger">Told what was read.</param>
public sealed class StoreWatch(Store store, StoreHealth health, ILogger logger) : BackgroundService
{
    private static readonly TimeSpan s_interval = TimeSpan.FromSeconds(1);

    // Of which file the current snapshot is.
    private int _followed = store.DataSource.Follow();

    private volatile StoreSnapshot _current = Read(store);

    /// <summary>Which tokens were revoked, by whichever process.</summary>
    public RevokedTokens Revoked { get; } = ReadRevoked(store);

    /// <summary>What the store held when it was last read.</summary>
    public StoreSnapshot Current => _current;

    /// <summary>Reads the store again if it has changed.</summary>
    public void Refresh()
    {
        try
        {
            var followed = store.DataSource.Follow();
            var another = followed != _followed;
            var version = StoreTransaction.Read(store.DataSource, connection =>
            {
                Revoked.Read(connection, again: another);
                return StoreTransaction.Version(connection);
            });
            if (another || version != _current.Version)
            {
                _current = Read(store);
                _followed = followed;
                logger.StoreRead(_current.Registry.Clients.Count, _current.Registry.Resources.Count);
            }

            if (health.Report(answers: true))
            {
                logger.StoreReadable();
            }
        }
        catch (Exception fault)
        {
            // Whatever it is: the watch must go on, and requests with it.
            if (health.Report(answers: false))
            {
                logger.StoreUnreadable(fault.Message);
            }
        }
    }

    /// <inheritdoc/>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        // One announcement that waits is enough for any number of them.
        using var announced = new SemaphoreSlim(0);
        var hearing = Hear(announced, stoppingToken);
        try
        {
            while (true)
            {
                await announced.WaitAsync(s_interval, stoppingToken);
                Refresh();
            }
        }
        finally
        {
            await hearing;
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

    private static RevokedTokens ReadRevoked(Store store) => StoreTransaction.Read(store.DataSource, connection =>
    {
        var revoked = new RevokedTokens();
        revoked.Read(connection, again: true);
        return revoked;
    });

    private static StoreSnapshot Read(Store store) => StoreTransaction.Read(store.DataSource, connection =>
        new StoreSnapshot(StoreTransaction.Version(connection), store.Registry.ReadWithSecrets(connection), store.Keys.ReadRing(connection)));
}
