using System;
using System.Collections.Concurrent;
using System.Collections.Immutable;
using System.IO;
using System.Linq;
using System.Net;
using System.Net.Http;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json;
using System.Threading;
using System.Threading.Tasks;
using TokenService.Clients;
using TokenService.Protocol;

namespace TokenService.Authentication;

/// <summary>Keys that were fetched from a <see cref="KeySource"/>. It never changes; a fetch makes a new one.</summary>
/// <param name="Keys">The keys of use; at least one.</param>
public sealed record FetchedKeys(ImmutableArray<ClientKey> Keys);

/// <summary>
/// The public keys of clients and trusted issuers that publish them, at a <c>jwks_uri</c> or in a file: fetched when first needed, kept as long as the answer's headers say,
/// fetched again for a key that is not among them, and used on while their host is down, until it says that it has other keys or none.
/// </summary>
/// <remarks>
/// The host of a key set is somebody else's. It may be slow, broken or hostile, and it must cost nobody but its own client: one fetch at a
/// time for each source, which all requests for it share and none cancels; at most 64 KiB in 5 seconds, a trickle included; no redirect, no proxy,
/// no compression; and the address that was checked is the one that is dialled, so that a name cannot lead elsewhere in between. Expired
/// keys are not used while a fetch is under way: a key that its owner has withdrawn must not be good for one more request.
/// </remarks>
public sealed class ClientKeySets : IDisposable
{
    private const int MaxBytes = 64 * 1024;
    private const int MaxFaultLength = 300;

    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan s_shortestKept = TimeSpan.FromMinutes(1);
    private static readonly TimeSpan s_longestKept = TimeSpan.FromDays(1);
    private static readonly TimeSpan s_keptWithoutHeaders = TimeSpan.FromMinutes(5);

    // How long a failed fetch is not tried again: with keys at hand, and without.
    private static readonly TimeSpan s_pauseWithKeys = TimeSpan.FromMinutes(1);
    private static readonly TimeSpan s_pauseWithoutKeys = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan s_pauseBetweenKeyMisses = TimeSpan.FromMinutes(1);

    private static readonly SemaphoreSlim s_lookups = new(32);

    private readonly ConcurrentDictionary<KeySource, Entry> _entries = new();
    private readonly HttpClient _http;
    private readonly TimeProvider _time;
    private readonly Action<Uri, string> _tell;
    private readonly Func<string, CancellationToken, Task<IPAddress[]>> _resolve;
    private long _sweptAt;

    /// <summary>No keys yet.</summary>
    /// <param name="time">Its monotonic time is used.</param>
    /// <param name="tell">Told of each fetch that failed, and why, in printable words.</param>
    public ClientKeySets(TimeProvider time, Action<Uri, string> tell)
        : this(time, tell, Resolve)
    {
    }

    /// <summary>The same with another way from names to addresses.</summary>
    internal ClientKeySets(TimeProvider time, Action<Uri, string> tell, Func<string, CancellationToken, Task<IPAddress[]>> resolve)
    {
        (_time, _tell, _resolve, _sweptAt) = (time, tell, resolve, time.GetTimestamp());
        _http = MakeClient(null);
    }

    /// <summary>The keys at a source.</summary>
    /// <param name="source">Where they are.</param>
    /// <param name="cancellation">Ends the wait, not the fetch.</param>
    /// <returns>The keys, or <see langword="null"/> where none could be fetched yet; and whether they have come just now.</returns>
    public async ValueTask<(FetchedKeys? Keys, bool JustNow)> Get(KeySource source, CancellationToken cancellation)
    {
        var entry = EntryOf(source);
        if (entry.JoinIfDue(() => Fetch(entry, source), _time) is not { } fetch)
        {
            return (entry.Keys, false);
        }

        await fetch.WaitAsync(cancellation);
        return (entry.Keys, true);
    }

