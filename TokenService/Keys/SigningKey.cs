using System;
using System.Security.Cryptography;
using Microsoft.IdentityModel.Tokens;
using TokenService.Protocol;

namespace TokenService.Keys;

/// <summary>A key pair that access tokens are signed with.</summary>
/// <remarks>This room holds the service's own keys: what they are, how they are protected at rest, and which of them are published.</remarks>
public sealed class SigningKey
{
    private const int RsaBits = 2048;

    private readonly AsymmetricAlgorithm _keyPair;

    private SigningKey(string algorithm, AsymmetricAlgorithm keyPair)
    {
        (Algorithm, _keyPair) = (algorithm, keyPair);
        PublicKey = PublicPart(algorithm, keyPair);
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
    }

    /// <summary>The key identifier: the RFC 7638 thumbprint of the public key.</summary>
    public string Kid => PublicKey.Kid;

    /// <summary>One of <see cref="SigningAlgorithms"/>.</summary>
    public string Algorithm { get; }

    /// <summary>The public part, as the JWKS shows it.</summary>
    public PublicJwk PublicKey { get; }

    /// <summary>The key as the JWT library takes it. Its members can sign; none of them may be logged.</summary>
    public SigningCredentials Credentials { get; }

    /// <summary>Makes a key: RSA with 2048 bits, or EC on P-256 for <c>ES256</c>.</summary>
    /// <param name="algorithm">One of <see cref="SigningAlgorithms"/>.</param>
    public static SigningKey Generate(string algorithm) => new(
        algorithm,
        algorithm == SigningAlgorithms.ES256 ? ECDsa.Create(ECCurve.NamedCurves.nistP256) : RSA.Create(RsaBits));

    /// <summary>Reads a key that <see cref="ExportPrivateKey"/> wrote.</summary>
    /// <exception cref="CryptographicException">The bytes are not such a key.</exception>
    public static SigningKey Import(string algorithm, ReadOnlySpan<byte> privateKey)
    {
        AsymmetricAlgorithm keyPair = algorithm == SigningAlgorithms.ES256 ? ECDsa.Create() : RSA.Create();
        keyPair.ImportPkcs8PrivateKey(privateKey, out _);
        return new SigningKey(algorithm, keyPair);
    }

    /// <summary>The private key in PKCS #8 (DER), for <see cref="KeyProtector"/> and nothing else.</summary>
    public byte[] ExportPrivateKey() => _keyPair.ExportPkcs8PrivateKey();

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
