using System;
using System.Collections.Immutable;
using System.Diagnostics.Metrics;
using System.Linq;
using System.Runtime.InteropServices;
using System.Threading;
using System.Threading.Tasks;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using OpenTelemetry.Metrics;
using TokenService.Administration;
using TokenService.Authentication;
using TokenService.Clients;
using TokenService.Commands;
using TokenService.Endpoints;
using TokenService.Grants;
using TokenService.Keys;
using TokenService.Operations;
using TokenService.Protocol;
using TokenService.Storage;
using TokenService.Tokens;

namespace TokenService;

/// <summary>Puts the program together.</summary>
public static class Program
{
    /// <summary>Runs a command, or the service.</summary>
    /// <returns>0 done, 1 refused or failed, 2 wrong usage.</returns>
    public static Task<int> Main(string[] args)
    {
        var (settings, words) = CommandLine.Split(args);
        return CommandLine.Run(words, () => ReadSettings(Builder(settings)), async () =>
        {
            BatchScheduling.Begin();
            NativeHeaps.Limit();
            await using var service = CreateService(settings, TimeProvider.System);
            using var terminate = GracefulStop.EndAtSecond(PosixSignal.SIGTERM);
            using var interrupt = GracefulStop.EndAtSecond(PosixSignal.SIGINT);
            try
            {
                await service.StartAsync();
            }
            catch (Exception fault)
            {
                await service.StopAsync();
                throw fault as OperatorFaultException ?? new OperatorFaultException($"The service cannot listen where the setting urls says: {fault.Message}", fault);
            }

            await service.WaitForShutdownAsync();
        });
    }

