using System;
using System.Threading.Tasks;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;
using TokenService.Operations;
using TokenService.Protocol;
using TokenService.Storage;
using TokenService.Tokens;

namespace TokenService.Endpoints;

/// <summary>The revocation endpoint (RFC 7009 §2): a client takes back a token of its own.</summary>
/// <param name="intake">Parses requests and authenticates their clients.</param>
/// <param name="revocations">Where revocations are noted.</param>
/// <param name="issuer">The issuer, known once the service listens.</param>
/// <param name="refusals">Answers what is refused.</param>
/// <param name="audit">Records each token that was revoked; <see langword="null"/> where no record is kept.</param>
/// <param name="telemetry">Counts the others.</param>
/// <param name="logger">Told of each token that was revoked.</param>
public sealed class RevocationEndpoint(
    Intake intake, RevocationStore revocations, Func<string> issuer, Refusals refusals, AuditLog? audit, Telemetry telemetry, ILogger logger)
{
    private static readonly TimeSpan s_storeRetry = TimeSpan.FromSeconds(1);

    /// <summary>Answers one request.</summary>
    public async Task Handle(HttpContext http)
    {
        var traceId = OAuthResults.TraceId(http);
        if (await Revoke(http, traceId) is { } error)
        {
            await refusals.Answer(http, error, traceId);
            return;
        }

        telemetry.Answered(RequestSpans.Route(http)!);
        OAuthResults.WriteNothing(http);
    }

    private async Task<OAuthError?> Revoke(HttpContext http, string traceId)
    {
        if ((await intake.Take(http, static parameters => parameters.ToTokenQuery())).Refused(out var error, out var taken))
        {
            return error;
        }

        using var _ = taken;
        var (query, client, snapshot, now, turn) = taken;

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
            return taken.Refuse(OAuthError.TemporarilyUnavailable(
                s_storeRetry, token.ClientId, new(Parameters.Token, "a store that can note it", "its own token, and the store could not note that it is revoked")));
        }

        logger.TokenRevoked(token.ClientId, token.TokenId, traceId);
        audit?.Note(new AuditRecord(AuditEvents.TokenRevoked, now)
        {
            TraceId = traceId,
            Address = http.Connection.RemoteIpAddress,
            ClientId = token.ClientId,
            Method = client.Client.AuthenticationMethod,
            Credential = client.Credential,
            ReadToken = token,
            Outcome = "revoked",
        });
        return null;
    }
}
