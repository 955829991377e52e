using System;
using System.Collections.Generic;
using System.Collections.Immutable;
using System.Linq;
using TokenService.Clients;
using TokenService.Protocol;

namespace TokenService.Scopes;

/// <summary>What the scope policy grants.</summary>
/// <param name="Names">The granted scopes; never empty.</param>
/// <param name="Audience">The URIs of the resources that these scopes belong to, each once, in the order of the scopes.</param>
public sealed record GrantedScopes(ImmutableArray<string> Names, ImmutableArray<string> Audience);

/// <summary>
/// Decides which scopes a client gets. A client never gets a scope that it is not registered for, and never an audience of which it
/// gets no scope.
/// </summary>
public static class ScopePolicy
{
    private const int MostNamed = 10;

    /// <summary>
    /// Takes the scopes asked for (all that the client is registered for, where none are), and of these the ones that belong to the
    /// resources named, where any are (RFC 6749 §3.3, RFC 8707 §2.2).
    /// </summary>
    /// <param name="client">Who asks.</param>
    /// <param name="scope">The <c>scope</c> parameter.</param>
    /// <param name="resources">Each <c>resource</c> parameter.</param>
    /// <param name="registry">Which scope belongs to which resource.</param>
    /// <returns>What is granted, or <c>invalid_scope</c> or <c>invalid_target</c>.</returns>
    public static Result<GrantedScopes> Decide(Client client, string? scope, ImmutableArray<string> resources, Registry registry)
    {
        IReadOnlyList<string>? wanted = client.Scopes;
        if (!string.IsNullOrEmpty(scope))
        {
            wanted = ScopeSyntax.Split(scope);
            if (wanted is null)
            {
                return OAuthError.InvalidScope(
                    $"scope is malformed: at most {ScopeSyntax.MaxNames} scope names of printable ASCII, with single spaces between them.",
                    client.ClientId,
                    new("scope", "scope names with single spaces between them", Printable.Quote(scope)));
            }

            foreach (var name in wanted)
            {
                if (!client.Scopes.Contains(name, StringComparer.Ordinal))
                {
                    return OAuthError.InvalidScope(
                        "The client is not registered for one of the scopes asked for, or there is no such scope. Leave scope out to " +
                        "get all that it is registered for.",
                        client.ClientId,
                        new("scope", $"scopes that it is registered for: {Names(client.Scopes)}", Printable.Quote(name)));
                }
            }
        }

        var own = client.Scopes.Select(registry.ResourceOf).ToHashSet(StringComparer.Ordinal);
        foreach (var resource in resources)
        {
            if (!own.Contains(resource))
            {
                return OAuthError.InvalidTarget(
                    "resource must be the absolute URI, without a fragment, of a resource that the client has a scope of; one named here is not.",
                    client.ClientId,
                    new("resource", $"resources that it has a scope of: {Names(own.OfType<string>())}", Printable.Quote(resource)));
            }
        }

        var granted = wanted
            .Select(name => (Name: name, Resource: registry.ResourceOf(name)))
            .Where(pair => pair.Resource is not null && (resources.IsEmpty || resources.Contains(pair.Resource, StringComparer.Ordinal)))
            .ToList();
        if (granted.Count == 0)
        {
            return OAuthError.InvalidScope(
                "No scope is left: none of the scopes asked for belongs to a resource named.",
                client.ClientId,
                wanted.Count == 0
                    ? new("scope", "a client that is registered for scopes", "a request of a client without any")
                    : new(
                        "resource",
                        $"the resources of the scopes asked for: {Names(wanted.Select(registry.ResourceOf).OfType<string>().Distinct(StringComparer.Ordinal))}",
                        resources.IsEmpty ? "scopes that belong to no resource" : Names(resources)));
        }

        return new GrantedScopes(
            [.. granted.Select(pair => pair.Name)],
            [.. granted.Select(pair => pair.Resource!).Distinct(StringComparer.Ordinal)]);
    }

    private static string Names(IEnumerable<string> names) => names.ToList() switch
    {
        { Count: 0 } => "none",
        { Count: > MostNamed } many => $"{string.Join(", ", many.Take(MostNamed).Select(Printable.Quote))} and {many.Count - MostNamed} more",
        var few => string.Join(", ", few.Select(Printable.Quote)),
    };
}