    /// <summary>Makes the service, its store opened and its declarative file applied; it listens once it is started.</summary>
    /// <param name="args">Settings, as on the command line.</param>
    /// <param name="clock">The clock.</param>
    /// <exception cref="OperatorFaultException">A setting, the store or the declarative file is wrong.</exception>
    public static WebApplication CreateService(string[] args, TimeProvider clock)
    {
        var builder = Builder(args);
        var settings = ReadSettings(builder).ForService();

        var store = Store.Open(settings);
        store.SettleMasterKey();

        // Before any of them is removed: it may have signed the end of the audit log.
        var auditKeys = settings.AuditFile is null ? [] : store.PublicKeys();
        KeyRotation.Step(store.Keys, settings, clock);
        var health = new StoreHealth(clock);
        builder.Services.AddHealthChecks().AddCheck("store", health);
        builder.Services.AddSingleton(services => new StoreWatch(store, health, settings.LongestStaleness, clock, Logger(services)));
        builder.Services.AddHostedService(services => services.GetRequiredService<StoreWatch>());
        builder.Services.AddHostedService(services => new KeyRotation(
            store.Keys, services.GetRequiredService<StoreWatch>(), settings, clock, Logger(services)));
        var content = settings.ApplyFile is null ? null : DeclarativeFile.Load(settings.ApplyFile, settings.Development, settings.AccessTokenLifetime);
        ApplyPlan? applied = null;
        if (content is not null)
        {
            applied = ApplyFile.Once(content, store.Registry, clock.GetUtcNow());
            builder.Services.AddHostedService(services => new ApplyFile(
                settings.ApplyFile!, store.Registry, services.GetRequiredService<StoreWatch>(), settings.Development, settings.AccessTokenLifetime, clock,
                Logger(services)));
        }

        var authorities = settings is { TakesClientCertificates: true, ClientCaFile: { } file } ? ClientAuthorities.Load(file) : null;
        var stop = new GracefulStop(settings.Development ? TimeSpan.Zero : GracefulStop.Drain);
        builder.Services.AddHealthChecks().AddCheck("stop", stop);
        builder.Services.AddHostedService(_ => stop);
        builder.AddKnownProxies(settings.KnownProxies);
        TlsCertificates.Use(builder, Logger, settings.TakesClientCertificates);
        var activity = settings.ManagementUrl is null ? null : new TokenActivity(clock);
        builder.Services.AddSingleton(services => new Telemetry(services.GetRequiredService<IMeterFactory>(), settings.IsPostgreSql, activity));
        builder.Services.AddSingleton(services => new ConnectionTable(WebServerLimits.MostConnections, TimeProvider.System, count =>
        {
            Logger(services).ConnectionsGaveWay(count);
            services.GetRequiredService<Telemetry>().ConnectionsGaveWay(count);
        }));
        TelemetryExport.Add(builder.Services, builder.Configuration, settings.ManagementUrl is not null);
        ConsoleSources? shown = null;
        if (settings.ManagementUrl is { } management)
        {
            builder.Services.AddHostedService(services => new ManagementListener(
                management,
                listener =>
                {
                    listener.UseOpenTelemetryPrometheusScrapingEndpoint(services.GetRequiredService<MeterProvider>(), null, null, null, null);
                    listener.UseConsole(new ConsoleEndpoint(shown!, Logger(services)), Logger(services));
                },
                services.GetRequiredService<ILoggerFactory>(),
                Logger(services)));
        }

        ConfigureHost(builder);
        builder.Logging.UseConsole(settings.Development);
        var app = builder.Build();

        var (watch, telemetry, logger) = (app.Services.GetRequiredService<StoreWatch>(), app.Services.GetRequiredService<Telemetry>(), Logger(app.Services));
        var issuer = new Lazy<string>(() => settings.Issuer ?? FirstUrl(app), LazyThreadSafetyMode.PublicationOnly);
        var audiences = new Lazy<ImmutableArray<string>>(() => settings.AssertionAudiences(issuer.Value), LazyThreadSafetyMode.PublicationOnly);
        var keySets = new ClientKeySets(clock, (uri, fault) =>
        {
            telemetry.KeySetNotFetched();
            logger.KeysNotFetched(uri.AbsoluteUri, fault);
        });
        var replay = new ReplayStore(
            store.DataSource, clock, Telling("client assertions cannot be noted in the store", logger.AssertionsNotNoted));
        var uses = new CredentialUses(store.DataSource, clock, logger.UsesNotWritten);
        var authenticator = new ClientAuthenticator(new ClientAssertionProof(() => audiences.Value, keySets, replay), new ClientCertificateProof(authorities, keySets));
        var addresses = new Lazy<ImmutableArray<Uri>>(
            () => [.. new[] { issuer.Value, settings.MtlsUrl }.OfType<string>().Select(url => new Uri(url + EndpointPaths.Token))], LazyThreadSafetyMode.PublicationOnly);
        var dpop = new DPoPProof(() => addresses.Value, new DPoPNonces(() => store.Protector), replay);
        Func<GrantedToken, SigningKey, DateTimeOffset, TokenResponse> sign = (granted, key, now) =>
        {
            using var signature = telemetry.Sign(key.Algorithm);
            return AccessTokenIssuer.Issue(granted, issuer.Value, key, now);
        };

        // While the store does not answer, nobody knows what was revoked elsewhere.
        var reuse = new TokenReuse(sign, (tokenId, expiresAt) => watch.Answers && !watch.Revoked.Contains(tokenId, expiresAt), clock);
        var liveness = new TokenLiveness(watch.Revoked.Contains, () => watch.Answers);
        IGrant[] grants =
        [
            new ClientCredentialsGrant(settings.AccessTokenLifetime),
            new TokenExchangeGrant(settings.AccessTokenLifetime, liveness, () => issuer.Value),
        ];
        var revocations = new RevocationStore(
            store.DataSource, watch.Revoked, clock, Telling("revocations cannot be noted in the store", logger.RevocationsNotNoted));
        var kept = new RefusalStore(store.DataSource, clock, logger.RefusalsDropped);
        var audit = OpenAuditLog(settings, auditKeys, watch, health, clock, logger);
        var admission = new Admission(Environment.ProcessorCount, TimeProvider.System, count =>
        {
            logger.Overloaded(count);
            audit?.Note(new AuditRecord(AuditEvents.Overloaded, clock.GetUtcNow()) { Count = count });
        });
        var intake = new Intake(
            watch, authenticator, admission, uses, settings.TakesClientCertificates ? new ClientCertificates(settings.KnownProxies) : null, telemetry, clock);
        var refusals = new Refusals(
            new FailureLimiter(settings.FailuresPerMinute, clock), admission, text => watch.Current.Registry.IsSecret(text), kept, audit, telemetry, clock, logger);
        store.Tell(telemetry.StoreUsed);
        telemetry.Observe(new(
            () => watch.Current.Registry.Clients.Count,
            now => watch.Current.Keys.Schedule.At(now),
            replay.Count,
            () => watch.Staleness,
            () => admission.Waiting,
            () => (audit?.Written ?? 0, audit?.Lost ?? 0),
            () => audit?.Staleness ?? TimeSpan.Zero,
            clock));

        shown = activity is null ? null : new(
            watch, liveness, () => issuer.Value, () => uses.Read(), store.LastRefusals, store.FindRefusals, activity, settings.KeyRotation, settings.Development, clock);

        stop.Use(app);
        if (settings.TakesClientCertificates)
        {
            ClientCertificates.NotePeer(app);
        }

        app.UseForwardedAddress();
        app.Services.GetRequiredService<ConnectionTable>().Watch(app);
        app.UseRequestSpans(telemetry);
        app.UseFaultAnswer(logger);
        app.MapTokenService(
            settings.IssuerPath,
            new TokenEndpoint(intake, grants, dpop, sign, reuse, refusals, clock, audit, telemetry, logger),
            new IntrospectionEndpoint(intake, liveness, () => issuer.Value, refusals, telemetry),
            new RevocationEndpoint(intake, revocations, () => issuer.Value, refusals, audit, telemetry, logger),
            new DiscoveryEndpoint(
                watch, grants, () => issuer.Value, settings.TakesClientCertificates ? new(authorities is not null, settings.MtlsUrl) : null, settings.JwksMaxAge));
        app.Lifetime.ApplicationStopped.Register(() =>
        {
            var exported = TelemetryExport.End(app.Services);
            admission.Dispose();
            reuse.Dispose();
            keySets.Dispose();
            if (stop.End([replay, revocations, kept, uses, .. audit is null ? (IDisposable[])[] : [audit]]))
            {
                store.Dispose();
            }
            else
            {
                logger.EndsUnwritten();
            }

            exported.Wait();
        });
        app.Lifetime.ApplicationStarted.Register(() =>
        {
            Announce(settings, content, issuer.Value, watch.Current, clock.GetUtcNow(), logger);
            audit?.Begin(
                snapshot => AuditStart.Record(settings, issuer.Value, snapshot, clock.GetUtcNow()), StoreChanges.Of(applied?.Changes ?? [], clock.GetUtcNow()));
        });
        return app;

        Action<StoreFault?> Telling(string use, Action<string> log) => fault =>
        {
            health.Report(use, fault?.Reason);
            if (fault is null)
            {
                logger.StoreWritable(use);
            }
            else
            {
                log(fault.Detail);
            }
        };
    }

