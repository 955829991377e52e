using System;
using System.Security.Cryptography;
using Microsoft.IdentityModel.Tokens;
using TokenService.Protocol;

namespace TokenService.Keys;

/// <summary>A key pair that JWTs are signed with: the service's access tokens, and the assertions that the <c>assertion</c> command makes.</summary>
/// <remarks>This room holds the service's own keys: what they are, how they are protected at rest, and which of them are published.</remarks>
public sealed class SigningKey
{
    private const int RsaBits = 2048;

    // The key keeps its own verifier. The library's shared cache would keep those of keys that are gone.
    private static readonly CryptoProviderFactory s_uncached = new() { CacheSignatureProviders = false };

    private readonly AsymmetricAlgorithm _keyPair;
    private readonly Lazy<SignatureProvider> _verifier;

    private SigningKey(string algorithm, AsymmetricAlgorithm keyPair)
    {
        (Algorithm, _keyPair) = (algorithm, keyPair);
        PublicKey = PublicPart(algorithm, keyPair);
        Kid = PublicKey.Kid!;
        SecurityKey key = keyPair switch
        {
            // From parameters, so that the library keeps one RSA object for each request that is signing, not one for all: requests
            // would wait for each other's blinding. An EC key has none, and OpenSSL signs with one object in many threads.
            RSA rsa => new RsaSecurityKey(rsa.ExportParameters(includePrivateParameters: true)),
            ECDsa ecdsa => new ECDsaSecurityKey(ecdsa),
            _ => throw new ArgumentException("An RSA or EC key is needed.", nameof(keyPair)),
        };
        key.KeyId = Kid;
        Credentials = new SigningCredentials(key, algorithm);
        _verifier = new(() => s_uncached.CreateForVerifying(key, algorithm, cacheProvider: false));
    }

    /// <summary>The key identifier: the RFC 7638 thumbprint of the public key.</summary>
    public string Kid { get; }

    /// <summary>One of <see cref="SigningAlgorithms"/>, or for a client's key one of <see cref="AssertionAlgorithms.PrivateKey"/>.</summary>
    public string Algorithm { get; }

    /// <summary>The public part, as the JWKS shows it.</summary>
    public PublicJwk PublicKey { get; }

    /// <summary>The key as the JWT library takes it. Its members can sign; none of them may be logged.</summary>
    public SigningCredentials Credentials { get; }

    /// <summary>Makes a key: RSA with 2048 bits, or EC on the curve of the algorithm.</summary>
    /// <param name="algorithm">As <see cref="Algorithm"/>.</param>
    public static SigningKey Generate(string algorithm) => new(algorithm, algorithm switch
    {
        "ES256" => ECDsa.Create(ECCurve.NamedCurves.nistP256),
        "ES384" => ECDsa.Create(ECCurve.NamedCurves.nistP384),
        "ES512" => ECDsa.Create(ECCurve.NamedCurves.nistP521),
        _ => RSA.Create(RsaBits),
    });

    /// <summary>Reads a key that <see cref="ExportPrivateKey"/> wrote.</summary>
    /// <exception cref="CryptographicException">The bytes are not such a key.</exception>
    public static SigningKey Import(string algorithm, ReadOnlySpan<byte> privateKey)
    {
        AsymmetricAlgorithm keyPair = algorithm.StartsWith("ES", StringComparison.Ordinal) ? ECDsa.Create() : RSA.Create();
        keyPair.ImportPkcs8PrivateKey(privateKey, out _);
        return new SigningKey(algorithm, keyPair);
    }

    /// <summary>Reads a private key that is not encrypted, in PEM: PKCS #8, PKCS #1 or SEC 1.</summary>
    /// <param name="pem">The text.</param>
    /// <param name="algorithm">What it signs with, or <see langword="null"/> for <c>RS256</c> or what goes with the curve.</param>
    /// <returns>The key, or <see langword="null"/> where the text holds no such key, or one that the algorithm does not go with.</returns>
    public static SigningKey? ImportPem(string pem, string? algorithm)
    {
        foreach (var keyPair in (AsymmetricAlgorithm[])[RSA.Create(), ECDsa.Create()])
        {
            try
            {
                keyPair.ImportFromPem(pem);
                _ = keyPair is RSA rsa ? rsa.ExportPkcs8PrivateKey() : ((ECDsa)keyPair).ExportPkcs8PrivateKey();
            }
            catch (Exception fault) when (fault is ArgumentException or CryptographicException)
            {
                // The other kind of key, a public key, an encrypted one, or none.
                keyPair.Dispose();
                continue;
            }

            ReadOnlySpan<string> fitting = (keyPair, keyPair.KeySize) switch
            {
                (RSA, >= RsaBits) => ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"],
                (ECDsa, 256) => ["ES256"],
                (ECDsa, 384) => ["ES384"],
                (ECDsa, 521) => ["ES512"],
                _ => [],
            };
            algorithm ??= fitting.IsEmpty ? null : fitting[0];
            return algorithm is not null && fitting.Contains(algorithm) ? new SigningKey(algorithm, keyPair) : null;
        }

        return null;
    }

    /// <summary>The private key in PKCS #8 (DER), for <see cref="KeyProtector"/> and the file that <c>new-key</c> writes.</summary>
    public byte[] ExportPrivateKey() => _keyPair.ExportPkcs8PrivateKey();

    /// <summary>Whether this is a signature by this key and its algorithm.</summary>
    /// <param name="content">What was signed.</param>
    /// <param name="signature">The signature as a JWS has it (RFC 7518 §3.3 to §3.5).</param>
    public bool Verifies(byte[] content, byte[] signature) => _verifier.Value.Verify(content, signature);

    private static PublicJwk PublicPart(string algorithm, AsymmetricAlgorithm keyPair)
    {
        JsonWebKey jwk;
        switch (keyPair)
        {
            case RSA rsa:
                jwk = JsonWebKeyConverter.ConvertFromRSASecurityKey(new RsaSecurityKey(rsa.ExportParameters(includePrivateParameters: false)));
                break;
            default:
                using (var publicOnly = ECDsa.Create(((ECDsa)keyPair).ExportParameters(includePrivateParameters: false)))
                {
                    jwk = JsonWebKeyConverter.ConvertFromECDsaSecurityKey(new ECDsaSecurityKey(publicOnly));
                }

                break;
        }

        return new PublicJwk
        {
            Kid = Base64UrlEncoder.Encode(jwk.ComputeJwkThumbprint()),
            Kty = jwk.Kty,
            Alg = algorithm,
            N = jwk.N,
            E = jwk.E,
            Crv = jwk.Crv,
            X = jwk.X,
            Y = jwk.Y,
        };
    }
}
