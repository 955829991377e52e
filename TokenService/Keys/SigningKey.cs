using System;
using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;
using System.Threading;
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

    // One RSA object for each core: OpenSSL keeps the blinding of an object under a lock, and requests would wait for each other. An EC key
    // has none, and signs with one object in many threads.
    private readonly RSA?[] _rsa = new RSA?[Environment.ProcessorCount];
    private readonly Lazy<SignatureProvider> _verifier;

    private SigningKey(string algorithm, AsymmetricAlgorithm keyPair)
    {
        (Algorithm, _keyPair) = (algorithm, keyPair);
        PublicKey = PublicPart(algorithm, keyPair);
        Kid = PublicKey.Kid!;
        SecurityKey key = keyPair switch
        {
            // From parameters, so that the library makes an RSA object of its own for each request that verifies at the same time.
            RSA rsa => new RsaSecurityKey(rsa.ExportParameters(includePrivateParameters: true)),
            ECDsa ecdsa => new ECDsaSecurityKey(ecdsa),
            _ => throw new ArgumentException("An RSA or EC key is needed.", nameof(keyPair)),
        };
        key.KeyId = Kid;
        Credentials = new SigningCredentials(key, algorithm);
        SignatureLength = keyPair is RSA ? keyPair.KeySize / 8 : 2 * ((keyPair.KeySize + 7) / 8);
        AccessTokenHeader = Base64Url.EncodeToUtf8(Encoding.ASCII.GetBytes($$"""{"alg":"{{algorithm}}","kid":"{{Kid}}","typ":"at+jwt"}"""));
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

    /// <summary>The JOSE header of the access tokens that it signs (RFC 9068 §2.1), in base64url and ASCII.</summary>
    public ReadOnlyMemory<byte> AccessTokenHeader { get; }

    /// <summary>The length of a signature in bytes, as a JWS has it (RFC 7518 §3.3 to §3.5).</summary>
    public int SignatureLength { get; }

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

    /// <summary>Signs (RFC 7518 §3.3 to §3.5).</summary>
    /// <param name="content">What to sign.</param>
    /// <param name="signature">Takes the signature: <see cref="SignatureLength"/> bytes.</param>
    public void Sign(ReadOnlySpan<byte> content, Span<byte> signature)
    {
        var hash = Algorithm.AsSpan(2) switch
        {
            "256" => HashAlgorithmName.SHA256,
            "384" => HashAlgorithmName.SHA384,
            _ => HashAlgorithmName.SHA512,
        };
        if (_keyPair is ECDsa ecdsa)
        {
            ecdsa.SignData(content, signature, hash, DSASignatureFormat.IeeeP1363FixedFieldConcatenation);
            return;
        }

        var rsa = TakeRsa();
        rsa.SignData(content, signature, hash, Algorithm.StartsWith('P') ? RSASignaturePadding.Pss : RSASignaturePadding.Pkcs1);
        PutBack(rsa);
    }

    /// <summary>Whether this is a signature by this key and its algorithm.</summary>
    /// <param name="content">What was signed.</param>
    /// <param name="signature">The signature as a JWS has it (RFC 7518 §3.3 to §3.5).</param>
    public bool Verifies(byte[] content, byte[] signature) => _verifier.Value.Verify(content, signature);

    // More than there are cores only where threads are suspended while they sign; such a one is given up afterwards.
    private RSA TakeRsa()
    {
        var core = Thread.GetCurrentProcessorId();
        for (var i = 0; i < _rsa.Length; i++)
        {
            if (Interlocked.Exchange(ref _rsa[(core + i) % _rsa.Length], null) is { } rsa)
            {
                return rsa;
            }
        }

        return RSA.Create(((RSA)_keyPair).ExportParameters(includePrivateParameters: true));
    }

    private void PutBack(RSA rsa)
    {
        var core = Thread.GetCurrentProcessorId();
        for (var i = 0; i < _rsa.Length; i++)
        {
            if (Interlocked.CompareExchange(ref _rsa[(core + i) % _rsa.Length], rsa, null) is null)
            {
                return;
            }
        }

        rsa.Dispose();
    }

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
