using System;
using System.Threading.Tasks;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;
using TokenService.Authentication;
using TokenService.Operations;
using TokenService.Protocol;
using TokenService.Storage;
using TokenService.Tokens;

namespace TokenService.Endpoints;

/// <summary>The revocation endpoint (RFC 7009 §2): a client takes back a token of its own.</summary>
/// <param name="store">Clients and keys.</param>
/// <param name="authenticator">Finds out who the client is.</param>
/// <param name="revocations">Where revocations are noted.</param>
/// <param name="issuer">The issuer, known once the service listens.</param>
/// <param name="admission">Lets in what can be answered in time.</param>
/// <param name="refusals">Answers what is refused.</param>
/// <param name="uses">Told who has proved itself, and with what.</param>
/// <param name="clock">The clock.</param>
/// <param name="logger">Told of each token that was revoked.</param>
public sealed class RevocationEndpoint(
    StoreWatch store,
    ClientAuthenticator authenticator,
    RevocationStore revocations,
    Func<string> issuer,
    Admission admission,
    Refusals refusals,
    CredentialUses uses,
    TimeProvider clock,
    ILogger logger)
{
    private static readonly TimeSpan s_storeRetry = TimeSpan.FromSeconds(1);

    /// <summary>Answers one request.</summary>
    public async Task Handle(HttpContext http)
    {
        var traceId = OAuthResults.TraceId();
        if (await Revoke(http, traceId) is { } error)
        {
            await refusals.Answer(http, error, traceId);
            return;
        }

        OAuthResults.WriteNothing(http);
    }

    private async Task<OAuthError?> Revoke(HttpContext http, string traceId)
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
        if ((await turn.While(authenticator.Authenticate(query, snapshot.Registry, now, http.RequestAborted))).Refused(out error, out var client))
        {
            return error;
        }

        uses.Note(client, now);

        // Whatever it is, the client gets the same answer (RFC 7009 §2.2): it cannot find out whether a token of another client is live. What
        // is no live token of this service needs no revocation.
        var token = AccessTokenReader.Read(query.Token!.Value.Reveal(), issuer(), snapshot.Keys, now);
        if (token is null || token.ClientId != client.Client.ClientId)
        {
            return null;
        }

        turn.Dispose();
        if (!await revocations.Revoke(token))
        {
            return OAuthError.TemporarilyUnavailable(
                s_storeRetry, token.ClientId, new(Parameters.Token, "a store that can note it", "its own token, and the store could not note that it is revoked"));
        }

        logger.TokenRevoked(token.ClientId, token.TokenId, traceId);
        return null;
    }
}
