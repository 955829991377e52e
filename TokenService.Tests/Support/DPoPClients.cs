using System;
using System.Net.Http;
using System.Text;
using System.Threading.Tasks;

namespace TokenService.Tests.Support;

/// <summary>Clients that prove a key (DPoP, RFC 9449), and how they do.</summary>
internal static class DPoPClients
{
    /// <summary>Its tokens are bound to a key, each of them; it may exchange too.</summary>
    public const string Bound = "bound:bound-secret-0123456789abcdef0123456789";

    /// <summary>May send a proof, and need not.</summary>
    public const string Free = $"{Sample.Job}:{Sample.JobSecret}";

    /// <summary>Those of <see cref="TokenExchanges"/>, and the client above.</summary>
    public static string File { get; } = TokenExchanges.File.Replace("\"clients\": [", $$"""
        "clients": [
          { "client_id": "bound", "grant_types": ["client_credentials", "{{TokenExchanges.Grant}}"], "client_secret": "{{Bound.Split(':')[1]}}",
            "scope": "orders.read", "dpop_bound_access_tokens": true },
        """, StringComparison.Ordinal);

    /// <summary>A proof before it is signed: right as it is.</summary>
    public static AssertionDraft Draft(ClientKeyPair key, string algorithm, string address, DateTimeOffset now, string? nonce)
    {
        var draft = new AssertionDraft("", "", now)
            .Without("iss").Without("sub").Without("aud").Without("exp")
            .WithoutHeader("kid").WithHeader("typ", "dpop+jwt").WithHeader("alg", algorithm).WithHeader("jwk", key.Jwk(null))
            .With("htm", "POST").With("htu", address);
        return nonce is null ? draft : draft.With("nonce", nonce);
    }

    /// <summary>The same for the token endpoint of a service.</summary>
    public static AssertionDraft Draft(this RunningService service, ClientKeyPair key, DateTimeOffset now, string? nonce, string algorithm = "ES256")
        => Draft(key, algorithm, new Uri(service.Url, "/oauth2/token").ToString(), now, nonce);

    /// <summary>Asks for a token, with as many DPoP headers as there are proofs.</summary>
    public static Task<Answer> TokenWith(this RunningService service, string basic, string form, params string[] proofs)
    {
        var request = new HttpRequestMessage(HttpMethod.Post, "/oauth2/token") { Content = RunningService.Form(form) };
        foreach (var proof in proofs)
        {
            request.Headers.TryAddWithoutValidation("DPoP", proof);
        }

        return service.Send(request, basic);
    }

    /// <summary>A nonce of the service, which comes with every answer to a request with a proof.</summary>
    public static async Task<string> Nonce(this RunningService service)
        => Nonce(await service.TokenWith(Free, "grant_type=client_credentials", "x"));

    public static string Nonce(Answer answer) => string.Join(' ', answer.Response.Headers.GetValues("DPoP-Nonce"));

    public static string Twice(string member, AssertionDraft draft, ClientKeyPair key)
    {
        var header = draft.Header.ToJsonString();
        return AssertionDraft.Compact(
            Encoding.UTF8.GetBytes(header[..^1] + $",\"{member}\":\"ES256\"}}"), Encoding.UTF8.GetBytes(draft.Claims.ToJsonString()), content => key.Sign("ES256", content));
    }
}
