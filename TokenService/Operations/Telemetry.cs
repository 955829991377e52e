using System;
using System.Collections.Frozen;
using System.Collections.Generic;
using System.Diagnostics;
using System.Diagnostics.Metrics;
using System.Globalization;
using System.Linq;
using System.Threading;
using TokenService.Keys;
using TokenService.Protocol;

namespace TokenService.Operations;

/// <summary>What is looked at when somebody asks for the metrics, and costs nothing before.</summary>
/// <param name="Clients">How many clients are registered.</param>
/// <param name="Keys">The signing keys with their states, and when each was made.</param>
/// <param name="UsedAssertions">How many used assertions the store remembers.</param>
/// <param name="Staleness">How long ago the store gave what requests go by.</param>
/// <param name="Waiting">How many requests wait for their turn.</param>
/// <param name="AuditRecords">How many records of the audit log were written, and how many are lost.</param>
/// <param name="AuditStaleness">For how long the audit log could not be written.</param>
/// <param name="Clock">Says how old the keys are.</param>
public sealed record Observed(
    Func<int> Clients,
    Func<DateTimeOffset, IEnumerable<ScheduledKey>> Keys,
    Func<long> UsedAssertions,
    Func<TimeSpan> Staleness,
    Func<int> Waiting,
    Func<(long Written, long Lost)> AuditRecords,
    Func<TimeSpan> AuditStaleness,
    TimeProvider Clock);

/// <summary>
/// Every metric and every span that the service makes itself, named after the semantic conventions of OpenTelemetry where they have a name for it.
/// docs/metrics.md lists them, with those of the runtime that go out beside them.
/// </summary>
/// <remarks>
/// As long as nobody listens, each call is one look at a flag. The values of attributes are words of this program: no address, no client id and nothing
/// else that a caller sent becomes one, so their number is bounded.
/// </remarks>
public sealed class Telemetry : IDisposable
{
    /// <summary>What its meter and its source of spans are called.</summary>
    public const string Name = "TokenService";

    private const string Route = "http.route";
    private const string ErrorType = "error.type";
    private const string Error = "oauth.error";
    private const string Check = "tokenservice.check";
    private const string KeyState = "tokenservice.signing_key.state";

    // As the conventions call what is none of the known values.
    private const string Other = "_OTHER";

    // Three times as many as there are: should a check ever be named after what was sent, the rest of them share one name.
    private const int MostChecks = 100;

    private static readonly InstrumentAdvice<double> s_signing = new()
    {
        HistogramBucketBoundaries = [0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1],
    };

