using System;
using System.Buffers.Text;
using System.Collections.Immutable;
using System.Linq;
using System.Security.Cryptography;
using System.Text.Json;
using TokenService.Protocol;

namespace TokenService.Keys;

/// <summary>All signing keys at one moment: the one that signs now, and the JWKS that publishes them. It never changes.</summary>
public sealed class SigningKeyRing
{
    /// <summary>Makes the snapshot.</summary>
    /// <param name="keys">The keys in the store, oldest first; at least one.</param>
    /// <exception cref="ArgumentException">There is no key.</exception>
    public SigningKeyRing(ImmutableArray<SigningKey> keys)
    {
        if (keys.IsEmpty)
        {
            throw new ArgumentException("There is no signing key.", nameof(keys));
        }

        Keys = keys;
        Jwks = JsonSerializer.SerializeToUtf8Bytes(new Jwks { Keys = [.. keys.Select(key => key.PublicKey)] }, ProtocolJson.Default.Jwks);
        ETag = $"\"{Base64Url.EncodeToString(SHA256.HashData(Jwks.Span).AsSpan(0, 16))}\"";
    }

    /// <summary>All keys, oldest first.</summary>
    public ImmutableArray<SigningKey> Keys { get; }

    /// <summary>The key that signs now.</summary>
    public SigningKey Signing => Keys[^1];

    /// <summary>The JWK Set (RFC 7517 §5) in UTF-8: public keys only.</summary>
    public ReadOnlyMemory<byte> Jwks { get; }

    /// <summary>An entity tag for <see cref="Jwks"/>, in its quotes (RFC 9110 §8.8.3).</summary>
    public string ETag { get; }
}
