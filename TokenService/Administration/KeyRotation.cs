using System;
using System.Threading;
using System.Threading.Tasks;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using TokenService.Keys;
using TokenService.Operations;
using TokenService.Protocol;
using TokenService.Storage;

namespace TokenService.Administration;

/// <summary>
/// Changes signing keys: in the background as time goes by, and at a command. What is to be done, <see cref="KeySchedule"/> decides.
/// </summary>
/// <param name="keys">The keys in the store.</param>
/// <param name="watch">The keys in memory: the store is asked only when there is something to do. Told at once what was done.</param>
/// <param name="settings">How old a key becomes, how long it is published first, and what the next one signs with.</param>
/// <param name="clock">The clock.</param>
/// <param name="logger">Told what was done and what was not.</param>
public sealed class KeyRotation(SigningKeyStore keys, StoreWatch watch, Settings settings, TimeProvider clock, ILogger logger) : BackgroundService
{
    private static readonly TimeSpan s_interval = TimeSpan.FromSeconds(1);

    // For the next key there is time; a full disk is not made better by a new RSA key each second.
    private static readonly TimeSpan s_afterFailure = TimeSpan.FromMinutes(1);

    /// <summary>Takes the next step, where there is one: the first key, the next key, the removal of keys that are gone.</summary>
    /// <exception cref="StoreUnavailableException">The store does not take it.</exception>
    /// <exception cref="OperatorFaultException">The master key is missing, unreadable, or not the right one.</exception>
    public static KeysChanged Step(SigningKeyStore keys, Settings settings, TimeProvider clock) => keys.Change(
        settings.SigningAlgorithm, clock, (schedule, now) => schedule.Next(now, settings.KeyRotation, settings.KeyPublishAhead));

    /// <summary>Makes a new key, whatever the age of the one that signs.</summary>
    /// <param name="keys">The keys in the store.</param>
    /// <param name="settings">As for the service.</param>
    /// <param name="clock">The clock.</param>
    /// <param name="atOnce">Whether it signs at once, and not after it was published long enough for every verifier to know it.</param>
    /// <returns>The new key.</returns>
    /// <exception cref="StoreUnavailableException">The store does not take it.</exception>
    /// <exception cref="OperatorFaultException">The master key is missing, unreadable, or not the right one.</exception>
    public static KeyTimes Rotate(SigningKeyStore keys, Settings settings, TimeProvider clock, bool atOnce) => keys.Change(
        settings.SigningAlgorithm, clock, (schedule, now) => schedule.Rotate(now, atOnce ? TimeSpan.Zero : settings.KeyPublishAhead)).Made!;

    /// <summary>Takes a key away at once, for one that leaked; where it was the one that signs, another takes over.</summary>
    /// <param name="keys">The keys in the store.</param>
    /// <param name="settings">As for the service.</param>
    /// <param name="clock">The clock.</param>
    /// <param name="kid">The key.</param>
    /// <returns>The key that signs now.</returns>
    /// <exception cref="StoreUnavailableException">The store does not take it.</exception>
    /// <exception cref="OperatorFaultException">There is no such key; or the master key is missing, unreadable, or not the right one.</exception>
    public static KeyTimes Retire(SigningKeyStore keys, Settings settings, TimeProvider clock, string kid)
    {
        var after = keys.Change(settings.SigningAlgorithm, clock, (schedule, now) => schedule.Retire(kid, now)
            ?? throw new OperatorFaultException($"There is no signing key {Printable.Quote(kid)}; \"keys list\" shows those that there are.")).Keys;
        return after.Keys[after.SigningAt(clock.GetUtcNow())];
    }

    /// <summary>Takes the next step now, where the keys in memory say that there is one.</summary>
    /// <returns>Whether it went well.</returns>
    public bool Step()
    {
        if (watch.Current.Keys.Schedule.Next(clock.GetUtcNow(), settings.KeyRotation, settings.KeyPublishAhead).IsEmpty)
        {
            return true;
        }

        try
        {
            var changed = Step(keys, settings, clock);
            watch.Refresh();
            if (changed.Made is { } made)
            {
                logger.KeyPublished(made.Kid, made.Algorithm, made.SignsFrom);
            }

            foreach (var kid in changed.Removed)
            {
                logger.KeyRemoved(kid);
            }

            return true;
        }
        catch (Exception fault)
        {
            // Whatever it is: tokens go out meanwhile, and it must be tried again.
            logger.KeysNotChanged(fault.Message);
            return false;
        }
    }

    /// <inheritdoc/>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(s_interval);
        while (await timer.WaitForNextTickAsync(stoppingToken))
        {
            if (!Step())
            {
                await Task.Delay(s_afterFailure, stoppingToken);
            }
        }
    }
}
