using System;
using System.Collections.Immutable;
using TokenService.Authentication;
using TokenService.Clients;
using TokenService.Keys;
using TokenService.Protocol;
using TokenService.Scopes;
using TokenService.Tokens;

namespace TokenService.Grants;

/// <summary>
/// Token exchange (RFC 8693), narrowing only: for a live access token of this service, a client gets one that can do no more. It is about the
/// same subject, for one of its resources, with some of its scopes, and ends no later.
/// </summary>
/// <remarks>
/// <para>Whoever holds a token can use it as it is, and so may have one made of it that can do less: it need not be the token's own. What an
/// exchange adds is that the new token says who acts (<c>act</c>), and that the client must be registered itself for each scope that it takes
/// along: no client gets further by the tokens of others than its registration reaches.</para>
/// <para>A token that is bound to a key is not exchanged: that the holder has the key is not proved here, and a new token
/// that needs no key could do more.</para>
/// <para>The way of a token is bounded by <see cref="Delegation.MostExchanges"/>. A client that narrows a token which it was given itself stays the one that
/// acts, and is not named again.</para>
/// </remarks>
/// <param name="defaultLifetime">How long a token lives at most where the client's registration does not say.</param>
/// <param name="liveness">Tells what a live token is.</param>
/// <param name="issuer">The issuer, known once the service listens.</param>
public sealed class TokenExchangeGrant(TimeSpan defaultLifetime, TokenLiveness liveness, Func<string> issuer) : IGrant
{
    private static readonly TimeSpan s_storeRetry = TimeSpan.FromSeconds(1);

    /// <inheritdoc/>
    public string GrantType => GrantTypes.TokenExchange;

    /// <inheritdoc/>
    public Result<GrantedToken> Decide(
        TokenRequest request, AuthenticatedClient client, Registry registry, SigningKeyRing keys, DateTimeOffset now)
    {
        var caller = client.Client;
        if (ParametersFault(request.Exchange!, caller.ClientId) is { } fault)
        {
            return fault;
        }

        if (ReadSubject(request.Exchange!.SubjectToken!.Value, caller.ClientId, registry, keys, now).Refused(out var error, out var subject)
            || ScopePolicy.Narrow(caller, Scopes(subject), subject.Audience, request.Scope, request.Resources, registry).Refused(out error, out var granted))
        {
            return error;
        }

        // By whole seconds, as both are written into the token.
        var left = TimeSpan.FromSeconds(subject.ExpiresAt.ToUnixTimeSeconds() - now.ToUnixTimeSeconds());
        var most = caller.AccessTokenLifetime ?? defaultLifetime;
        return new GrantedToken
        {
            ClientId = caller.ClientId,
            Delegation = Delegate(subject, caller.ClientId),
            Scopes = granted.Names,
            Audience = granted.Audience,
            Lifetime = left < most ? left : most,
        };
    }

    private static ImmutableArray<string> Scopes(AccessToken subject) => ScopeSyntax.Split(subject.Scope) ?? [];

    // RFC 8693 §4.1: who acts now holds whoever did before.
    private static Delegation Delegate(AccessToken subject, string actor)
    {
        var before = subject.Delegation ?? new(subject.Subject, [], []);
        return before with
        {
            Actors = actor == subject.ClientId ? before.Actors : [actor, .. before.Actors],
            ExchangedFrom = [subject.TokenId, .. before.ExchangedFrom],
        };
    }

    private static OAuthError? ParametersFault(TokenExchangeParameters sent, string clientId)
    {
        if (sent.SubjectToken is null)
        {
            return OAuthError.InvalidRequest(
                "subject_token is missing. Send the access token to exchange in the form.",
                new(Parameters.SubjectToken, "the access token to exchange", "nothing"),
                clientId);
        }

        if (sent.SubjectTokenType != TokenTypes.AccessToken)
        {
            return OAuthError.InvalidRequest(
                $"subject_token_type must be {TokenTypes.AccessToken}: only access tokens of this service are exchanged.",
                new(Parameters.SubjectTokenType, TokenTypes.AccessToken, sent.SubjectTokenType is { } other ? Printable.Quote(other) : "nothing"),
                clientId);
        }

        if (sent.RequestedTokenType is { } requested && requested != TokenTypes.AccessToken)
        {
            return OAuthError.InvalidRequest(
                $"requested_token_type must be {TokenTypes.AccessToken}, or be left out.",
                new(Parameters.RequestedTokenType, $"{TokenTypes.AccessToken}, or nothing", Printable.Quote(requested)),
                clientId);
        }

        if (sent.NamesActor)
        {
            return OAuthError.InvalidRequest(
                "actor_token and actor_token_type are not taken: the client that authenticates is the one that acts.",
                new(Parameters.ActorToken, "nothing: the client itself is the actor", "an actor"),
                clientId);
        }

        return sent.Audience is null ? null : OAuthError.InvalidTarget(
            "audience is not taken: name the URI of the resource in resource.",
            clientId,
            new(Parameters.Audience, "nothing: a target is named by resource", Printable.Quote(sent.Audience)));
    }

    private Result<AccessToken> ReadSubject(Secret text, string clientId, Registry registry, SigningKeyRing keys, DateTimeOffset now)
    {
        if (AccessTokenReader.Read(text.Reveal(), issuer(), keys, now) is not { } token)
        {
            return NotLive(clientId, "one that is none of this service, was altered, or has expired");
        }

        switch (liveness.Of(token, registry))
        {
            case Liveness.Dead:
                return NotLive(clientId, $"one of {Printable.Quote(token.ClientId)} that was revoked, or that depends on a client that is disabled or removed");
            case Liveness.Unknown:
                return OAuthError.TemporarilyUnavailable(
                    s_storeRetry, clientId, new(Parameters.SubjectToken, "a store that knows whether it was revoked", "a token that may be live, and the store does not answer"));
        }

        if (token.Claims.TryGetProperty("cnf", out _))
        {
            return OAuthError.InvalidRequest(
                "The subject token is bound to a key (cnf). Such a token is not exchanged.",
                new("cnf", "a token that is bound to no key", "one that is"),
                clientId);
        }

        return token.Delegation?.ExchangedFrom.Length >= Delegation.MostExchanges
            ? OAuthError.InvalidRequest(
                $"The subject token was exchanged {Delegation.MostExchanges} times already, and is not exchanged again.",
                new("exchanged_from", $"a token that was exchanged fewer than {Delegation.MostExchanges} times", "one more exchange of it"),
                clientId)
            : token;
    }

    // The caller reads the same whatever it is: of another's token it learns no more than that.
    private static OAuthError NotLive(string clientId, string came) => OAuthError.InvalidRequest(
        "The subject token is no live access token of this service: it must be one, whole, not expired and not revoked.",
        new(Parameters.SubjectToken, "a live access token of this service", came),
        clientId);
}
