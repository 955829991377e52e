using System;
using System.Collections.Concurrent;
using System.Collections.Immutable;
using System.IO;
using System.Linq;
using System.Net;
using System.Net.Http;
using System.Net.Sockets;
using System.Threading;
using System.Threading.Tasks;
using TokenService.Clients;
using TokenService.Protocol;

namespace TokenService.Authentication;

/// <summary>Keys that were fetched from a <c>jwks_uri</c>. It never changes; a fetch makes a new one.</summary>
/// <param name="Keys">The keys of use; at least one.</param>
public sealed record FetchedKeys(ImmutableArray<ClientKey> Keys);

/// <summary>
/// The public keys of clients that are registered with a <c>jwks_uri</c>: fetched when first needed, kept as long as the answer's headers say,
/// fetched again for a key that is not among them, and used on while their host is down, until it says that it has other keys or none.
/// </summary>
/// <remarks>
/// The host of a key set is somebody else's. It may be slow, broken or hostile, and it must cost nobody but its own client: one fetch at a
/// time for each URI, which all requests for it share and none cancels; at most 64 KiB in 5 seconds, a trickle included; no redirect, no proxy,
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

    private readonly ConcurrentDictionary<string, Entry> _entries = new(StringComparer.Ordinal);
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
        _http = new HttpClient(new SocketsHttpHandler
        {
            AllowAutoRedirect = false,
            UseProxy = false,
            UseCookies = false,
            AutomaticDecompression = DecompressionMethods.None,
            MaxResponseHeadersLength = 16,
            ConnectCallback = Dial,
            PooledConnectionLifetime = TimeSpan.FromMinutes(1),
        })
        {
            Timeout = Timeout.InfiniteTimeSpan,
        };
    }

    /// <summary>The keys at a URI.</summary>
    /// <param name="uri">A <c>jwks_uri</c>.</param>
    /// <param name="cancellation">Ends the wait, not the fetch.</param>
    /// <returns>The keys, or <see langword="null"/> where none could be fetched yet; and whether they have come just now.</returns>
    public async ValueTask<(FetchedKeys? Keys, bool JustNow)> Get(Uri uri, CancellationToken cancellation)
    {
        var entry = EntryOf(uri);
        if (entry.JoinIfDue(() => Fetch(entry, uri), _time) is not { } fetch)
        {
            return (entry.Keys, false);
        }

        await fetch.WaitAsync(cancellation);
        return (entry.Keys, true);
    }

    /// <summary>The keys at a URI, fetched again because none of those at hand fits; at most once a minute.</summary>
    /// <param name="uri">A <c>jwks_uri</c>.</param>
    /// <param name="seen">The keys at hand.</param>
    /// <param name="cancellation">Ends the wait, not the fetch.</param>
    /// <returns>Newer keys, or <paramref name="seen"/>.</returns>
    public async ValueTask<FetchedKeys> GetNewer(Uri uri, FetchedKeys seen, CancellationToken cancellation)
    {
        var entry = EntryOf(uri);
        if (entry.JoinUnlessTooSoon(seen, () => Fetch(entry, uri), _time) is { } fetch)
        {
            await fetch.WaitAsync(cancellation);
        }

        return entry.Keys ?? seen;
    }

    /// <summary>After how long another try makes sense, where there are no keys.</summary>
    public static TimeSpan RetryAfter => s_pauseWithoutKeys;

    /// <inheritdoc/>
    public void Dispose() => _http.Dispose();

    private Entry EntryOf(Uri uri)
    {
        var key = uri.AbsoluteUri;
        if (_entries.TryGetValue(key, out var entry))
        {
            return entry;
        }

        Sweep();
        return _entries.GetOrAdd(key, _ => new Entry());
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

    private async Task Fetch(Entry entry, Uri uri)
    {
        try
        {
            var (keys, kept) = await FetchOnce(uri);
            entry.Succeed(keys, kept, _time);
        }
        catch (Exception fault)
        {
            // Whatever it is, it is the host's doing, and the requests that wait must go on. Its words may be the host's, too.
            entry.Fail(_time, (fault as KeySetException)?.Withdraws is true);
            _tell(uri, Printable.Escape(fault.GetBaseException().Message, MaxFaultLength));
        }
    }

    private async Task<(FetchedKeys Keys, TimeSpan Kept)> FetchOnce(Uri uri)
    {
        using var deadline = new CancellationTokenSource(s_patience);
        try
        {
            using var request = new HttpRequestMessage(HttpMethod.Get, uri);
            request.Headers.Accept.ParseAdd("application/jwk-set+json, application/json");
            using var response = await _http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, deadline.Token);
            if (response.StatusCode != HttpStatusCode.OK)
            {
                throw new KeySetException($"it answered {(int)response.StatusCode} where 200 is needed; redirects are not followed");
            }

            return (Read(await ReadBody(response, deadline.Token)), KeptFor(response));
        }
        catch (OperationCanceledException) when (deadline.IsCancellationRequested)
        {
            throw new KeySetException($"it did not answer whole within {s_patience.TotalSeconds} seconds");
        }
    }

    private static async Task<byte[]> ReadBody(HttpResponseMessage response, CancellationToken cancellation)
    {
        await using var stream = await response.Content.ReadAsStreamAsync(cancellation);
        var buffer = new byte[MaxBytes + 1];
        var length = await stream.ReadAtLeastAsync(buffer, buffer.Length, throwOnEndOfStream: false, cancellation);
        return length <= MaxBytes ? buffer[..length] : throw new KeySetException($"its answer is larger than {MaxBytes} bytes");
    }

    private static FetchedKeys Read(byte[] body)
    {
        if (StrictJson.ReadObject(body) is not { } set)
        {
            throw new KeySetException("its answer is no JSON object");
        }

        if (ClientKeyReader.HasPrivateKey(set))
        {
            throw new KeySetException("its answer shows a private or secret key, so none of its keys can be trusted", withdraws: true);
        }

        var read = ClientKeyReader.Read(set);
        return read.Keys.IsEmpty
            ? throw new KeySetException($"its answer has no key of use: {read.FaultTexts.FirstOrDefault()}", withdraws: set.TryGetProperty("keys", out _))
            : new FetchedKeys(read.Keys);
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
