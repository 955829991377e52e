using System;
using System.Collections.Frozen;
using System.Collections.Generic;
using System.Linq;
using System.Threading.Tasks;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;
using TokenService.Authentication;
using TokenService.Grants;
using TokenService.Operations;
using TokenService.Protocol;
using TokenService.Storage;
using TokenService.Tokens;

namespace TokenService.Endpoints;

/// <summary>The token endpoint (RFC 6749 §3.2): a request from the socket to the signature, in six steps.</summary>
/// <param name="store">Clients, resources and keys; taken once for each request.</param>
/// <param name="authenticator">Finds out who the client is.</param>
/// <param name="grants">The grants that the service has.</param>
/// <param name="issuer">The issuer, known once the service listens.</param>
/// <param name="admission">Lets in what can be answered in time.</param>
/// <param name="refusals">Answers what is refused.</param>
/// <param name="uses">Told who has proved itself, and with what.</param>
/// <param name="clock">The clock.</param>
/// <param name="logger">Told of each outcome.</param>
public sealed class TokenEndpoint(
    StoreWatch store,
    ClientAuthenticator authenticator,
    IEnumerable<IGrant> grants,
    Func<string> issuer,
    Admission admission,
    Refusals refusals,
    CredentialUses uses,
    TimeProvider clock,
    ILogger logger)
{
    private readonly FrozenDictionary<string, IGrant> _grants = grants.ToFrozenDictionary(grant => grant.GrantType, StringComparer.Ordinal);
    private readonly string _grantTypes = string.Join(' ', grants.Select(grant => grant.GrantType));

    /// <summary>Answers one request.</summary>
    public async Task Handle(HttpContext http)
    {
        var traceId = OAuthResults.TraceId();
        if ((await Decide(http, traceId)).Refused(out var error, out var token))
        {
            await refusals.Answer(http, error, traceId);
            return;
        }

        await OAuthResults.Write(http, token);
    }

    private async Task<Result<TokenResponse>> Decide(HttpContext http, string traceId)
    {
        if (admission.IsFull)
        {
            return OAuthError.Overloaded;
        }

        // 1. Parse: after this, no step sees HTTP.
        if ((await RequestForm.Read(http.Request, http.RequestAborted)).Refused(out var error, out var parameters)
            || parameters.ToTokenRequest().Refused(out error, out var request))
        {
            return error;
        }

        using var turn = await admission.Enter(http.RequestAborted);
        if (turn is null)
        {
            return OAuthError.Overloaded;
        }

        // Taken once, and only now: the body may have taken seconds to arrive.
        if (store.Take().Refused(out error, out var snapshot))
        {
            return error;
        }

        var now = clock.GetUtcNow();

        // 2. Authenticate the client.
        if ((await turn.While(authenticator.Authenticate(request, snapshot.Registry, now, http.RequestAborted))).Refused(out error, out var client))
        {
            return error;
        }

        uses.Note(client, now);

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

        // 4. Let it decide, by the scope policy.
        if (grant.Decide(request, client, snapshot.Registry).Refused(out error, out var granted))
        {
            return error;
        }

        // 5. Sign. The sixth step, writing the answer, is the caller's.
        var token = AccessTokenIssuer.Issue(granted, issuer(), snapshot.Keys.SigningAt(now), now);
        logger.TokenIssued(granted.ClientId, token.Scope, traceId);
        return token;
    }
}
