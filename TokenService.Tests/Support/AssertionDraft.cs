using System;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using Microsoft.IdentityModel.Tokens;

namespace TokenService.Tests.Support;

/// <summary>A client assertion before it is signed: right as it is, and to be made wrong by a test.</summary>
internal sealed class AssertionDraft
{
    public const string JwtBearer = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

    public const string JwtSpiffe = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe";

    public AssertionDraft(string clientId, string audience, DateTimeOffset now)
    {
        Claims = new()
        {
            ["iss"] = clientId,
            ["sub"] = clientId,
            ["aud"] = audience,
            ["iat"] = now.ToUnixTimeSeconds(),
            ["exp"] = now.ToUnixTimeSeconds() + 60,
            ["jti"] = Guid.NewGuid().ToString(),
        };
    }

    public JsonObject Header { get; } = new() { ["alg"] = "RS256", ["kid"] = "1" };

    public JsonObject Claims { get; }

    public string TokenId => Claims["jti"]!.GetValue<string>();

    public AssertionDraft With(string claim, JsonNode? value)
    {
        Claims[claim] = value;
        return this;
    }

    public AssertionDraft Without(string claim)
    {
        Claims.Remove(claim);
        return this;
    }

    public AssertionDraft WithHeader(string name, JsonNode? value)
    {
        Header[name] = value;
        return this;
    }

    public AssertionDraft WithoutHeader(string name)
    {
        Header.Remove(name);
        return this;
    }

    public string SignedBy(ClientKeyPair key, string? algorithm = null)
    {
        Header["alg"] = algorithm ?? Header["alg"]?.GetValue<string>();
        return Signed(content => key.Sign(Header["alg"]!.GetValue<string>(), content));
    }

    public string SignedWith(string secret, string algorithm = "HS256")
    {
        Header["alg"] = algorithm;
        Header.Remove("kid");
        return Signed(content => Mac(algorithm, Encoding.UTF8.GetBytes(secret), content));
    }

    public string Signed(Func<byte[], byte[]> sign) => Compact(Utf8(Header), Utf8(Claims), sign);

    public static byte[] Mac(string algorithm, byte[] key, byte[] content) => algorithm switch
    {
        "HS256" => HMACSHA256.HashData(key, content),
        "HS384" => HMACSHA384.HashData(key, content),
        _ => HMACSHA512.HashData(key, content),
    };

    /// <summary>Any bytes as header and claims, signed.</summary>
    public static string Compact(byte[] header, byte[] claims, Func<byte[], byte[]> sign)
    {
        var content = $"{Base64UrlEncoder.Encode(header)}.{Base64UrlEncoder.Encode(claims)}";
        return $"{content}.{Base64UrlEncoder.Encode(sign(Encoding.ASCII.GetBytes(content)))}";
    }

    /// <summary>The form that sends an assertion.</summary>
    public static string Form(string assertion, string type = JwtBearer)
        => $"grant_type=client_credentials&client_assertion_type={Uri.EscapeDataString(type)}&client_assertion={Uri.EscapeDataString(assertion)}";

    private static byte[] Utf8(JsonObject json) => Encoding.UTF8.GetBytes(json.ToJsonString());
}
