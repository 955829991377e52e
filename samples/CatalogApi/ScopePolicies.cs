using Microsoft.AspNetCore.Authorization;

namespace CatalogApi;

/// <summary>One authorization policy for each scope; the policy has the scope's name.</summary>
internal static class ScopePolicies
{
    /// <summary>Adds a policy for each scope: a token satisfies it whose <c>scope</c> (names separated by spaces, RFC 9068 §2.2.3) holds its name.</summary>
    public static void AddScopePolicies(this AuthorizationBuilder policies, params string[] scopes)
    {
        foreach (var scope in scopes)
        {
            policies.AddPolicy(
                scope,
                policy => policy
                    .RequireAuthenticatedUser()
                    .RequireAssertion(context => context.User.FindFirst("scope")?.Value.Split(' ').Contains(scope) is true));
        }
    }
}
