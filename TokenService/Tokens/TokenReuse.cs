using System;
using System.Collections.Concurrent;
using System.Collections.Generic;
using System.Linq;
using System.Threading;
using System.Threading.Tasks;
using TokenService.Keys;
using TokenService.Protocol;

namespace TokenService.Tokens;

/// <summary>Gives the same token again to a client that asks for the same within its <c>token_reuse</c>; those that ask at once share one signature.</summary>
/// <remarks>
/// <para>It knows nothing that a request did not get by itself: each has authenticated its client and passed the scope policy before it comes
/// here, and what it was granted is the key, whole. What was signed belongs to one snapshot of the store: with any change of the store, be it of
/// another client, all of it is forgotten. That costs each client one signature, and no change can be overlooked, not even one that was undone.</para>
/// <para>Reading takes no lock. One that signs has noted before that it does; the others wait for it, and hold no thread. Where nobody can
/// give a token again, or there is no room to keep one, the request signs for itself.</para>
/// </remarks>
public sealed class TokenReuse : IDisposable
{
    /// <summary>How much is kept, in bytes of memory, roughly: some 20,000 tokens.</summary>
    internal const long MostBytes = 64L << 20;

    /// <summary>How much of it is kept for one client: some 300 tokens.</summary>
    internal const long MostBytesOfAClient = 1L << 20;

    private static readonly TimeSpan s_interval = TimeSpan.FromMinutes(1);

    private readonly Func<GrantedToken, SigningKey, DateTimeOffset, TokenResponse> _sign;
    private readonly Func<string, DateTimeOffset, bool> _isLive;
    private readonly TimeProvider _clock;
    private readonly ITimer _timer;
    private Kept _kept = new(new object());
    private long _reused;

    /// <summary>Starts with nothing.</summary>
    /// <param name="sign">Issues a token, as <see cref="AccessTokenIssuer"/> does.</param>
    /// <param name="isLive">Whether it is known that a token, by its <c>jti</c> and <c>exp</c>, was not revoked; asked each time that one is given again.</param>
    /// <param name="clock">The clock.</param>
    public TokenReuse(
        Func<GrantedToken, SigningKey, DateTimeOffset, TokenResponse> sign, Func<string, DateTimeOffset, bool> isLive, TimeProvider clock)
    {
        (_sign, _isLive, _clock) = (sign, isLive, clock);
        _timer = clock.CreateTimer(_ => RemoveOld(), null, s_interval, s_interval);
    }

    /// <summary>How many times a token was given again, since the start.</summary>
    public long Reused => Interlocked.Read(ref _reused);

    /// <summary>How many tokens are kept.</summary>
    internal int Count => Volatile.Read(ref _kept).Entries.Count;

    /// <summary>Takes a token that was given before, or signs the first one.</summary>
    /// <param name="granted">What was granted; <see cref="GrantedToken.Reuse"/> says for how long one may be given again.</param>
    /// <param name="snapshot">What of the store it was decided by: a token is only given again under the same one.</param>
    /// <param name="key">The key that signs now: a token by another one is not given again.</param>
    /// <param name="now">The time of the request; a token that is signed now is issued then.</param>
    /// <returns>The answer, and whether it was given before; <see langword="null"/> where the request is to sign one for itself, that nobody else gets.</returns>
    public ValueTask<ReusableToken?> Take(GrantedToken granted, object snapshot, SigningKey key, DateTimeOffset now)
    {
        var kept = KeptFor(snapshot);
        while (true)
        {
            if (kept.Entries.TryGetValue(granted, out var there) && there is { Signed.IsCompleted: false })
            {
                return Await(there, key);
            }

            if (there is not null && Again(there, key) is { } token)
            {
                return new(token);
            }

            // What is there is of no use any more: it gives way, to this request or to the one that was faster.
            var own = new Entry(granted, key, now, _clock.GetTimestamp());
            var settled = kept.Replace(there, own);
            if (settled is null)
            {
                return default;
            }

            if (settled == own)
            {
                return new(Sign(own, kept, now));
            }
        }
    }

    /// <summary>Ends; what is kept goes with it.</summary>
    public void Dispose() => _timer.Dispose();

    /// <summary>
    /// Whether a token is still so young that it may be given again. Pure. By both clocks: the monotonic one cannot be set, and by the wall
    /// clock no token is ever given that is not issued yet or has lived for longer.
    /// </summary>
    /// <param name="reuse">For how long one may be given again.</param>
    /// <param name="age">How long ago it was signed, in monotonic time.</param>
    /// <param name="issuedAt">When it was issued, by the wall clock then.</param>
    /// <param name="now">The time by the wall clock now.</param>
    internal static bool IsYoung(TimeSpan reuse, TimeSpan age, DateTimeOffset issuedAt, DateTimeOffset now)
        => age < reuse && issuedAt <= now && now - issuedAt < reuse;

    private Kept KeptFor(object snapshot)
    {
        while (true)
        {
            var kept = Volatile.Read(ref _kept);
            if (kept.BelongsTo(snapshot))
            {
                return kept;
            }

            // A request that goes by the snapshot before may come late, and empties it once more: that is a signature, and no harm.
            Interlocked.CompareExchange(ref _kept, new Kept(snapshot), kept);
        }
    }

