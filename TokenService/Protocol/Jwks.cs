using System.Collections.Generic;

namespace TokenService.Protocol;

/// <summary>A JWK Set (RFC 7517 §5) of public keys: the service's own, or a client's.</summary>
public sealed record Jwks
{
    /// <summary>The keys.</summary>
    public required IReadOnlyList<PublicJwk> Keys { get; init; }
}

/// <summary>A public signing key (RFC 7517 §4, RFC 7518 §6). There is no member that could hold a private part.</summary>
public sealed record PublicJwk
{
    /// <summary>The key identifier. The service's own keys, and those of <c>new-key</c>, have their thumbprint (RFC 7638).</summary>
    public string? Kid { get; init; }

    /// <summary><c>RSA</c> or <c>EC</c>.</summary>
    public required string Kty { get; init; }

    /// <summary>What the key is for: <c>sig</c>.</summary>
    public string Use { get; } = "sig";

    /// <summary>The one algorithm that it signs with; a client's key may leave it open.</summary>
    public string? Alg { get; init; }

    /// <summary>RSA: the modulus, base64url.</summary>
    public string? N { get; init; }

    /// <summary>RSA: the exponent, base64url.</summary>
    public string? E { get; init; }

    /// <summary>EC: the curve.</summary>
    public string? Crv { get; init; }

    /// <summary>EC: the x coordinate, base64url.</summary>
    public string? X { get; init; }

    /// <summary>EC: the y coordinate, base64url.</summary>
    public string? Y { get; init; }
}
