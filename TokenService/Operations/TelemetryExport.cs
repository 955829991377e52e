using System;
using System.Collections.Frozen;
using System.Collections.Generic;
using System.Linq;
using System.Threading;
using System.Threading.Tasks;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using OpenTelemetry.Metrics;
using OpenTelemetry.Resources;
using OpenTelemetry.Trace;
using TokenService.Protocol;

namespace TokenService.Operations;

/// <summary>
/// Where metrics and traces go: by OTLP to a collector, where the standard variable <c>OTEL_EXPORTER_OTLP_ENDPOINT</c> names one, and to whoever asks
/// the management listener in Prometheus's text format. Where neither is set, nothing of OpenTelemetry runs.
/// </summary>
/// <remarks>
/// The log does not go with them: what the framework logs, and which the console's filters hold back, may be what a caller sent.
/// </remarks>
public static class TelemetryExport
{
    /// <summary>The variable that switches OTLP on; the SDK reads it, and those beside it, by itself.</summary>
    public const string OtlpEndpoint = "OTEL_EXPORTER_OTLP_ENDPOINT";

    private const int LongestEnd = 500;

    // Of the meters of the runtime and the web server, which make many more, and those of their attributes that docs/metrics.md lists: another version of
    // the runtime may have others.
    private static readonly FrozenDictionary<(string Meter, string Instrument), string[]> s_runtime = new Dictionary<(string, string), string[]>
    {
        [("Microsoft.AspNetCore.Hosting", "http.server.request.duration")] =
            ["http.route", "http.request.method", "http.response.status_code", "url.scheme", "network.protocol.version"],
        [("Microsoft.AspNetCore.Server.Kestrel", "kestrel.active_connections")] = ["server.port"],
        [("System.Runtime", "dotnet.process.cpu.time")] = ["cpu.mode"],
        [("System.Runtime", "dotnet.process.memory.working_set")] = [],
        [("System.Runtime", "dotnet.gc.pause.time")] = [],
    }.ToFrozenDictionary();

    /// <summary>Sets it up.</summary>
    /// <param name="services">The services of the program.</param>
    /// <param name="configuration">Where the variables are.</param>
    /// <param name="isScraped">Whether the management listener is there.</param>
    /// <exception cref="OperatorFaultException">The collector's address is none.</exception>
    public static void Add(IServiceCollection services, IConfiguration configuration, bool isScraped)
    {
        var isPushed = IsPushed(configuration);
        if (!isPushed && !isScraped)
        {
            return;
        }

        var telemetry = services.AddOpenTelemetry()
            .ConfigureResource(resource => resource.AddService("token-service", serviceVersion: Telemetry.Version).AddEnvironmentVariableDetector())
            .WithMetrics(metrics =>
            {
                metrics.AddMeter([Telemetry.Name, .. s_runtime.Keys.Select(known => known.Meter).Distinct()]);
                metrics.AddView(instrument => instrument.Meter.Name == Telemetry.Name ? null
                    : s_runtime.TryGetValue((instrument.Meter.Name, instrument.Name), out var attributes) ? new MetricStreamConfiguration { TagKeys = attributes }
                    : MetricStreamConfiguration.Drop);
                if (isScraped)
                {
                    // As it is at the moment, however often somebody asks.
                    metrics.AddPrometheusExporter(prometheus => prometheus.ScrapeResponseCacheDurationMilliseconds = 0);
                }

                if (isPushed)
                {
                    metrics.AddOtlpExporter();
                }
            });
        if (isPushed)
        {
            telemetry.WithTracing(traces => traces.AddSource(Telemetry.Name).AddOtlpExporter());
        }
    }

    /// <summary>
    /// Sends what is left, and ends it: half a second at most. Disposed of without that, it would wait ten seconds for a collector that does not answer.
    /// </summary>
    /// <param name="services">The services of the program.</param>
    public static Task End(IServiceProvider services)
    {
        return Task.WhenAll(
            Beside(() => services.GetService<MeterProvider>()?.Shutdown(LongestEnd)), Beside(() => services.GetService<TracerProvider>()?.Shutdown(LongestEnd)));

        // On threads of their own: they wait for what only a thread of the pool brings.
        static Task Beside(Action end) => Task.Factory.StartNew(end, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
    }

    private static bool IsPushed(IConfiguration configuration)
    {
        if (configuration[OtlpEndpoint] is not { Length: > 0 } endpoint)
        {
            return false;
        }

        return Uri.TryCreate(endpoint, UriKind.Absolute, out var address) && (address.Scheme == Uri.UriSchemeHttp || address.Scheme == Uri.UriSchemeHttps)
            ? true
            : throw new OperatorFaultException(
                $"{OtlpEndpoint} is {Printable.Quote(endpoint)}; accepted: the http or https URL of a collector, such as http://localhost:4318.");
    }
}
