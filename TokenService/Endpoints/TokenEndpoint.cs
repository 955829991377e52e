using System;
using System.Collections.Frozen;
using System.Collections.Generic;
using System.Linq;
using System.Threading.Tasks;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;
using TokenService.Authentication;
using TokenService.Grants;
using TokenService.Keys;
using TokenService.Operations;
using TokenService.Protocol;
using TokenService.Storage;
using TokenService.Tokens;

namespace TokenService.Endpoints;

/// <summary>The token endpoint (RFC 6749 §3.2): a request from the socket to the signature, in six steps.</summary>
/// <param name="intake">Parses requests and authenticates their clients.</param>
/// <param name="grants">The grants that the service has.</param>
/// <param name="dpop">Checks proofs of the key that a token is to be bound to.</param>
/// <param name="sign">Issues a token that was granted, by a key, at a time.</param>
/// <param name="reuse">The tokens that may be given again.</param>
/// <param name="refusals">Answers what is refused.</param>
/// <param name="clock">The clock.</param>
/// <param name="audit">Records each token; <see langword="null"/> where none is kept.</param>
/// <param name="telemetry">Counts the others.</param>
/// <param name="logger">Told of each outcome.</param>
public sealed class TokenEndpoint(
    Intake intake,
    IEnumerable<IGrant> grants,
    DPoPProof dpop,
    Func<GrantedToken, SigningKey, DateTimeOffset, TokenResponse> sign,
    TokenReuse reuse,
    Refusals refusals,
    TimeProvider clock,
    AuditLog? audit,
    Telemetry telemetry,
    ILogger logger)
{
    private static readonly TimeSpan s_auditRetry = TimeSpan.FromSeconds(1);

    private readonly FrozenDictionary<string, IGrant> _grants = grants.ToFrozenDictionary(grant => grant.GrantType, StringComparer.Ordinal);
    private readonly string _grantTypes = string.Join(' ', grants.Select(grant => grant.GrantType));

    /// <summary>Answers one request.</summary>
    public async Task Handle(HttpContext http)
    {
        if (http.Request.Headers.ContainsKey(DPoPRules.Header))
        {
            OAuthResults.SetNonce(http, dpop.Nonce(clock.GetUtcNow()));
        }

        if ((await Decide(http)).Refused(out var error, out var token))
        {
            await refusals.Answer(http, error, OAuthResults.TraceId(http));
            return;
        }

        telemetry.Answered(RequestSpans.Route(http)!);
        await OAuthResults.Write(http, token);
    }

    private async ValueTask<Result<TokenResponse>> Decide(HttpContext http)
    {
        // 1. Parse, 2. authenticate the client.
        if ((await intake.Take(http, static parameters => parameters.ToTokenRequest())).Refused(out var error, out var taken))
        {
            return error;
        }

        using (taken)
        {
            var decided = await Decide(taken, http);
            return decided.Refused(out error, out _) ? taken.Refuse(error) : decided;
        }
    }

    private async ValueTask<Result<TokenResponse>> Decide(AuthenticatedRequest<TokenRequest> taken, HttpContext http)
    {
        var (request, client, snapshot, now, turn) = taken;

        // 3. Choose the grant: one that the service has and the client is registered for.
        if (!_grants.TryGetValue(request.GrantType!, out var grant))
        {
            return OAuthError.UnsupportedGrantType(_grantTypes, client.Client.ClientId, request.GrantType!);
        }

        if (!client.Client.GrantTypes.Contains(grant.GrantType))
        {
            var registered = client.Client.GrantTypes.IsEmpty ? "none" : string.Join(' ', client.Client.GrantTypes);
            return OAuthError.UnauthorizedClient(
                client.Client.ClientId, new("grant_types", $"a grant that it is registered for: {registered}", Printable.Quote(grant.GrantType)));
        }

        // 4. Let it decide, by the scope policy; what it gives is bound, where the client's tokens are.
        if (grant.Decide(request, client, snapshot.Registry, snapshot.Keys, now).Refused(out var error, out var granted)
            || CertificateBinding.Bind(granted, client.Client, request).Refused(out error, out granted))
        {
            return error;
        }

        if (request.DPoP is not null || client.Client.DPoPBound)
        {
            if ((await turn.While(dpop.Check(request, client.Client, now))).Refused(out error, out var thumbprint))
            {
                return error;
            }

            granted = granted with { Confirmation = (granted.Confirmation ?? new()) with { Jkt = thumbprint } };
        }

        if (audit is { Refuses: true })
        {
            return NotRecorded(granted.ClientId);
        }

        // 5. Sign, or give again what was signed for the same a moment ago. The sixth step, writing the answer, is the caller's.
        var key = snapshot.Keys.SigningAt(now);
        var given = granted.Reuse is null ? null : await turn.While(reuse.Take(granted, snapshot, key, now));
        var token = given?.Response ?? sign(granted, key, now);
        var traceId = audit is null && !logger.IsEnabled(LogLevel.Debug) ? null : OAuthResults.TraceId(http);
        var record = audit is null ? null : new AuditRecord(AuditEvents.TokenIssued, now)
        {
            TraceId = traceId,
            Address = http.Connection.RemoteIpAddress,
            ClientId = granted.ClientId,
            Method = client.Client.AuthenticationMethod,
            Credential = client.Credential,
            GrantType = grant.GrantType,
            Token = token.AccessToken,
            Reused = given is { IsReused: true },
            Outcome = "issued",
        };
        if (record is not null && !audit!.Note(record))
        {
            return NotRecorded(granted.ClientId);
        }

        // Only now: a token that is withheld was given to nobody.
        telemetry.TokenGiven(grant.GrantType, given is { IsReused: true });
        if (traceId is not null)
        {
            logger.TokenIssued(granted.ClientId, token.Scope, given is { IsReused: true }, traceId);
        }

        return token;
    }

    private static OAuthError NotRecorded(string clientId) => OAuthError.TemporarilyUnavailable(
        s_auditRetry, clientId, new("audit", "an audit log that can be written (TokenService:Audit:OnFailure is refuse)", "a request that could not be recorded"));
}
