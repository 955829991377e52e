using System;
using System.Linq;
using TokenService.Clients;
using TokenService.Protocol;

namespace TokenService.Tokens;

/// <summary>What is known of a token of this service that has not expired.</summary>
public enum Liveness
{
    /// <summary>It was revoked, or a client that it depends on was disabled or removed.</summary>
    Dead = 0,

    /// <summary>Nothing is known against it, which says nothing while the store does not tell what others did.</summary>
    Unknown = 1,

    /// <summary>It is live.</summary>
    Live = 2,
}

/// <summary>Tells what a live token is, in one place: for whoever asks about one, and for whoever would exchange one.</summary>
/// <param name="isRevoked">Whether a token was revoked, by its <c>jti</c> and <c>exp</c>.</param>
/// <param name="storeAnswers">Whether the store tells what others did.</param>
public sealed class TokenLiveness(Func<string, DateTimeOffset, bool> isRevoked, Func<bool> storeAnswers)
{
    // Commands and services may run on machines whose clocks differ.
    private static readonly TimeSpan s_skew = TimeSpan.FromSeconds(30);

    private static readonly FailedCheck s_revoked = new("jti", "a token that was not revoked", "one that was, or that was made of one that was");
    private static readonly FailedCheck s_switchedOff = new(
        "client_id", "clients that are registered and enabled", "one that was disabled, or removed and registered anew");

    private static readonly FailedCheck s_removed = new("client_id", "clients that are registered and enabled", "one that is not registered");
    private static readonly FailedCheck s_away = new("store", "a store that knows whether it was revoked", "a store that does not answer");

    /// <summary>Tells it of one token.</summary>
    /// <param name="token">A token that was read back.</param>
    /// <param name="registry">The clients.</param>
    /// <remarks>
    /// An exchanged token depends on all that it was made of: with any token on its way it is revoked, and with its subject or any of its
    /// actors it is disabled. It ends before each of them does, so that a revocation is not forgotten before it.
    /// </remarks>
    public Liveness Of(AccessToken token, Registry registry) => Against(token, registry) switch
    {
        null => Liveness.Live,
        var failed when ReferenceEquals(failed, s_away) => Liveness.Unknown,
        _ => Liveness.Dead,
    };

    /// <summary>What there is against a token, for operators alone.</summary>
    /// <param name="token">A token that was read back.</param>
    /// <param name="registry">The clients.</param>
    /// <returns>The check that it does not pass, or <see langword="null"/> where it is live.</returns>
    public FailedCheck? Against(AccessToken token, Registry registry)
        => isRevoked(token.TokenId, token.ExpiresAt) || token.Delegation?.ExchangedFrom.Any(id => isRevoked(id, token.ExpiresAt)) is true ? s_revoked
            : AnyParty(token, id => registry.FindClient(id) is { } client && (client.Disabled || IsOfAFormer(client, token))) ? s_switchedOff
            : !storeAnswers() ? s_away
            : AnyParty(token, id => registry.FindClient(id) is null) ? s_removed
            : null;

    private static bool AnyParty(AccessToken token, Func<string, bool> holds)
        => holds(token.ClientId) || (token.Delegation is { } delegation && (holds(delegation.Subject) || delegation.Actors.Any(holds)));

    // A client that was removed, and another one that was registered under the same id.
    private static bool IsOfAFormer(Client client, AccessToken token) => token.IssuedAt + s_skew < client.IssuedAt;
}