    /// <summary>The keys at a source, fetched again because none of those at hand fits; at most once a minute.</summary>
    /// <param name="source">Where they are.</param>
    /// <param name="seen">The keys at hand.</param>
    /// <param name="cancellation">Ends the wait, not the fetch.</param>
    /// <returns>Newer keys, or <paramref name="seen"/>.</returns>
    public async ValueTask<FetchedKeys> GetNewer(KeySource source, FetchedKeys seen, CancellationToken cancellation)
    {
        var entry = EntryOf(source);
        if (entry.JoinUnlessTooSoon(seen, () => Fetch(entry, source), _time) is { } fetch)
        {
            await fetch.WaitAsync(cancellation);
        }

        return entry.Keys ?? seen;
    }

    /// <summary>Looks for a key at a source, and once more among newer ones where none of those at hand fits.</summary>
    /// <param name="clientId">Whose keys they are, where that is known.</param>
    /// <param name="source">Where they are.</param>
    /// <param name="came">What the key is to be for, as the operator is told where there are none.</param>
    /// <param name="find">Looks among some keys.</param>
    /// <param name="isFinal">Whether newer keys can change nothing, where none of these fits.</param>
    /// <param name="cancellation">Ends the wait, not the fetch.</param>
    /// <returns>What was found, or <c>temporarily_unavailable</c> where no keys could be fetched yet.</returns>
    public async ValueTask<Result<string>> Find(
        string? clientId,
        KeySource source,
        string came,
        Func<ImmutableArray<ClientKey>, Result<string>> find,
        Func<ImmutableArray<ClientKey>, bool> isFinal,
        CancellationToken cancellation)
    {
        var (fetched, justNow) = await Get(source, cancellation);
        if (fetched is null)
        {
            return OAuthError.TemporarilyUnavailable(
                RetryAfter, clientId, new("jwks_uri", "keys that can be fetched", $"{came}, and its keys could not be fetched yet; the log says why"));
        }

        var found = find(fetched.Keys);
        return !found.Refused(out _, out _) || justNow || isFinal(fetched.Keys)
            ? found
            : find((await GetNewer(source, fetched, cancellation)).Keys);
    }

    /// <summary>After how long another try makes sense, where there are no keys.</summary>
    public static TimeSpan RetryAfter => s_pauseWithoutKeys;

    /// <inheritdoc/>
    public void Dispose() => _http.Dispose();

    private HttpClient MakeClient(X509Certificate2Collection? authorities)
    {
        var handler = new SocketsHttpHandler
        {
            AllowAutoRedirect = false,
            UseProxy = false,
            UseCookies = false,
            AutomaticDecompression = DecompressionMethods.None,

            // A trace is nobody's business but the operator's.
            ActivityHeadersPropagator = null,
            MaxResponseHeadersLength = 16,
            ConnectCallback = Dial,
            PooledConnectionLifetime = TimeSpan.FromMinutes(1),
        };
        if (authorities is not null)
        {
            var policy = new X509ChainPolicy { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck };
            policy.CustomTrustStore.AddRange(authorities);
            handler.SslOptions.CertificateChainPolicy = policy;
        }

        return new HttpClient(handler) { Timeout = Timeout.InfiniteTimeSpan };
    }

    private Entry EntryOf(KeySource source)
    {
        if (_entries.TryGetValue(source, out var entry))
        {
            return entry;
        }

        Sweep();
        return _entries.GetOrAdd(source, _ => new Entry());
    }

    // What no client is registered with any more is forgotten some day.
    private void Sweep()
    {
        var swept = Interlocked.Read(ref _sweptAt);
        if (_time.GetElapsedTime(swept) < s_longestKept || Interlocked.CompareExchange(ref _sweptAt, _time.GetTimestamp(), swept) != swept)
        {
            return;
        }

        foreach (var (key, entry) in _entries)
        {
            if (entry.IsForgotten(_time))
            {
                _entries.TryRemove(key, out _);
            }
        }
    }

