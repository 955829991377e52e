using System;
using System.Linq;
using System.Threading.Tasks;
using Microsoft.AspNetCore.Http;
using TokenService.Clients;
using TokenService.Operations;
using TokenService.Protocol;
using TokenService.Tokens;

namespace TokenService.Endpoints;

/// <summary>The introspection endpoint (RFC 7662 §2): whether a token is live, and what is in it.</summary>
/// <param name="intake">Parses requests and authenticates the callers.</param>
/// <param name="liveness">Tells what a live token is.</param>
/// <param name="issuer">The issuer, known once the service listens.</param>
/// <param name="refusals">Answers what is refused.</param>
/// <param name="telemetry">Counts the others.</param>
public sealed class IntrospectionEndpoint(Intake intake, TokenLiveness liveness, Func<string> issuer, Refusals refusals, Telemetry telemetry)
{
    private static readonly TimeSpan s_storeRetry = TimeSpan.FromSeconds(1);

    /// <summary>Answers one request.</summary>
    public async Task Handle(HttpContext http)
    {
        if ((await Decide(http)).Refused(out var error, out var answer))
        {
            await refusals.Answer(http, error, OAuthResults.TraceId(http));
            return;
        }

        telemetry.Answered(RequestSpans.Route(http)!);
        await OAuthResults.Write(http, answer);
    }

    private async Task<Result<IntrospectionResponse>> Decide(HttpContext http)
    {
        if ((await intake.Take(http, static parameters => parameters.ToTokenQuery())).Refused(out var error, out var taken))
        {
            return error;
        }

        using (taken)
        {
            return Decide(taken).Refused(out error, out var answer) ? taken.Refuse(error) : answer;
        }
    }

    private Result<IntrospectionResponse> Decide(AuthenticatedRequest<TokenQuery> taken)
    {
        var (query, caller, snapshot, now, _) = taken;
        if (caller.Client is { IntrospectsAll: false, IntrospectedResources.IsEmpty: true })
        {
            return OAuthError.IntrospectionNotAllowed(caller.Client.ClientId);
        }

        // Why a token is not live, nobody is told: the caller could learn of tokens that are not its own.
        if (AccessTokenReader.Read(query.Token!.Value.Reveal(), issuer(), snapshot.Keys, now) is not { } token || !MaySee(caller.Client, token))
        {
            return IntrospectionResponse.Inactive;
        }

        return liveness.Of(token, snapshot.Registry) switch
        {
            Liveness.Live => new IntrospectionResponse
            {
                Active = true,
                TokenType = IsDPoP(token) ? "DPoP" : "Bearer",
                Claims = token.Claims.EnumerateObject().ToDictionary(claim => claim.Name, claim => claim.Value, StringComparer.Ordinal),
            },
            Liveness.Unknown => OAuthError.TemporarilyUnavailable(
                s_storeRetry, caller.Client.ClientId, new(Parameters.Token, "a store that knows whether it was revoked", "a token that may be live, and the store does not answer")),
            _ => IntrospectionResponse.Inactive,
        };
    }

    // RFC 9449 §6.2.
    private static bool IsDPoP(AccessToken token) => token.Claims.TryGetProperty("cnf", out var binding) && binding.TryGetProperty("jkt", out _);

    // One of several resources is enough. A resource server takes a token that names it beside others (RFC 7519 §4.1.3), so it must be able
    // to ask about it; and the answer tells it nothing but whether the token is revoked: all the rest it reads in the token.
    private static bool MaySee(Client caller, AccessToken token)
        => caller.IntrospectsAll || token.Audience.Any(resource => caller.IntrospectedResources.Contains(resource));
}
