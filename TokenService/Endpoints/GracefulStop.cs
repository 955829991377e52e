using System;
using System.Diagnostics;
using System.Linq;
using System.Runtime.InteropServices;
using System.Threading;
using System.Threading.Tasks;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Connections.Features;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Hosting;

namespace TokenService.Endpoints;

/// <summary>Ends the service so that no request fails: readiness falls, then requests go on for a while, then what is left of them ends, all within 5 seconds.</summary>
/// <remarks>
/// <para>In the while, a load balancer learns from <c>/health/ready</c> that it must send nothing more. Whoever sends something all the same is
/// answered, and told to close its connection: only idle connections are left when the server closes them.</para>
/// <para>The host stops what it started within <see cref="HostTimeout"/>; up to a second more goes to requests that do not end when they are cut
/// off, and the rest to what is written at the end.</para>
/// </remarks>
/// <param name="drain">How long requests go on after readiness has fallen.</param>
public sealed class GracefulStop(TimeSpan drain) : IHostedLifecycleService, IHealthCheck
{
    /// <summary>What the while is outside Development, where nobody waits for the program to end.</summary>
    public static readonly TimeSpan Drain = TimeSpan.FromSeconds(2);

    /// <summary>How long the host may take, the while included, before it cuts off the requests that are still there.</summary>
    public static readonly TimeSpan HostTimeout = TimeSpan.FromSeconds(3.5);

    private static readonly TimeSpan s_all = TimeSpan.FromSeconds(4.5);
    private static readonly TimeSpan s_leastForWriting = TimeSpan.FromMilliseconds(100);

    private static int s_signals;

    private bool _started;
    private long _since;
    private volatile bool _stopping;

    /// <summary>Ends the process at once with the second signal: whoever sends one does not want to wait. Until it is disposed of.</summary>
    /// <param name="signal">The signal; the other ones for which this was called count too.</param>
    public static PosixSignalRegistration EndAtSecond(PosixSignal signal) => PosixSignalRegistration.Create(signal, _ =>
    {
        if (Interlocked.Increment(ref s_signals) == 2)
        {
            // As the shell reports a process that a signal has ended.
            Environment.Exit(128 + (signal == PosixSignal.SIGINT ? 2 : 15));
        }
    });

    /// <summary>Ends all that writes to the store, together, as far as the store takes it in the time that is left.</summary>
    /// <returns>Whether all have ended well; where not, they end with the process.</returns>
    public bool End(params IDisposable[] writers)
    {
        var left = _since == 0 ? s_all : s_all - Stopwatch.GetElapsedTime(_since);
        var ends = Task.WhenAll(
            writers.Select(writer => Task.Factory.StartNew(writer.Dispose, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default)));
        return Task.WhenAny(ends, Task.Delay(left > s_leastForWriting ? left : s_leastForWriting)).GetAwaiter().GetResult() == ends
            && ends.IsCompletedSuccessfully;
    }

    /// <summary>Has the connection of each request closed while the service is stopping.</summary>
    public void Use(IApplicationBuilder app) => app.Use(next => http =>
    {
        if (_stopping)
        {
            if (HttpProtocol.IsHttp2(http.Request.Protocol))
            {
                // GOAWAY: what is under way ends, and nothing new begins on this connection.
                http.Features.Get<IConnectionLifetimeNotificationFeature>()?.RequestClose();
            }
            else
            {
                http.Response.Headers.Connection = "close";
            }
        }

        return next(http);
    });

    /// <inheritdoc/>
    public Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken = default)
        => Task.FromResult(_stopping ? HealthCheckResult.Unhealthy("The service is stopping.") : HealthCheckResult.Healthy());

    /// <inheritdoc/>
    public Task StartedAsync(CancellationToken cancellationToken)
    {
        _started = true;
        return Task.CompletedTask;
    }

    /// <inheritdoc/>
    public async Task StoppingAsync(CancellationToken cancellationToken)
    {
        _since = Stopwatch.GetTimestamp();
        _stopping = true;
        if (_started)
        {
            await Task.Delay(drain, cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    /// <inheritdoc/>
    public Task StartingAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    /// <inheritdoc/>
    public Task StartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    /// <inheritdoc/>
    public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    /// <inheritdoc/>
    public Task StoppedAsync(CancellationToken cancellationToken) => Task.CompletedTask;
}
