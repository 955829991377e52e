using Microsoft.AspNetCore.Authentication.JwtBearer;
using Microsoft.AspNetCore.Authorization;

namespace CatalogApi;

/// <summary>One authorization policy for each scope; the policy has the scope's name.</summary>
internal static class ScopePolicies
{
    /// <summary>Adds a policy that a token satisfies whose <c>scope</c> (names separated by spaces, RFC 9068 §2.2.3) holds this name.</summary>
    public static AuthorizationBuilder AddScopePolicy(this AuthorizationBuilder policies, string scope) => policies.AddPolicy(
        scope,
        policy => policy
            .RequireAuthenticatedUser()
            .RequireAssertion(context => context.User.FindFirst("scope")?.Value.Split(' ').Contains(scope) is true));

    /// <summary>Answers a token without the scope as RFC 6750 §3.1 says: 403, and which scope it takes.</summary>
    public static Task SayInsufficientScope(ForbiddenContext context)
    {
        var scope = context.HttpContext.GetEndpoint()?.Metadata.GetMetadata<IAuthorizeData>()?.Policy;
        context.Response.Headers.WWWAuthenticate = $"Bearer error=\"insufficient_scope\", scope=\"{scope}\"";
        return Task.CompletedTask;
    }
}
