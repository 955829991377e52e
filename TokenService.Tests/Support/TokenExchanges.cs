using System;
using System.Threading.Tasks;

namespace TokenService.Tests.Support;

/// <summary>Token exchange: who exchanges, and how.</summary>
internal static class TokenExchanges
{
    public const string Grant = "urn:ietf:params:oauth:grant-type:token-exchange";
    public const string AccessToken = "urn:ietf:params:oauth:token-type:access_token";

    /// <summary>May exchange, and gets tokens for itself; its tokens live 300 seconds.</summary>
    public const string Agent = "agent:agent-secret-0123456789abcdef0123456789";

    /// <summary>May exchange, and nothing else.</summary>
    public const string Tool = "tool:tool-secret-0123456789abcdef0123456789";

    /// <summary>May do both, and gets the same token again for a minute.</summary>
    public const string Reuser = "reuser:reuser-secret-0123456789abcdef0123456789";

    /// <summary>Those of <see cref="TokenQueries"/>, and the clients above.</summary>
    public static string File { get; } = TokenQueries.File.Replace("\"clients\": [", $$"""
        "clients": [
          { "client_id": "agent", "grant_types": ["client_credentials", "{{Grant}}"], "client_secret": "{{Agent.Split(':')[1]}}",
            "scope": "catalog.read orders.read", "access_token_lifetime": 300 },
          { "client_id": "tool", "grant_types": ["{{Grant}}"], "client_secret": "{{Tool.Split(':')[1]}}", "scope": "orders.read orders.write" },
          { "client_id": "reuser", "grant_types": ["{{Grant}}", "client_credentials"], "client_secret": "{{Reuser.Split(':')[1]}}",
            "scope": "orders.read", "token_reuse": 60 },
          { "client_id": "{{Sample.FormJob}}-exchange", "grant_types": ["{{Grant}}"], "token_endpoint_auth_method": "client_secret_post",
            "client_secret": "{{Sample.FormSecret}}", "scope": "orders.read" },
        """, StringComparison.Ordinal);

    public static string Form(string subject) => $"grant_type={Grant}&subject_token={Uri.EscapeDataString(subject)}&subject_token_type={AccessToken}";

    public static Task<Answer> Exchange(this RunningService service, string subject, string basic, string extra = "")
        => service.Token(Form(subject) + extra, basic);

    public static async Task<string> Exchanged(this RunningService service, string subject, string basic, string extra = "")
    {
        var answer = await service.Exchange(subject, basic, extra);
        return answer.Status == 200 ? answer.AccessToken : throw new InvalidOperationException(answer.Body);
    }
}
