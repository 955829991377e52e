using System;
using System.Net.Http;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using System.Threading.Tasks;
using Microsoft.IdentityModel.Tokens;
using TokenService.Keys;

namespace TokenService.Tests.Support;

/// <summary>Introspection and revocation: who asks, and how.</summary>
internal static class TokenQueries
{
    public const string Introspection = "/oauth2/introspect";
    public const string Revocation = "/oauth2/revoke";

    public const string Job = $"{Sample.Job}:{Sample.JobSecret}";

    /// <summary>Has scopes of both resources.</summary>
    public const string Wide = $"{Sample.Wide}:{Sample.WideSecret}";

    /// <summary>May ask about the tokens for the catalog.</summary>
    public const string CatalogApi = $"{Sample.Introspector}:{Sample.IntrospectorSecret}";

    /// <summary>May ask about the tokens for orders.</summary>
    public const string OrdersApi = "orders-api:orders-secret-0123456789abcdef0123456789";

    /// <summary>May ask about all tokens.</summary>
    public const string Gateway = "gateway:gateway-secret-0123456789abcdef0123456789";

    /// <summary>May ask about none, and says so.</summary>
    public const string Nobody = "nobody:nobody-secret-0123456789abcdef0123456789";

    /// <summary>The sample, and the callers above.</summary>
    public static string File { get; } = Sample.File.Replace("\"clients\": [", $$"""
        "clients": [
          { "client_id": "orders-api", "grant_types": [], "client_secret": "{{Secret(OrdersApi)}}", "introspection": ["urn:other", "{{Sample.OrdersUri}}"] },
          { "client_id": "gateway", "grant_types": [], "client_secret": "{{Secret(Gateway)}}", "introspection": true },
          { "client_id": "nobody", "grant_types": [], "client_secret": "{{Secret(Nobody)}}", "introspection": false },
        """, StringComparison.Ordinal).Replace("\"resources\": [", """
        "resources": [ { "resource": "urn:other", "scopes": [ { "name": "other" } ] },
        """, StringComparison.Ordinal);

    public static async Task<string> GetToken(this RunningService service, string basic = Job, string extra = "")
    {
        var answer = await service.Token("grant_type=client_credentials" + extra, basic);
        return answer.Status == 200 ? answer.AccessToken : throw new InvalidOperationException(answer.Body);
    }

    public static Task<Answer> Introspect(this RunningService service, string token, string basic = CatalogApi)
        => service.Token($"token={Uri.EscapeDataString(token)}", basic, Introspection);

    public static async Task<bool> IsActive(this RunningService service, string token, string basic = CatalogApi)
        => (await service.Introspect(token, basic)).Json.GetProperty("active").GetBoolean();

    public static Task<Answer> Revoke(this RunningService service, string token, string basic = Job)
        => service.Token($"token={Uri.EscapeDataString(token)}", basic, Revocation);

    /// <summary>The same with a service in a process of its own.</summary>
    public static async Task<Answer> Post(Uri service, string path, string form, string basic)
    {
        using var http = new HttpClient();
        using var request = new HttpRequestMessage(HttpMethod.Post, new Uri(service, path)) { Content = RunningService.Form(form) };
        request.Headers.Authorization = new("Basic", Convert.ToBase64String(Encoding.UTF8.GetBytes(basic)));
        using var response = await http.SendAsync(request);
        return await Answer.Of(response);
    }

    private static string Secret(string basic) => basic.Split(':')[1];
}

/// <summary>An access token taken apart, to be changed and signed again.</summary>
internal sealed class TokenDraft
{
    private readonly string _signature;

    private TokenDraft(string[] parts)
        => (Header, Claims, _signature) = (Object(parts[0]), Object(parts[1]), parts[2]);

    public JsonObject Header { get; }

    public JsonObject Claims { get; }

    public static TokenDraft Of(string token) => new(token.Split('.'));

    public TokenDraft With(string claim, JsonNode? value)
    {
        Claims[claim] = value;
        return this;
    }

    public TokenDraft Without(string claim)
    {
        Claims.Remove(claim);
        return this;
    }

    public TokenDraft WithHeader(string name, JsonNode? value)
    {
        Header[name] = value;
        return this;
    }

    public TokenDraft WithoutHeader(string name)
    {
        Header.Remove(name);
        return this;
    }

    /// <summary>With the signature that it had.</summary>
    public string Unsigned() => AssertionDraft.Compact(Utf8(Header), Utf8(Claims), _ => Base64UrlEncoder.DecodeBytes(_signature));

    public string Signed(Func<byte[], byte[]> sign) => AssertionDraft.Compact(Utf8(Header), Utf8(Claims), sign);

    /// <summary>With the key of the service, by its algorithm or another.</summary>
    public string SignedBy(SigningKey key, string? algorithm = null) => Signed(content => Sign(key, algorithm ?? key.Algorithm, content));

    public static byte[] Sign(SigningKey key, string algorithm, byte[] content)
    {
        if (algorithm == "ES256")
        {
            using var ec = ECDsa.Create();
            ec.ImportPkcs8PrivateKey(key.ExportPrivateKey(), out _);
            return ec.SignData(content, HashAlgorithmName.SHA256);
        }

        using var rsa = RSA.Create();
        rsa.ImportPkcs8PrivateKey(key.ExportPrivateKey(), out _);
        return rsa.SignData(content, HashAlgorithmName.SHA256, algorithm == "PS256" ? RSASignaturePadding.Pss : RSASignaturePadding.Pkcs1);
    }

    private static JsonObject Object(string part) => JsonNode.Parse(Base64UrlEncoder.DecodeBytes(part))!.AsObject();

    private static byte[] Utf8(JsonObject json) => Encoding.UTF8.GetBytes(json.ToJsonString());
}