    private ReusableToken Sign(Entry entry, Kept kept, DateTimeOffset now)
    {
        try
        {
            var response = _sign(entry.Granted, entry.Key, now);
            var token = AccessTokenReader.ReadOwn(response.AccessToken.Span);
            entry.Settle(new(response, token.TokenId, token.ExpiresAt));
            return new(response, IsReused: false);
        }
        catch
        {
            // Nobody gets the fault of another: whoever waits signs for itself.
            kept.Remove(entry);
            entry.Settle(null);
            throw;
        }
    }

    private async ValueTask<ReusableToken?> Await(Entry entry, SigningKey key)
    {
        await entry.Signed;
        return Again(entry, key);
    }

    private ReusableToken? Again(Entry entry, SigningKey key)
    {
        // The time of the request may be older than the token that it waited for.
        var now = _clock.GetUtcNow();
        if (entry.Signed.Result is not { } signed || !ReferenceEquals(entry.Key, key)
            || !IsYoung(entry.Granted.Reuse!.Value, _clock.GetElapsedTime(entry.SignedAt), entry.IssuedAt, now)
            || !_isLive(signed.TokenId, signed.ExpiresAt))
        {
            return null;
        }

        Interlocked.Increment(ref _reused);
        return new(signed.Response with { ExpiresIn = signed.ExpiresAt.ToUnixTimeSeconds() - now.ToUnixTimeSeconds() }, IsReused: true);
    }

    private void RemoveOld()
    {
        var kept = Volatile.Read(ref _kept);
        foreach (var entry in kept.Entries.Values.Where(entry => _clock.GetElapsedTime(entry.SignedAt) >= entry.Granted.Reuse!.Value))
        {
            kept.Remove(entry);
        }
    }

    private sealed record SignedToken(TokenResponse Response, string TokenId, DateTimeOffset ExpiresAt);

    // A token that was signed, or is being signed.
    private sealed class Entry(GrantedToken granted, SigningKey key, DateTimeOffset issuedAt, long signedAt)
    {
        private readonly TaskCompletionSource<SignedToken?> _signed = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public GrantedToken Granted { get; } = granted;

        public SigningKey Key { get; } = key;

        public DateTimeOffset IssuedAt { get; } = issuedAt;

        // In monotonic time.
        public long SignedAt { get; } = signedAt;

        // Nothing where it came to nothing.
        public Task<SignedToken?> Signed => _signed.Task;

        // What it will take, before it is known: names stand in the request, in the answer, and twice over in the token.
        public long Bytes { get; } = 3_000 + (8L * (granted.ClientId.Length + granted.Scopes.Sum(name => name.Length + 1) + granted.Audience.Sum(uri => uri.Length)));

        public void Settle(SignedToken? signed) => _signed.SetResult(signed);
    }

    // All that belongs to one snapshot.
    private sealed class Kept(object snapshot)
    {
        private readonly Lock _changing = new();
        private readonly Dictionary<string, long> _bytesOf = new(StringComparer.Ordinal);

        // Weakly: where nobody asks for a token to be given again, this would hold all clients as they were before the last change.
        private readonly WeakReference<object> _snapshot = new(snapshot);
        private long _bytes;

        public ConcurrentDictionary<GrantedToken, Entry> Entries { get; } = new();

        public bool BelongsTo(object other) => _snapshot.TryGetTarget(out var own) && ReferenceEquals(own, other);

        // Puts an entry into the place of one that is of no use, or of none. What is there then: that entry, one that somebody else put there first,
        // or none where there is no room.
        public Entry? Replace(Entry? useless, Entry entry)
        {
            lock (_changing)
            {
                if (Entries.GetValueOrDefault(entry.Granted) is { } there)
                {
                    if (there != useless)
                    {
                        return there;
                    }

                    // It takes the same room.
                    return Entries[entry.Granted] = entry;
                }

                var clientId = entry.Granted.ClientId;
                var ofClient = _bytesOf.GetValueOrDefault(clientId) + entry.Bytes;
                if (_bytes + entry.Bytes > MostBytes || ofClient > MostBytesOfAClient)
                {
                    return null;
                }

                _bytes += entry.Bytes;
                _bytesOf[clientId] = ofClient;
                return Entries[entry.Granted] = entry;
            }
        }

        public void Remove(Entry entry)
        {
            lock (_changing)
            {
                if (Entries.TryRemove(new(entry.Granted, entry)))
                {
                    _bytes -= entry.Bytes;
                    if ((_bytesOf[entry.Granted.ClientId] -= entry.Bytes) == 0)
                    {
                        _bytesOf.Remove(entry.Granted.ClientId);
                    }
                }
            }
        }
    }
}

/// <summary>A token that others may have got too.</summary>
/// <param name="Response">The answer that carries it, with what is left of its life.</param>
/// <param name="IsReused">Whether another request got it before.</param>
public sealed record ReusableToken(TokenResponse Response, bool IsReused);
