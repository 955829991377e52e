using System;
using System.Collections.Immutable;

namespace TokenService.Tokens;

/// <summary>A token that a grant has decided to give, before it is signed.</summary>
/// <remarks>This room turns a decision into a signed JWT after RFC 9068.</remarks>
public sealed record GrantedToken
{
    /// <summary>The client that the token is for: <c>sub</c> and <c>client_id</c>.</summary>
    public required string ClientId { get; init; }

    /// <summary>The granted scopes; at least one.</summary>
    public required ImmutableArray<string> Scopes { get; init; }

    /// <summary>The resources that the scopes belong to; at least one.</summary>
    public required ImmutableArray<string> Audience { get; init; }

    /// <summary>How long the token lives: whole seconds.</summary>
    public required TimeSpan Lifetime { get; init; }
}
