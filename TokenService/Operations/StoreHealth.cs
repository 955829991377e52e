using System;
using System.Collections.Concurrent;
using System.Globalization;
using System.Linq;
using System.Threading;
using System.Threading.Tasks;
using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace TokenService.Operations;

/// <summary>
/// What the service cannot do because of its store, for <c>/health/ready</c>. Whoever uses the store reports here; a health request reads
/// what was reported and never goes to the store itself.
/// </summary>
/// <remarks>
/// Degraded is still ready: tokens by secret go out. Only where the store was away for longer than <c>TokenService:MaxStaleness</c> is the
/// service not ready.
/// </remarks>
/// <param name="clock">Says since when.</param>
public sealed class StoreHealth(TimeProvider clock) : IHealthCheck
{
    private readonly ConcurrentDictionary<string, (DateTimeOffset Since, string Reason)> _faults = new(StringComparer.Ordinal);
    private volatile bool _stale;

    /// <summary>Takes a report.</summary>
    /// <param name="use">What the store is used for, in words that complete "Degraded: …": <c>the store cannot be read</c>.</param>
    /// <param name="reason">Why it fails, in plain words that anybody may read; <see langword="null"/> where it goes well.</param>
    /// <returns>Whether it went well before and fails now, or the other way round.</returns>
    public bool Report(string use, string? reason)
    {
        if (reason is null)
        {
            return _faults.TryRemove(use, out _);
        }

        // Since when stays; why may change.
        var began = false;
        _faults.AddOrUpdate(
            use,
            _ =>
            {
                began = true;
                return (clock.GetUtcNow(), reason);
            },
            (_, known) =>
            {
                began = false;
                return (known.Since, reason);
            });
        return began;
    }

    /// <summary>Takes the report whether what is in memory became too old to go by.</summary>
    public void ReportStale(bool stale) => _stale = stale;

    /// <inheritdoc/>
    public Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken = default)
    {
        var faults = string.Join(
            "; ",
            _faults.Select(fault => string.Create(CultureInfo.InvariantCulture, $"{fault.Key}, since {fault.Value.Since:u}: {fault.Value.Reason}")).Order(StringComparer.Ordinal));
        return Task.FromResult(
            _stale ? HealthCheckResult.Unhealthy($"{faults}. That is longer than TokenService:MaxStaleness, or TokenService:KeyPublishAhead, allows")
            : faults.Length > 0 ? HealthCheckResult.Degraded(faults)
            : HealthCheckResult.Healthy());
    }
}
