using System;
using System.Collections.Immutable;
using System.Linq;

namespace TokenService.Tokens;

/// <summary>A token that a grant has decided to give, before it is signed.</summary>
/// <remarks>
/// This room turns a decision into a signed JWT after RFC 9068. Two that say the same are equal, name by name and in the same order: who is
/// granted the same may get the same token (<see cref="TokenReuse"/>), so that no member may be left out of the comparison.
/// </remarks>
public sealed record GrantedToken
{
    /// <summary>The client that gets the token: <c>client_id</c>, and <c>sub</c> where it gets it for itself.</summary>
    public required string ClientId { get; init; }

    /// <summary>Whose token it is, where it is exchanged for another one; <see langword="null"/> otherwise.</summary>
    public Delegation? Delegation { get; init; }

    /// <summary>The granted scopes; at least one.</summary>
    public required ImmutableArray<string> Scopes { get; init; }

    /// <summary>The resources that the scopes belong to; at least one.</summary>
    public required ImmutableArray<string> Audience { get; init; }

    /// <summary>How long the token lives: whole seconds.</summary>
    public required TimeSpan Lifetime { get; init; }

    /// <summary>For how long the same token may be given again: at most a tenth of <see cref="Lifetime"/>; <see langword="null"/> for never.</summary>
    public TimeSpan? Reuse { get; init; }

    /// <summary>What the token is bound to; <see langword="null"/> where whoever holds it can use it.</summary>
    public Confirmation? Confirmation { get; init; }

    /// <inheritdoc/>
    public bool Equals(GrantedToken? other) => other is not null
        && ClientId == other.ClientId && Lifetime == other.Lifetime && Reuse == other.Reuse && Delegation == other.Delegation && Confirmation == other.Confirmation
        && Scopes.SequenceEqual(other.Scopes) && Audience.SequenceEqual(other.Audience);

    /// <inheritdoc/>
    public override int GetHashCode()
    {
        var hash = default(HashCode);
        hash.Add(ClientId);
        foreach (var name in Scopes)
        {
            hash.Add(name);
        }

        return hash.ToHashCode();
    }
}