    private async Task Fetch(Entry entry, KeySource source)
    {
        try
        {
            var (keys, kept) = await FetchOnce(source);
            entry.Succeed(keys, kept, _time);
        }
        catch (Exception fault)
        {
            // Whatever it is, it is the host's doing, and the requests that wait must go on. Its words may be the host's, too.
            entry.Fail(_time, (fault as KeySetException)?.Withdraws is true);
            _tell(source.Address, Printable.Escape(fault.GetBaseException().Message, MaxFaultLength));
        }
    }

    private async Task<(FetchedKeys Keys, TimeSpan Kept)> FetchOnce(KeySource source)
    {
        using var deadline = new CancellationTokenSource(s_patience);
        try
        {
            if (source.Address.IsFile)
            {
                return Read(source, await ReadFile(source.Address.OriginalString, deadline.Token), s_shortestKept);
            }

            // Made anew for each fetch, which are few: the file may have changed.
            using var own = source.CaFile is { } file ? MakeClient(Authorities(file, await ReadFile(file, deadline.Token))) : null;
            var http = own ?? _http;
            var address = source.DiscoveredIssuer is null ? source.Address : await Discover(http, source, deadline.Token);
            using var response = await Ask(http, source, address, "application/jwk-set+json, application/json", deadline.Token);
            return Read(source, await ReadBody(response, deadline.Token), KeptFor(response));
        }
        catch (OperationCanceledException) when (deadline.IsCancellationRequested)
        {
            throw new KeySetException($"it did not answer whole within {s_patience.TotalSeconds} seconds");
        }
    }