    // Settings are read once. The host would watch all that lies below its folder for them, and be woken by each write to a store that lies there.
    internal static WebApplicationBuilder Builder(string[] args) => WebApplication.CreateSlimBuilder(["--hostBuilder:reloadConfigOnChange=false", .. args]);

    private static AuditLog? OpenAuditLog(Settings settings, ImmutableArray<ClientKey> keys, StoreWatch watch, StoreHealth health, TimeProvider clock, ILogger logger)
    {
        if (settings.AuditFile is null)
        {
            return null;
        }

        IAuditOutput output = settings.AuditFile == Settings.StandardOutput
            ? new AuditStandardOutput()
            : new AuditFile(settings.AuditFile, kid => keys.FirstOrDefault(key => key.Jwk.Kid == kid));
        if (output is AuditFile { HoldsOther: true })
        {
            logger.AuditBeginsAnew(output.Name);
        }

        logger.AuditGoesOn(output.Name, output.Tail.Sequence, output.Tail.Hash ?? "none");
        return new AuditLog(output, settings.AuditRefuses, () => watch.Current, StoreChanges.Between, clock, notice =>
        {
            health.Report("the audit log cannot be written", notice.Fault);
            if (notice.Fault is null)
            {
                logger.AuditWritten(output.Name, notice.Lost);
            }
            else
            {
                logger.AuditNotWritten(output.Name, settings.AuditRefuses ? "tokens are refused" : "records are kept while there is room, then lost,", notice.Fault);
            }
        });
    }

    internal static Settings ReadSettings(WebApplicationBuilder builder)
        => Settings.Read(builder.Configuration, builder.Environment.ContentRootPath, builder.Environment.IsDevelopment());

    private static ILogger Logger(IServiceProvider services) => services.GetRequiredService<ILoggerFactory>().CreateLogger(Log.Category);

    private static void ConfigureHost(WebApplicationBuilder builder)
    {
        builder.WebHost.UseKestrelHttpsConfiguration().ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            WebServerLimits.Set(kestrel, kestrel.ApplicationServices.GetRequiredService<ConnectionTable>());
        });
        builder.Services.Configure<HostOptions>(host => host.ShutdownTimeout = GracefulStop.HostTimeout);
    }

    // Development only: elsewhere the issuer is a setting.
    private static string FirstUrl(WebApplication app)
    {
        var addresses = app.Services.GetRequiredService<IServer>().Features.GetRequiredFeature<IServerAddressesFeature>().Addresses;
        return Settings.IssuerOf(addresses.First());
    }

    private static void Announce(Settings settings, DeclarativeFile? content, string issuer, StoreSnapshot snapshot, DateTimeOffset now, ILogger logger)
    {
        var key = snapshot.Keys.SigningAt(now);
        logger.Started(issuer, key.Algorithm, key.Kid, snapshot.Registry.Clients.Count, snapshot.Registry.Resources.Count);
        if (key.Algorithm != settings.SigningAlgorithm)
        {
            logger.AnotherAlgorithm(settings.SigningAlgorithm, key.Algorithm);
        }

        if (settings.Development && content is not null && CurlExample.For(content, issuer) is { } line)
        {
            Console.Out.WriteLine($"\nTokenService listens at {issuer}. Get a token:\n\n  {line}\n");
        }
    }
}
