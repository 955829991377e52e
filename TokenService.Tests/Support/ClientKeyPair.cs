using System;
using System.Security.Cryptography;
using System.Text.Json.Nodes;
using Microsoft.IdentityModel.Tokens;

namespace TokenService.Tests.Support;

/// <summary>A client's key pair, made by .NET alone.</summary>
internal sealed class ClientKeyPair
{
    private readonly RSA? _rsa;
    private readonly ECDsa? _ec;

    private ClientKeyPair(RSA? rsa, ECDsa? ec) => (_rsa, _ec) = (rsa, ec);

    public RSA Rsa => _rsa!;

    public ECDsa Ec => _ec!;

    public string PublicPem => _rsa?.ExportSubjectPublicKeyInfoPem() ?? _ec!.ExportSubjectPublicKeyInfoPem();

    public string PrivatePem => _rsa?.ExportPkcs8PrivateKeyPem() ?? _ec!.ExportPkcs8PrivateKeyPem();

    public static ClientKeyPair OfRsa(int bits = 2048) => new(RSA.Create(bits), null);

    public static ClientKeyPair OfEc(ECCurve curve) => new(null, ECDsa.Create(curve));

    /// <summary>A key that signs by this algorithm.</summary>
    public static ClientKeyPair For(string algorithm) => algorithm switch
    {
        "ES256" => OfEc(ECCurve.NamedCurves.nistP256),
        "ES384" => OfEc(ECCurve.NamedCurves.nistP384),
        "ES512" => OfEc(ECCurve.NamedCurves.nistP521),
        _ => OfRsa(),
    };

    public JsonObject Jwk(string? kid = "1", string? algorithm = null)
    {
        JsonObject jwk;
        if (_rsa is not null)
        {
            var rsa = _rsa.ExportParameters(false);
            jwk = new() { ["kty"] = "RSA", ["n"] = Base64UrlEncoder.Encode(rsa.Modulus), ["e"] = Base64UrlEncoder.Encode(rsa.Exponent) };
        }
        else
        {
            var ec = _ec!.ExportParameters(false);
            jwk = new() { ["kty"] = "EC", ["crv"] = $"P-{_ec.KeySize}", ["x"] = Base64UrlEncoder.Encode(ec.Q.X), ["y"] = Base64UrlEncoder.Encode(ec.Q.Y) };
        }

        if (kid is not null)
        {
            jwk["kid"] = kid;
        }

        if (algorithm is not null)
        {
            jwk["alg"] = algorithm;
        }

        return jwk;
    }

    /// <summary>Signs as a JWS does (RFC 7518 §3).</summary>
    public byte[] Sign(string algorithm, byte[] content)
    {
        var hash = new HashAlgorithmName($"SHA{algorithm[2..]}");
        return algorithm[..2] switch
        {
            "RS" => _rsa!.SignData(content, hash, RSASignaturePadding.Pkcs1),
            "PS" => _rsa!.SignData(content, hash, RSASignaturePadding.Pss),
            _ => _ec!.SignData(content, hash, DSASignatureFormat.IeeeP1363FixedFieldConcatenation),
        };
    }

    public static string Set(params ReadOnlySpan<JsonObject> keys)
    {
        var array = new JsonArray();
        foreach (var key in keys)
        {
            array.Add(key);
        }

        return new JsonObject { ["keys"] = array }.ToJsonString();
    }
}
