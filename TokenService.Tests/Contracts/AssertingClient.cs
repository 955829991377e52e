using System;
using System.Buffers.Text;
using System.Collections.Generic;
using System.Linq;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using Microsoft.IdentityModel.Tokens;
using TokenService.Tests.Support;

namespace TokenService.Tests.Contracts;

/// <summary>
/// A client that proves itself by assertions with one algorithm: how it is registered, and its secret or private key in the spellings that other
/// people's libraries take. Two for the same algorithm have the same id and different keys.
/// </summary>
internal sealed class AssertingClient
{
    /// <summary>What all of them are registered for.</summary>
    public const string Scope = "catalog.read";

    /// <summary>How long their tokens live, in seconds.</summary>
    public const int Lifetime = 600;

    private static readonly string[] s_public = ["kty", "kid", "alg", "n", "e", "crv", "x", "y"];

    private readonly JsonObject _registration;

    public AssertingClient(string algorithm)
    {
        (Algorithm, Id) = (algorithm, $"job-{algorithm}");
        Method = IsHmac ? "client_secret_jwt" : "private_key_jwt";
        _registration = new JsonObject
        {
            ["client_id"] = Id,
            ["token_endpoint_auth_method"] = Method,
            ["scope"] = Scope,
            ["access_token_lifetime"] = Lifetime,
        };
        if (IsHmac)
        {
            // As many bytes as the longest of the HMACs asks for (RFC 7518 §3.2).
            Secret = Pem = Base64Url.EncodeToString(RandomNumberGenerator.GetBytes(48));
            _registration["client_secret"] = Secret;
            return;
        }

        var (jwk, pem) = algorithm[0] == 'E' ? MakeEc(algorithm) : MakeRsa();
        (jwk["kid"], jwk["alg"]) = ("1", algorithm);
        (Secret, Pem) = (jwk.ToJsonString(), pem);
        var registered = jwk.Where(member => s_public.Contains(member.Key)).Select(member => KeyValuePair.Create(member.Key, member.Value?.DeepClone()));
        _registration["jwks"] = new JsonObject { ["keys"] = new JsonArray(new JsonObject(registered)) };
    }

    public string Algorithm { get; }

    public string Id { get; }

    public string Method { get; }

    /// <summary>The secret, or the private key as a JWK with <c>kid</c> and <c>alg</c>.</summary>
    public string Secret { get; }

    /// <summary>The secret, or the private key in PEM, which knows no <c>kid</c>.</summary>
    public string Pem { get; }

    /// <summary>The same for the .NET library.</summary>
    public SigningCredentials Credentials => IsHmac
        ? new(new SymmetricSecurityKey(Encoding.UTF8.GetBytes(Secret)), Algorithm)
        : new(new JsonWebKey(Secret), Algorithm);

    private bool IsHmac => Algorithm[0] == 'H';

    /// <summary>The declarative file that registers these.</summary>
    public static string File(params IEnumerable<AssertingClient> clients) => $$"""
        {
          "resources": [ { "resource": "{{Sample.CatalogUri}}", "scopes": [ { "name": "{{Scope}}" } ] } ],
          "clients": [ {{string.Join(", ", clients.Select(client => client._registration.ToJsonString()))}} ]
        }
        """;

    private static (JsonObject Jwk, string Pem) MakeRsa()
    {
        using var rsa = RSA.Create(2048);
        var key = rsa.ExportParameters(includePrivateParameters: true);
        var jwk = Jwk(
            "RSA",
            ("n", key.Modulus), ("e", key.Exponent), ("d", key.D), ("p", key.P), ("q", key.Q), ("dp", key.DP), ("dq", key.DQ), ("qi", key.InverseQ));
        return (jwk, rsa.ExportPkcs8PrivateKeyPem());
    }

    private static (JsonObject Jwk, string Pem) MakeEc(string algorithm)
    {
        var (name, curve) = algorithm switch
        {
            "ES256" => ("P-256", ECCurve.NamedCurves.nistP256),
            "ES384" => ("P-384", ECCurve.NamedCurves.nistP384),
            _ => ("P-521", ECCurve.NamedCurves.nistP521),
        };
        using var ec = ECDsa.Create(curve);
        var key = ec.ExportParameters(includePrivateParameters: true);
        var jwk = Jwk("EC", ("x", key.Q.X), ("y", key.Q.Y), ("d", key.D));
        jwk["crv"] = name;
        return (jwk, ec.ExportPkcs8PrivateKeyPem());
    }

    private static JsonObject Jwk(string type, params IEnumerable<(string Name, byte[]? Value)> integers)
    {
        var jwk = new JsonObject { ["kty"] = type };
        foreach (var (name, value) in integers)
        {
            jwk[name] = Base64Url.EncodeToString(value);
        }

        return jwk;
    }
}
