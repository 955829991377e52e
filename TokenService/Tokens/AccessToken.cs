using System;
using System.Collections.Immutable;
using System.Text.Json;

namespace TokenService.Tokens;

/// <summary>An access token of this service that was read back: its signature holds and it has not expired.</summary>
public sealed record AccessToken
{
    /// <summary><c>jti</c>: what no other token has.</summary>
    public required string TokenId { get; init; }

    /// <summary><c>client_id</c>: whom it was given to.</summary>
    public required string ClientId { get; init; }

    /// <summary><c>sub</c>: whom it is about. Another one than <see cref="ClientId"/> only where it was exchanged.</summary>
    public required string Subject { get; init; }

    /// <summary>Whose token it is, and by which exchanges; <see langword="null"/> where it was given to its subject.</summary>
    public Delegation? Delegation { get; init; }

    /// <summary><c>scope</c>: what it is good for.</summary>
    public required string Scope { get; init; }

    /// <summary><c>aud</c>: the resources that it is for, whether the token names one or several.</summary>
    public required ImmutableArray<string> Audience { get; init; }

    /// <summary><c>iat</c>: when it was issued, to the second.</summary>
    public required DateTimeOffset IssuedAt { get; init; }

    /// <summary><c>exp</c>: when it ends.</summary>
    public required DateTimeOffset ExpiresAt { get; init; }

    /// <summary>All claims, as the token has them.</summary>
    public required JsonElement Claims { get; init; }
}
