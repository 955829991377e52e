using System;
using System.Buffers.Text;
using System.Collections.Generic;
using System.Collections.Immutable;
using System.Linq;
using System.Security.Cryptography;
using System.Text.Json;
using TokenService.Protocol;

namespace TokenService.Keys;

/// <summary>All signing keys at one moment, with what each is for when, and the JWKS that publishes them. It never changes.</summary>
public sealed class SigningKeyRing
{
    /// <summary>Makes the snapshot.</summary>
    /// <param name="schedule">The keys in the store; at least one.</param>
    /// <param name="keys">The same keys by kid.</param>
    /// <exception cref="ArgumentException">There is no key.</exception>
    public SigningKeyRing(KeySchedule schedule, IReadOnlyDictionary<string, SigningKey> keys)
    {
        if (schedule.Keys.IsEmpty)
        {
            throw new ArgumentException("There is no signing key.", nameof(schedule));
        }

        Schedule = schedule;
        Keys = [.. schedule.Keys.Select(key => keys[key.Kid])];
        Jwks = JsonSerializer.SerializeToUtf8Bytes(new Jwks { Keys = [.. Keys.Select(key => key.PublicKey)] }, ProtocolJson.Default.Jwks);
        ETag = $"\"{Base64Url.EncodeToString(SHA256.HashData(Jwks.Span).AsSpan(0, 16))}\"";
    }

    /// <summary>When which key does what.</summary>
    public KeySchedule Schedule { get; }

    /// <summary>All keys, in the order in which they sign. A key that was retired or is gone is not among them.</summary>
    public ImmutableArray<SigningKey> Keys { get; }

    /// <summary>The JWK Set (RFC 7517 §5) in UTF-8: public keys only, and all of them.</summary>
    public ReadOnlyMemory<byte> Jwks { get; }

    /// <summary>An entity tag for <see cref="Jwks"/>, in its quotes (RFC 9110 §8.8.3).</summary>
    public string ETag { get; }

    /// <summary>The key that signs at this time.</summary>
    public SigningKey SigningAt(DateTimeOffset now) => Keys[Schedule.SigningAt(now)];
}
