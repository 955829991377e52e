using System;
using System.Collections.Concurrent;
using System.Collections.Immutable;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Microsoft.IdentityModel.Tokens;
using TokenService.Protocol;

namespace TokenService.Clients;

/// <summary>A public key that a client signs its assertions with. Two with the same JWK are equal.</summary>
/// <remarks>
/// What may be verified with a key follows from its type and curve, and from its <c>alg</c> where it has one, never from what an
/// assertion says. <see cref="ClientKeyReader"/> makes keys and refuses weak ones.
/// </remarks>
public sealed class ClientKey : IEquatable<ClientKey>
{
    // Each key keeps its own verifiers. The library's shared cache would keep those of keys that are gone.
    private static readonly CryptoProviderFactory s_uncached = new() { CacheSignatureProviders = false };

    private readonly ConcurrentDictionary<string, SignatureProvider> _verifiers = new(StringComparer.Ordinal);
    private string? _credential;

    internal ClientKey(PublicJwk jwk)
    {
        Jwk = jwk;
        var fitting = AlgorithmsOf(jwk);
        Algorithms = jwk.Alg is null ? fitting : fitting.Contains(jwk.Alg) ? [jwk.Alg] : [];
    }

    /// <summary>The key as a JWK (RFC 7517 §4), its integers in their shortest form.</summary>
    public PublicJwk Jwk { get; }

    /// <summary>What the <see cref="Credential"/> of every key begins with.</summary>
    public const string CredentialPrefix = "key:";

    /// <summary>Its name among all credentials of the client: <c>key:</c> and its <c>kid</c>, or its thumbprint (RFC 7638) where it has none.</summary>
    public string Credential => _credential ??= CredentialPrefix + (Jwk.Kid ?? Thumbprint());

    /// <summary>Of <see cref="AssertionAlgorithms.PrivateKey"/> those that it verifies; empty where it is of no use here.</summary>
    public ImmutableArray<string> Algorithms { get; }

    /// <summary>Whether this is a signature by this key.</summary>
    /// <param name="algorithm">One of <see cref="Algorithms"/>.</param>
    /// <param name="content">What was signed.</param>
    /// <param name="signature">The signature as a JWS has it (RFC 7518 §3.3 to §3.5): for EC, both numbers at full length.</param>
    public bool Verifies(string algorithm, byte[] content, byte[] signature)
        => _verifiers.GetOrAdd(algorithm, name => MakeVerifier(ReadRsa(), Jwk.Kty == "RSA" ? null : ReadEc(), name)).Verify(content, signature);

    /// <summary>The same for a key that comes with what it has signed, and is not kept: nothing of it stays.</summary>
    /// <param name="algorithm">One of <see cref="Algorithms"/>.</param>
    /// <param name="content">What was signed.</param>
    /// <param name="signature">The signature as a JWS has it.</param>
    public bool VerifiesOnce(string algorithm, byte[] content, byte[] signature)
    {
        using var rsa = ReadRsa();
        using var ec = rsa is null ? ReadEc() : null;
        using var verifier = MakeVerifier(rsa, ec, algorithm);
        return verifier.Verify(content, signature);
    }

    /// <summary>Whether it is the public key of a certificate.</summary>
    /// <param name="certificate">The certificate.</param>
    public bool IsOf(X509Certificate2 certificate)
    {
        try
        {
            if (Jwk.Kty == "RSA")
            {
                using var rsa = certificate.GetRSAPublicKey();
                var read = rsa?.ExportParameters(includePrivateParameters: false);
                return Base64UrlEncoder.Encode(read?.Modulus.AsSpan().TrimStart((byte)0).ToArray() ?? []) == Jwk.N
                    && Base64UrlEncoder.Encode(read?.Exponent.AsSpan().TrimStart((byte)0).ToArray() ?? []) == Jwk.E;
            }

            using var ec = certificate.GetECDsaPublicKey();
            using var own = ReadEc();
            return ec is not null && ec.ExportSubjectPublicKeyInfo().AsSpan().SequenceEqual(own.ExportSubjectPublicKeyInfo());
        }
        catch (CryptographicException)
        {
            // A key that this machine cannot read, on another curve.
            return false;
        }
    }

    /// <inheritdoc/>
    public bool Equals(ClientKey? other) => other is not null && Jwk == other.Jwk;

    /// <inheritdoc/>
    public override bool Equals(object? obj) => Equals(obj as ClientKey);

    /// <inheritdoc/>
    public override int GetHashCode() => Jwk.GetHashCode();

    /// <summary>Whether the numbers of the key make a key: the point is on the curve, the exponent fits.</summary>
    internal bool CanBeRead()
    {
        try
        {
            using var key = (IDisposable?)ReadRsa() ?? ReadEc();
            return true;
        }
        catch (CryptographicException)
        {
            return false;
        }
    }

    private static ImmutableArray<string> AlgorithmsOf(PublicJwk jwk) => (jwk.Kty, jwk.Crv) switch
    {
        ("RSA", _) => ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"],
        ("EC", "P-256") => ["ES256"],
        ("EC", "P-384") => ["ES384"],
        ("EC", "P-521") => ["ES512"],
        _ => [],
    };

    /// <summary>Its thumbprint (RFC 7638), SHA-256 in base64url.</summary>
    public string Thumbprint() => Base64UrlEncoder.Encode(
        new JsonWebKey { Kty = Jwk.Kty, N = Jwk.N, E = Jwk.E, Crv = Jwk.Crv, X = Jwk.X, Y = Jwk.Y }.ComputeJwkThumbprint());

    private static SignatureProvider MakeVerifier(RSA? rsa, ECDsa? ec, string algorithm)
        => s_uncached.CreateForVerifying(rsa is null ? new ECDsaSecurityKey(ec) : new RsaSecurityKey(rsa), algorithm, cacheProvider: false);

    private RSA? ReadRsa() => Jwk.Kty == "RSA"
        ? RSA.Create(new RSAParameters { Modulus = Base64UrlEncoder.DecodeBytes(Jwk.N), Exponent = Base64UrlEncoder.DecodeBytes(Jwk.E) })
        : null;

    private ECDsa ReadEc() => ECDsa.Create(new ECParameters
    {
        Curve = Jwk.Crv switch
        {
            "P-256" => ECCurve.NamedCurves.nistP256,
            "P-384" => ECCurve.NamedCurves.nistP384,
            _ => ECCurve.NamedCurves.nistP521,
        },
        Q = new ECPoint { X = Base64UrlEncoder.DecodeBytes(Jwk.X), Y = Base64UrlEncoder.DecodeBytes(Jwk.Y) },
    });
}
