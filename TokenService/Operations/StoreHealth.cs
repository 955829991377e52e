using System.Threading;
using System.Threading.Tasks;
using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace TokenService.Operations;

/// <summary>
/// Whether the store answers, for <c>/health/ready</c>. The watch over the store reports here; a health request reads what was
/// reported and never goes to the store itself.
/// </summary>
public sealed class StoreHealth : IHealthCheck
{
    private volatile bool _answers = true;

    /// <summary>Takes a report.</summary>
    /// <param name="answers">Whether the store answered.</param>
    /// <returns>Whether that is a change.</returns>
    public bool Report(bool answers)
    {
        var changed = _answers != answers;
        _answers = answers;
        return changed;
    }

    /// <inheritdoc/>
    public Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken = default)
        => Task.FromResult(_answers ? HealthCheckResult.Healthy() : HealthCheckResult.Unhealthy("The store does not answer."));
}
