using System;
using System.Collections.Immutable;
using System.Linq;

namespace TokenService.Tokens;

/// <summary>Whose token an exchanged one is, who acts with it, and what it was made of (RFC 8693 §4.1).</summary>
/// <remarks>
/// Each exchange adds one to <see cref="ExchangedFrom"/>, and to <see cref="Actors"/> too where it gives the token into other hands. The
/// bound holds for both, so that no token grows without end.
/// </remarks>
/// <param name="Subject">The client that the first token was given to: <c>sub</c>.</param>
/// <param name="Actors">The clients that act for it, by id: <c>act</c>, from the outermost, the one that acts now, to the first.</param>
/// <param name="ExchangedFrom">The <c>jti</c> of each token on the way here, the latest first: <c>exchanged_from</c>. Where one is revoked, so is this one.</param>
public sealed record Delegation(string Subject, ImmutableArray<string> Actors, ImmutableArray<string> ExchangedFrom)
{
    /// <summary>How many times a token may be exchanged, one after the other.</summary>
    public const int MostExchanges = 4;

    /// <inheritdoc/>
    public bool Equals(Delegation? other) => other is not null
        && Subject == other.Subject && Actors.SequenceEqual(other.Actors) && ExchangedFrom.SequenceEqual(other.ExchangedFrom);

    /// <inheritdoc/>
    public override int GetHashCode() => HashCode.Combine(Subject, Actors.Length, ExchangedFrom.Length);
}
