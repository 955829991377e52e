using System;
using System.Linq;
using System.Threading.Tasks;
using Microsoft.AspNetCore.Http;
using TokenService.Authentication;
using TokenService.Clients;
using TokenService.Operations;
using TokenService.Protocol;
using TokenService.Storage;
using TokenService.Tokens;

namespace TokenService.Endpoints;

/// <summary>The introspection endpoint (RFC 7662 §2): whether a token is live, and what is in it.</summary>
/// <param name="store">Clients, resources, keys and revocations.</param>
/// <param name="authenticator">Finds out who the caller is.</param>
/// <param name="issuer">The issuer, known once the service listens.</param>
/// <param name="admission">Lets in what can be answered in time.</param>
/// <param name="refusals">Answers what is refused.</param>
/// <param name="uses">Told who has proved itself, and with what.</param>
/// <param name="clock">The clock.</param>
public sealed class IntrospectionEndpoint(
    StoreWatch store, ClientAuthenticator authenticator, Func<string> issuer, Admission admission, Refusals refusals, CredentialUses uses, TimeProvider clock)
{
    private static readonly TimeSpan s_storeRetry = TimeSpan.FromSeconds(1);

    // Commands and services may run on machines whose clocks differ.
    private static readonly TimeSpan s_skew = TimeSpan.FromSeconds(30);

    /// <summary>Answers one request.</summary>
    public async Task Handle(HttpContext http)
    {
        var traceId = OAuthResults.TraceId();
        if ((await Decide(http)).Refused(out var error, out var answer))
        {
            await refusals.Answer(http, error, traceId);
            return;
        }

        await OAuthResults.Write(http, answer);
    }

    private async Task<Result<IntrospectionResponse>> Decide(HttpContext http)
    {
        if (admission.IsFull)
        {
            return OAuthError.Overloaded;
        }

        if ((await RequestForm.Read(http.Request, http.RequestAborted)).Refused(out var error, out var parameters)
            || parameters.ToTokenQuery().Refused(out error, out var query))
        {
            return error;
        }

        using var turn = await admission.Enter(http.RequestAborted);
        if (turn is null)
        {
            return OAuthError.Overloaded;
        }

        if (store.Take().Refused(out error, out var snapshot))
        {
            return error;
        }

        var now = clock.GetUtcNow();
        if ((await turn.While(authenticator.Authenticate(query, snapshot.Registry, now, http.RequestAborted))).Refused(out error, out var caller))
        {
            return error;
        }

        uses.Note(caller, now);
        if (caller.Client is { IntrospectsAll: false, IntrospectedResources.IsEmpty: true })
        {
            return OAuthError.IntrospectionNotAllowed(caller.Client.ClientId);
        }

        // What a live token is, in one place. Why one is not live, nobody is told: the caller could learn of tokens that are not its own.
        if (AccessTokenReader.Read(query.Token!.Value.Reveal(), issuer(), snapshot.Keys, now) is not { } token
            || !MaySee(caller.Client, token)
            || store.Revoked.Contains(token)
            || (snapshot.Registry.FindClient(token.ClientId) is { } client && (client.Disabled || IsOfAFormer(client, token))))
        {
            return IntrospectionResponse.Inactive;
        }

        // Nothing is known against it, which says nothing while the store does not tell what others did.
        if (!store.Answers)
        {
            return OAuthError.TemporarilyUnavailable(
                s_storeRetry, caller.Client.ClientId, new(Parameters.Token, "a store that knows whether it was revoked", "a token that may be live, and the store does not answer"));
        }

        return snapshot.Registry.FindClient(token.ClientId) is null ? IntrospectionResponse.Inactive : new IntrospectionResponse
        {
            Active = true,
            TokenType = "Bearer",
            Claims = token.Claims.EnumerateObject().ToDictionary(claim => claim.Name, claim => claim.Value, StringComparer.Ordinal),
        };
    }

    // A client that was removed, and another one that was registered under the same id.
    private static bool IsOfAFormer(Client client, AccessToken token) => token.IssuedAt + s_skew < client.IssuedAt;

    // One of several resources is enough. A resource server takes a token that names it beside others (RFC 7519 §4.1.3), so it must be able
    // to ask about it; and the answer tells it nothing but whether the token is revoked: all the rest it reads in the token.
    private static bool MaySee(Client caller, AccessToken token)
        => caller.IntrospectsAll || token.Audience.Any(resource => caller.IntrospectedResources.Contains(resource));
}
