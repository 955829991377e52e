using System;
using System.IO;
using System.Net.Sockets;
using System.Threading;
using System.Threading.Tasks;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using TokenService.Operations;
using TokenService.Protocol;

namespace TokenService.Endpoints;

/// <summary>What operators reach and clients do not, on an address of its own (<c>TokenService:Management:Url</c>).</summary>
/// <remarks>
/// It is a second web server in the process, with its own routes and its own limits. So what it answers is not found on the addresses of the service,
/// whatever a request there says in its <c>Host</c>, nor the other way round; and however many connections clients open, it has its own.
/// </remarks>
/// <param name="url">Where it listens.</param>
/// <param name="map">Says what it answers.</param>
/// <param name="loggers">Where it logs: to the service's own log, by the same rules.</param>
/// <param name="logger">Told that it listens.</param>
public sealed class ManagementListener(string url, Action<WebApplication> map, ILoggerFactory loggers, ILogger logger) : IHostedService, IAsyncDisposable
{
    private const int MostConnections = 100;

    private WebApplication? _app;

    /// <inheritdoc/>
    /// <exception cref="OperatorFaultException">It cannot listen there.</exception>
    public async Task StartAsync(CancellationToken cancellationToken)
    {
        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.WebHost.UseKestrelCore().UseUrls(url).ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Limits.MaxConcurrentConnections = MostConnections;
        });
        builder.Services.AddRoutingCore().AddSingleton(loggers);
        _app = builder.Build();

        // What operators ask is not counted among what clients ask.
        _app.Use(next => http =>
        {
            if (http.Features.Get<IHttpMetricsTagsFeature>() is { } metrics)
            {
                metrics.MetricsDisabled = true;
            }

            return next(http);
        });
        map(_app);
        try
        {
            await _app.StartAsync(cancellationToken);
        }
        catch (Exception fault) when (fault is IOException or SocketException or InvalidOperationException)
        {
            throw new OperatorFaultException($"The service cannot listen where the setting TokenService:Management:Url says: {fault.Message}", fault);
        }

        logger.ManagementListens(url);
    }

    /// <inheritdoc/>
    public Task StopAsync(CancellationToken cancellationToken) => _app?.StopAsync(cancellationToken) ?? Task.CompletedTask;

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => _app?.DisposeAsync() ?? ValueTask.CompletedTask;
}
