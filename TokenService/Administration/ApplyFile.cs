using System;
using System.Threading;
using System.Threading.Tasks;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using TokenService.Clients;
using TokenService.Operations;
using TokenService.Protocol;
using TokenService.Storage;

namespace TokenService.Administration;

/// <summary>
/// Applies a declarative file: once for a command, or at the start of the service and again whenever it changes
/// (<c>TokenService:ApplyFile</c>).
/// </summary>
/// <param name="file">The path.</param>
/// <param name="store">The clients and resources.</param>
/// <param name="watch">Told at once what was applied.</param>
/// <param name="development">Whether secrets may be short.</param>
/// <param name="defaultLifetime">How long tokens live where a client does not say.</param>
/// <param name="clock">The clock.</param>
/// <param name="logger">Told what was applied and what was not.</param>
/// <remarks>
/// The file is looked at once a second. Notifications of the file system are faster, and do not come for files on network volumes or
/// behind the links that Kubernetes swaps for a mounted secret.
/// </remarks>
public sealed class ApplyFile(
    string file, RegistryStore store, StoreWatch watch, bool development, TimeSpan defaultLifetime, TimeProvider clock, ILogger logger) : BackgroundService
{
    private static readonly TimeSpan s_interval = TimeSpan.FromSeconds(1);

    // Nothing yet: an edit between the start of the service and the first tick is not missed.
    private FileIdentity? _seen = new(0, 0, 0, 0, false);

    /// <summary>Makes the store agree with a file, wholly or not at all.</summary>
    /// <param name="content">The file.</param>
    /// <param name="store">The clients and resources.</param>
    /// <param name="now">The time.</param>
    /// <param name="dryRun">Whether to plan only.</param>
    /// <param name="check">Sees the plan before anything is done, and throws where it is not to be done.</param>
    /// <returns>What was, or would be, done.</returns>
    /// <exception cref="OperatorFaultException">File and store contradict each other; nothing is applied.</exception>
    /// <exception cref="StoreUnavailableException">The store does not take it.</exception>
    public static ApplyPlan Once(DeclarativeFile content, RegistryStore store, DateTimeOffset now, bool dryRun = false, Action<ApplyPlan>? check = null)
    {
        if (dryRun)
        {
            return Make(store.Read());
        }

        ApplyPlan? plan = null;
        store.Change(registry => (plan = Make(registry)).Write);
        return plan!;

        ApplyPlan Make(Registry registry)
        {
            var made = ApplyPlan.Make(registry, content, now);
            check?.Invoke(made);
            return made;
        }
    }

    /// <inheritdoc/>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(s_interval);
        while (await timer.WaitForNextTickAsync(stoppingToken))
        {
            var now = FileIdentity.Of(file);
            if (now == _seen)
            {
                continue;
            }

            try
            {
                var plan = Once(DeclarativeFile.Load(file, development, defaultLifetime), store, clock.GetUtcNow());
                watch.Refresh();
                _seen = now;
                if (!plan.Changes.IsEmpty)
                {
                    logger.Applied(file, plan.Count(PlannedChange.Added), plan.Count(PlannedChange.Changed), plan.Count(PlannedChange.Removed));
                }
            }
            catch (StoreUnavailableException fault)
            {
                // Tried again at the next tick: the file has not been seen to the end.
                logger.NotApplied(fault.Message);
            }
            catch (Exception fault)
            {
                // Whatever it is: the watch must go on.
                logger.NotApplied(fault.Message);
                _seen = now;
            }
        }
    }
}