    // Those of the conventions for databases.
    private static readonly InstrumentAdvice<double> s_store = new() { HistogramBucketBoundaries = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10] };

    private static readonly FrozenDictionary<KeyState, string> s_keyStates =
        Enum.GetValues<KeyState>().ToFrozenDictionary(state => state, state => state.ToString().ToLowerInvariant());

    private readonly Meter _meter;
    private readonly ActivitySource _spans;
    private readonly TokenActivity? _activity;
    private readonly string _database;
    private readonly Counter<long> _requests;
    private readonly Counter<long> _tokens;
    private readonly Histogram<double> _signatures;
    private readonly Histogram<double> _transactions;
    private readonly HashSet<string> _checks = new(StringComparer.Ordinal);
    private readonly Lock _checking = new();
    private long _keySetFailures;
    private long _connectionsThatGaveWay;

    /// <summary>Makes them.</summary>
    /// <param name="meters">Makes the meter.</param>
    /// <param name="isPostgreSql">Which database the store is.</param>
    /// <param name="activity">Counts for the console; <see langword="null"/> where there is none.</param>
    public Telemetry(IMeterFactory meters, bool isPostgreSql, TokenActivity? activity = null)
    {
        _activity = activity;
        _meter = meters.Create(new MeterOptions(Name) { Version = Version });
        _spans = new ActivitySource(Name, Version);
        _database = isPostgreSql ? "postgresql" : "sqlite";
        _requests = _meter.CreateCounter<long>(
            "tokenservice.requests", "{request}", "Requests to the endpoints that clients authenticate at, by how they ended.");
        _tokens = _meter.CreateCounter<long>("tokenservice.tokens", "{token}", "Access tokens given.");
        _signatures = _meter.CreateHistogram("tokenservice.signature.duration", "s", "How long a signature of an access token takes.", advice: s_signing);
        _transactions = _meter.CreateHistogram("db.client.operation.duration", "s", "How long a transaction of the store takes.", advice: s_store);
        _meter.CreateObservableCounter(
            "tokenservice.key_set.failures", () => Interlocked.Read(ref _keySetFailures), "{fetch}", "Fetches of the keys of a client or issuer that failed.");
        _meter.CreateObservableCounter(
            "tokenservice.connections.given_way", () => Interlocked.Read(ref _connectionsThatGaveWay), "{connection}",
            "Connections closed because there were too many.");
    }

    /// <summary>The version of the program.</summary>
    public static string Version { get; } = typeof(Telemetry).Assembly.GetName().Version!.ToString(3);

    /// <summary>Whether anybody takes spans.</summary>
    public bool TakesSpans => _spans.HasListeners();

    /// <summary>Has the state of the service measured too, from now on.</summary>
    public void Observe(Observed observed)
    {
        _meter.CreateObservableUpDownCounter("tokenservice.clients", observed.Clients, "{client}", "Clients that are registered.");
        _meter.CreateObservableUpDownCounter(
            "tokenservice.used_assertions", observed.UsedAssertions, "{assertion}",
            "Used client assertions that the store remembers, so that none is used twice; counted twice a minute at most.");
        _meter.CreateObservableUpDownCounter(
            "tokenservice.requests.waiting", observed.Waiting, "{request}", "Requests that wait for a processor.");
        _meter.CreateObservableGauge(
            "tokenservice.store.staleness", () => Math.Max(0, observed.Staleness().TotalSeconds), "s",
            "How long ago the store gave the clients, resources and keys that requests go by.");

        // Both from the start: what a series begins with is no increase, and the first record that is lost must be one.
        _meter.CreateObservableCounter(
            "tokenservice.audit.records", AuditRecords, "{record}", "Records of the audit log that were written, or are lost.");
        _meter.CreateObservableGauge(
            "tokenservice.audit.staleness", () => Math.Max(0, observed.AuditStaleness().TotalSeconds), "s", "For how long the audit log could not be written.");
        _meter.CreateObservableUpDownCounter("tokenservice.signing_keys", () => ByState(keys => keys.LongCount()), "{key}", "Signing keys.");
        _meter.CreateObservableGauge(
            "tokenservice.signing_key.age",
            () => ByState(keys => Math.Max(0, (observed.Clock.GetUtcNow() - keys.Min(key => key.Key.CreatedAt)).TotalSeconds)),
            "s",
            "How long ago the oldest signing key was made.");

        IEnumerable<Measurement<long>> AuditRecords()
        {
            var (written, lost) = observed.AuditRecords();
            return [new(written), new(lost, Attribute(ErrorType, "queue_full"))];
        }

        IEnumerable<Measurement<T>> ByState<T>(Func<IEnumerable<ScheduledKey>, T> measure)
            where T : struct
            => observed.Keys(observed.Clock.GetUtcNow()).GroupBy(key => key.State)
                .Select(keys => new Measurement<T>(measure(keys), Attribute(KeyState, s_keyStates[keys.Key])));
    }

    /// <summary>A request was answered as it asked.</summary>
    /// <param name="route">The address of the endpoint, as it is mapped.</param>
    public void Answered(string route)
    {
        if (_requests.Enabled)
        {
            _requests.Add(1, Attribute(Route, route));
        }
    }

    /// <summary>A request was refused.</summary>
    /// <param name="route">The address of the endpoint, as it is mapped.</param>
    /// <param name="error">The refusal, as it is answered.</param>
    public void Refused(string route, OAuthError error)
    {
        if (_requests.Enabled)
        {
            _requests.Add(1, Attribute(Route, route), Attribute(ErrorType, error.Code), Attribute(Check, Known(error.Failed.Name)));
        }

        if (_activity is not null && route.EndsWith(EndpointPaths.Token, StringComparison.Ordinal))
        {
            _activity.CountRefused();
        }

        if (Activity.Current is { IsAllDataRequested: true } span && span.Source == _spans)
        {
            span.SetTag(Error, error.Code).SetTag(Check, Known(error.Failed.Name));
        }
    }

    /// <summary>A token was given.</summary>
    /// <param name="grantType">The grant, one of this service's.</param>
    /// <param name="isReused">Whether it was given before (<c>token_reuse</c>), and so not signed for this request.</param>
    public void TokenGiven(string grantType, bool isReused)
    {
        _activity?.CountIssued();
        if (_tokens.Enabled)
        {
            _tokens.Add(1, Attribute("oauth.grant_type", grantType), Attribute("tokenservice.token.reused", isReused));
        }
    }

    /// <summary>A signature begins; it ends when the answer is disposed of.</summary>
    /// <param name="algorithm">What it is made with (<c>alg</c>).</param>
    public Signature Sign(string algorithm)
        => new(this, algorithm, _signatures.Enabled ? Stopwatch.GetTimestamp() : 0, _spans.StartActivity("sign"));

    /// <summary>A part of a request begins.</summary>
    /// <param name="name">The name of the span.</param>
    /// <returns>The span, to be disposed of at its end; <see langword="null"/> where nobody takes it.</returns>
    public Activity? Span(string name) => _spans.StartActivity(name);

    /// <summary>A request begins, as a part of the trace that its caller is in.</summary>
    /// <param name="method">The method; one that is not known is named <c>_OTHER</c>.</param>
    /// <param name="route">The address of the endpoint, as it is mapped.</param>
    /// <param name="caller">The span of the caller, where it sent one (<c>traceparent</c>).</param>
    /// <returns>The span, to be disposed of at its end; <see langword="null"/> where nobody takes it.</returns>
    public Activity? Request(string method, string route, ActivityContext caller)
    {
        var known = method is "GET" or "HEAD" or "POST" or "PUT" or "DELETE" or "OPTIONS" or "PATCH" or "CONNECT" or "TRACE";
        return _spans.StartActivity($"{(known ? method : "HTTP")} {route}", ActivityKind.Server, caller)
            ?.SetTag("http.request.method", known ? method : Other).SetTag(Route, route);
    }

    /// <summary>A request was answered: by the conventions, one that the caller sent wrong (4xx) is no fault of the span's, and one that the service fails in is.</summary>
    /// <param name="span">The span of <see cref="Request"/>.</param>
    /// <param name="status">The HTTP status.</param>
    public static void End(Activity span, int status)
    {
        span.SetTag("http.response.status_code", status);
        if (status >= 500)
        {
            span.SetTag(ErrorType, span.GetTagItem(Error) ?? status.ToString(CultureInfo.InvariantCulture)).SetStatus(ActivityStatusCode.Error);
        }
    }

    /// <summary>A transaction of the store has ended.</summary>
    /// <param name="operation"><c>read</c> or <c>write</c>.</param>
    /// <param name="elapsed">How long it took.</param>
    /// <param name="fault">The kind of fault, from a closed set; <see langword="null"/> where it went well.</param>
    public void StoreUsed(string operation, TimeSpan elapsed, string? fault)
    {
        if (!_transactions.Enabled)
        {
            return;
        }

        var attributes = new TagList { { "db.system.name", _database }, { "db.operation.name", operation } };
        if (fault is not null)
        {
            attributes.Add(ErrorType, fault);
        }

        _transactions.Record(elapsed.TotalSeconds, attributes);
    }

    /// <summary>The keys of a client or of an issuer could not be fetched.</summary>
    public void KeySetNotFetched() => Interlocked.Increment(ref _keySetFailures);

    /// <summary>There were too many connections.</summary>
    /// <param name="count">How many gave way.</param>
    public void ConnectionsGaveWay(int count) => Interlocked.Add(ref _connectionsThatGaveWay, count);

    /// <inheritdoc/>
    public void Dispose()
    {
        _meter.Dispose();
        _spans.Dispose();
    }

    private static KeyValuePair<string, object?> Attribute(string name, object value) => new(name, value);

    private string Known(string check)
    {
        lock (_checking)
        {
            return _checks.Contains(check) || (_checks.Count < MostChecks && _checks.Add(check)) ? check : Other;
        }
    }

    /// <summary>A signature under way.</summary>
    public readonly struct Signature : IDisposable
    {
        private readonly Telemetry _telemetry;
        private readonly string _algorithm;
        private readonly long _began;
        private readonly Activity? _span;

        internal Signature(Telemetry telemetry, string algorithm, long began, Activity? span)
            => (_telemetry, _algorithm, _began, _span) = (telemetry, algorithm, began, span);

        /// <summary>It is made.</summary>
        public void Dispose()
        {
            if (_began != 0)
            {
                _telemetry._signatures.Record(Stopwatch.GetElapsedTime(_began).TotalSeconds, Attribute("jws.algorithm", _algorithm));
            }

            _span?.Dispose();
        }
    }
}
