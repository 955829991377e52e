using System.Collections.Immutable;

namespace TokenService.Clients;

/// <summary>A protected resource (RFC 8707): its URI is the <c>aud</c> of the tokens for it, and it owns its scopes.</summary>
public sealed record Resource
{
    /// <summary>An absolute URI without a fragment, compared character by character.</summary>
    public required string Uri { get; init; }

    /// <summary>For people.</summary>
    public string? Name { get; init; }

    /// <summary>Its scopes, in the order of registration.</summary>
    public required ImmutableArray<Scope> Scopes { get; init; }

    /// <summary>Who registered it, and so who may change it.</summary>
    public required Origin Origin { get; init; }
}

/// <summary>A scope of one resource.</summary>
/// <param name="Name">A scope name of RFC 6749 §3.3. It belongs to no other resource.</param>
/// <param name="Description">For people.</param>
public sealed record Scope(string Name, string? Description);
