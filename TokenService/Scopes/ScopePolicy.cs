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
/// gets no scope; and for another's token never one that is not in there.
/// </summary>
public static class ScopePolicy
{
    private const int MostNamed = 10;

    private static readonly Words s_own = new(
        "The client is not registered for one of the scopes asked for, or there is no such scope. Leave scope out to get all that it is " +
        "registered for.",
        "scopes that it is registered for",
        "resource must be the absolute URI, without a fragment, of a resource that the client has a scope of; one named here is not.",
        "resources that it has a scope of",
        "No scope is left: none of the scopes asked for belongs to a resource named.",
        "a client that is registered for scopes",
        "a request of a client without any");

    private static readonly Words s_exchanged = new(
        "One of the scopes asked for is not in the subject token, or the client is not registered for it. Leave scope out to get all that is in both.",
        "scopes that are in the subject token and that it is registered for",
        "resource must be one that the subject token is for, with a scope in it that the client is registered for; the one named here is not.",
        "resources of the scopes that are in the subject token and that it is registered for",
        "No scope is left: none in the subject token is one that the client is registered for and that belongs to the resource named.",
        "a scope that is in the subject token and that it is registered for",
        "a subject token with none of its scopes");

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
        => Decide(client.ClientId, client.Scopes, s_own, scope, resources, registry);

    /// <summary>
    /// The same of what is in a token that is exchanged (RFC 8693): of its scopes, those that the client is registered for too and that belong
    /// to a resource that the token is for; and of one resource alone, which must be named where they belong to several.
    /// </summary>
    /// <param name="client">Who asks.</param>
    /// <param name="held">The scopes that are in the token.</param>
    /// <param name="audience">The resources that the token is for.</param>
    /// <param name="scope">The <c>scope</c> parameter.</param>
    /// <param name="resources">Each <c>resource</c> parameter.</param>
    /// <param name="registry">Which scope belongs to which resource.</param>
    /// <returns>What is granted, for one resource; or <c>invalid_scope</c> or <c>invalid_target</c>.</returns>
    public static Result<GrantedScopes> Narrow(
        Client client, ImmutableArray<string> held, ImmutableArray<string> audience, string? scope, ImmutableArray<string> resources, Registry registry)
    {
        if (resources.Length > 1)
        {
            return OneTarget(client, $"{resources.Length} resources");
        }

        // A scope may have moved to another resource since the token was issued.
        ImmutableArray<string> both =
        [
            .. held.Where(name => client.Scopes.Contains(name, StringComparer.Ordinal)
                && registry.ResourceOf(name) is { } resource && audience.Contains(resource, StringComparer.Ordinal)),
        ];
        if (Decide(client.ClientId, both, s_exchanged, scope, resources, registry).Refused(out var error, out var granted))
        {
            return error;
        }

        return granted.Audience.Length == 1 ? granted : OneTarget(client, $"none, and scopes of {granted.Audience.Length} resources");
    }

    private static OAuthError OneTarget(Client client, string came) => OAuthError.InvalidTarget(
        "An exchanged token is for one resource. Name that one in resource, once.", client.ClientId, new("resource", "one resource", came));

    private static Result<GrantedScopes> Decide(
        string clientId, ImmutableArray<string> allowed, Words words, string? scope, ImmutableArray<string> resources, Registry registry)
    {
        var wanted = allowed;
        if (!string.IsNullOrEmpty(scope))
        {
            if (ScopeSyntax.Split(scope) is not { } asked)
            {
                return OAuthError.InvalidScope(
                    $"scope is malformed: at most {ScopeSyntax.MaxNames} scope names of printable ASCII, with single spaces between them.",
                    clientId,
                    new("scope", "scope names with single spaces between them", Printable.Quote(scope)));
            }

            wanted = asked;
            foreach (var name in wanted)
            {
                if (!allowed.Contains(name, StringComparer.Ordinal))
                {
                    return OAuthError.InvalidScope(
                        words.NotAllowed, clientId, new("scope", $"{words.Allowed}: {Names(allowed)}", Printable.Quote(name)));
                }
            }
        }

        if (!resources.IsEmpty)
        {
            var own = allowed.Select(registry.ResourceOf).ToHashSet(StringComparer.Ordinal);
            foreach (var resource in resources)
            {
                if (!own.Contains(resource))
                {
                    return OAuthError.InvalidTarget(
                        words.NoTarget, clientId, new("resource", $"{words.Targets}: {Names(own.OfType<string>())}", Printable.Quote(resource)));
                }
            }
        }

        var names = ImmutableArray.CreateBuilder<string>(wanted.Length);
        var audience = ImmutableArray.CreateBuilder<string>(1);
        foreach (var name in wanted)
        {
            if (registry.ResourceOf(name) is { } resource && (resources.IsEmpty || resources.Contains(resource, StringComparer.Ordinal)))
            {
                names.Add(name);
                if (!audience.Contains(resource))
                {
                    audience.Add(resource);
                }
            }
        }

        if (names.Count == 0)
        {
            return OAuthError.InvalidScope(
                words.NoneLeft,
                clientId,
                wanted.IsEmpty
                    ? new("scope", words.Any, words.None)
                    : new(
                        "resource",
                        $"the resources of the scopes asked for: {Names(wanted.Select(registry.ResourceOf).OfType<string>().Distinct(StringComparer.Ordinal))}",
                        resources.IsEmpty ? "scopes that belong to no resource" : Names(resources)));
        }

        return new GrantedScopes(names.DrainToImmutable(), audience.DrainToImmutable());
    }

    private static string Names(IEnumerable<string> names) => names.ToList() switch
    {
        { Count: 0 } => "none",
        { Count: > MostNamed } many => $"{string.Join(", ", many.Take(MostNamed).Select(Printable.Quote))} and {many.Count - MostNamed} more",
        var few => string.Join(", ", few.Select(Printable.Quote)),
    };

    // What a refusal says of the scopes that there were to choose from: to the caller, and to the operator.
    private sealed record Words(string NotAllowed, string Allowed, string NoTarget, string Targets, string NoneLeft, string Any, string None);
}