    private static async Task<HttpResponseMessage> Ask(HttpClient http, KeySource source, Uri address, string accept, CancellationToken cancellation)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, address);
        request.Headers.Accept.ParseAdd(accept);

        // A metadata document may lead elsewhere: the token is for the host that it was configured for.
        if (source.BearerTokenFile is { } file
            && Uri.Compare(address, source.Address, UriComponents.SchemeAndServer, UriFormat.UriEscaped, StringComparison.OrdinalIgnoreCase) == 0)
        {
            request.Headers.Authorization = new("Bearer", BearerToken(file, await ReadFile(file, cancellation)));
        }

        var response = await http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, cancellation);
        if (response.StatusCode != HttpStatusCode.OK)
        {
            response.Dispose();
            throw new KeySetException($"it answered {(int)response.StatusCode} where 200 is needed; redirects are not followed");
        }

        return response;
    }

    // OpenID Connect Discovery §4.3: the document must be that of the issuer. It is another's word where the keys are, so the rules of a configured address hold.
    private static async Task<Uri> Discover(HttpClient http, KeySource source, CancellationToken cancellation)
    {
        using var response = await Ask(http, source, source.Address, "application/json", cancellation);
        if (StrictJson.ReadObject(await ReadBody(response, cancellation)) is not { } document)
        {
            throw new KeySetException("its metadata is no JSON object");
        }

        if (Text(document, "issuer") != source.DiscoveredIssuer)
        {
            throw new KeySetException($"its metadata is of another issuer than {source.DiscoveredIssuer}");
        }

        return Text(document, "jwks_uri") is { } text && NetworkRules.IsKeyAddress(text) && new Uri(text) is var keys && keys.IsLoopback == source.Address.IsLoopback
            ? keys
            : throw new KeySetException("its metadata has no jwks_uri that keys may be fetched from");
    }

    private static string? Text(JsonElement document, string member)
        => document.TryGetProperty(member, out var value) && value.ValueKind == JsonValueKind.String ? value.GetString() : null;

    private static X509Certificate2Collection Authorities(string file, byte[] content)
    {
        var authorities = new X509Certificate2Collection();
        try
        {
            authorities.ImportFromPem(Encoding.UTF8.GetString(content));
        }
        catch (CryptographicException)
        {
            authorities.Clear();
        }

        return authorities.Count > 0 ? authorities : throw new KeySetException($"the file {file} has no certificates in PEM");
    }

    private static string BearerToken(string file, byte[] content)
    {
        var token = Encoding.ASCII.GetString(content.AsSpan().Trim("\r\n\t "u8));
        return token.Length > 0 && token.All(c => c is > ' ' and < '?' or > '?' and <= '~')
            ? token
            : throw new KeySetException($"the file {file} has no bearer token");
    }

    // Not on this thread: what looks like a file may never answer.
    private static Task<byte[]> ReadFile(string path, CancellationToken cancellation) => Task.Run(
        () =>
        {
            try
            {
                using var file = File.OpenRead(path);
                var buffer = new byte[MaxBytes + 1];
                var length = file.ReadAtLeast(buffer, buffer.Length, throwOnEndOfStream: false);
                return length <= MaxBytes ? buffer[..length] : throw new KeySetException($"the file {path} is larger than {MaxBytes} bytes");
            }
            catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
            {
                throw new KeySetException($"the file {path} cannot be read: {fault.Message}");
            }
        },
        CancellationToken.None).WaitAsync(cancellation);

    private static async Task<byte[]> ReadBody(HttpResponseMessage response, CancellationToken cancellation)
    {
        await using var stream = await response.Content.ReadAsStreamAsync(cancellation);
        var buffer = new byte[MaxBytes + 1];
        var length = await stream.ReadAtLeastAsync(buffer, buffer.Length, throwOnEndOfStream: false, cancellation);
        return length <= MaxBytes ? buffer[..length] : throw new KeySetException($"its answer is larger than {MaxBytes} bytes");
    }

    private static (FetchedKeys Keys, TimeSpan Kept) Read(KeySource source, byte[] body, TimeSpan kept)
    {
        if (StrictJson.ReadObject(body) is not { } set)
        {
            throw new KeySetException("its answer is no JSON object");
        }

        if (ClientKeyReader.HasPrivateKey(set))
        {
            throw new KeySetException("its answer shows a private or secret key, so none of its keys can be trusted", withdraws: true);
        }

        var read = source.IsSpiffeBundle ? ClientKeyReader.ReadSpiffeBundle(set) : ClientKeyReader.Read(set);
        return read.Keys.IsEmpty
            ? throw new KeySetException($"its answer has no key of use: {read.FaultTexts.FirstOrDefault()}", withdraws: set.TryGetProperty("keys", out _))
            : (new FetchedKeys(read.Keys), kept);
    }

    // RFC 9111 §4.2.1, within bounds.
    private TimeSpan KeptFor(HttpResponseMessage response)
    {
        var control = response.Headers.CacheControl;
        var kept = control switch
        {
            { NoStore: true } or { NoCache: true } => TimeSpan.Zero,
            { MaxAge: { } age } => age - (response.Headers.Age ?? TimeSpan.Zero),
            _ when response.Content.Headers.Expires is { } expires => expires - (response.Headers.Date ?? _time.GetUtcNow()),
            _ => s_keptWithoutHeaders,
        };
        return TimeSpan.FromTicks(Math.Clamp(kept.Ticks, s_shortestKept.Ticks, s_longestKept.Ticks));
    }

    // The system's resolver holds its thread until it has an answer or gives up, which takes longer than anybody waits here, and the pool's
    // threads are for requests.
    private static async Task<IPAddress[]> Resolve(string host, CancellationToken cancellation)
    {
        if (IPAddress.TryParse(host, out var address))
        {
            return [address];
        }

        if (!s_lookups.Wait(0, cancellation))
        {
            throw new KeySetException("too many names are being looked up; does the resolver of this machine answer?");
        }

        var lookup = Task.Factory.StartNew(
            () =>
            {
                try
                {
                    return Dns.GetHostAddresses(host);
                }
                finally
                {
                    s_lookups.Release();
                }
            },
            CancellationToken.None,
            TaskCreationOptions.LongRunning,
            TaskScheduler.Default);
        return await lookup.WaitAsync(cancellation);
    }

    private async ValueTask<Stream> Dial(SocketsHttpConnectionContext context, CancellationToken cancellation)
    {
        var uri = context.InitialRequestMessage.RequestUri!;
        var addresses = await _resolve(context.DnsEndPoint.Host, cancellation);
        var allowed = addresses.Where(address => NetworkRules.MayBeAsked(address, uri)).ToArray();
        if (allowed.Length == 0)
        {
            throw new KeySetException("its host leads to an address that is not asked for keys: link-local, reserved, or this machine by another name");
        }

        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            await socket.ConnectAsync(allowed, context.DnsEndPoint.Port, cancellation);
            return new NetworkStream(socket, ownsSocket: true);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    /// <summary>What is known of one URI. Times are monotonic.</summary>
    private sealed class Entry
    {
        private readonly Lock _lock = new();
        private Task? _underWay;
        private long? _fetchedAt;
        private TimeSpan _kept;
        private long? _failedAt;
        private long? _missedAt;
        private long? _usedAt;
        private volatile FetchedKeys? _keys;

        public FetchedKeys? Keys => _keys;

        /// <summary>Joins the fetch that the keys need before their next use, or begins it; <see langword="null"/> where they need none.</summary>
        public Task? JoinIfDue(Func<Task> fetch, TimeProvider time)
        {
            lock (_lock)
            {
                _usedAt = time.GetTimestamp();
                var fresh = _fetchedAt is { } fetched && time.GetElapsedTime(fetched) < _kept;
                var paused = _failedAt is { } failed && time.GetElapsedTime(failed) < (_keys is null ? s_pauseWithoutKeys : s_pauseWithKeys);
                return fresh || paused ? null : Join(fetch);
            }
        }

        /// <summary>Joins or begins a fetch of newer keys; <see langword="null"/> where there are newer ones, or it is too soon.</summary>
        public Task? JoinUnlessTooSoon(FetchedKeys seen, Func<Task> fetch, TimeProvider time)
        {
            lock (_lock)
            {
                if (_underWay is not null)
                {
                    return _underWay;
                }

                if (!ReferenceEquals(_keys, seen) || (_missedAt is { } missed && time.GetElapsedTime(missed) < s_pauseBetweenKeyMisses))
                {
                    return null;
                }

                _missedAt = time.GetTimestamp();
                return Join(fetch);
            }
        }

        public bool IsForgotten(TimeProvider time)
        {
            lock (_lock)
            {
                return _underWay is null && _usedAt is { } used && time.GetElapsedTime(used) > s_longestKept;
            }
        }

        public void Succeed(FetchedKeys keys, TimeSpan kept, TimeProvider time)
        {
            lock (_lock)
            {
                (_keys, _kept, _fetchedAt, _failedAt, _underWay) = (keys, kept, time.GetTimestamp(), null, null);
            }
        }

        /// <summary>Notes that a fetch failed: the keys go on being used, unless the answer says that they are no longer good.</summary>
        public void Fail(TimeProvider time, bool withdrawn)
        {
            lock (_lock)
            {
                (_failedAt, _underWay) = (time.GetTimestamp(), null);
                _keys = withdrawn ? null : _keys;
                _fetchedAt = withdrawn ? null : _fetchedAt;
            }
        }

        // On another thread, since the lock is held here and a fetch can fail before its first wait.
        private Task Join(Func<Task> fetch) => _underWay ??= Task.Run(fetch);
    }

    /// <summary>What is wrong with a host or its answer.</summary>
    private sealed class KeySetException(string message, bool withdraws = false) : Exception(message)
    {
        /// <summary>Whether the host itself says that the keys it had are no longer good; otherwise it is down, or broken.</summary>
        public bool Withdraws => withdraws;
    }
}
