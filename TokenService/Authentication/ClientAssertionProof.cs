using System;
using System.Collections.Immutable;
using System.Linq;
using System.Threading;
using System.Threading.Tasks;
using TokenService.Clients;
using TokenService.Protocol;

namespace TokenService.Authentication;

/// <summary>
/// Authenticates a client by its assertion: <c>private_key_jwt</c> and <c>client_secret_jwt</c> (RFC 7521 §4.2, RFC 7523 §2.2 and §3), and hands over to
/// <see cref="WorkloadToken"/> what a trusted issuer has made.
/// </summary>
/// <remarks>
/// In this order: the form and the claims, which cost little and need nobody's data; the client and what it is registered for, which decides
/// what algorithms may be; the signature; and last of all the <c>jti</c>, so that nobody uses it up who cannot sign. A fault of the first
/// part is told to the caller, since it follows from what was sent. Whatever depends on who is registered reads the same to all. The <c>iss</c>
/// decides by which rules an assertion is judged: a client's own has the client id there. What is of a trusted issuer is never checked with a
/// client's keys, nor the other way round.
/// </remarks>
/// <param name="audiences">What <c>aud</c> may be, known once the service listens.</param>
/// <param name="keySets">The keys behind each <c>jwks_uri</c>.</param>
/// <param name="replay">Which assertions were used.</param>
public sealed class ClientAssertionProof(Func<ImmutableArray<string>> audiences, ClientKeySets keySets, IReplayStore replay)
{
    private static readonly TimeSpan s_storeRetry = TimeSpan.FromSeconds(1);

    /// <summary>Authenticates the client of a request that has an assertion and no other credentials.</summary>
    /// <param name="request">The request.</param>
    /// <param name="registry">Who is registered.</param>
    /// <param name="now">The time of the request.</param>
    /// <param name="cancellation">Ends the wait for a client's keys.</param>
    /// <returns>The client, <c>invalid_client</c>, or <c>temporarily_unavailable</c> where it cannot be checked now.</returns>
    public async ValueTask<Result<AuthenticatedClient>> Check(
        ClientRequest request, Registry registry, DateTimeOffset now, CancellationToken cancellation)
    {
        if (Read(request, out var assertion) is { } malformed)
        {
            return OAuthError.InvalidAssertion(request.ClientId, malformed);
        }

        var isSpiffe = request.ClientAssertionType == ClientAssertionTypes.JwtSpiffe;
        var issuers = WorkloadToken.IssuersOf(assertion!, isSpiffe, registry);
        if (!issuers.IsEmpty)
        {
            return await WorkloadToken.Check(assertion!, request.ClientId, issuers, registry, audiences()[0], keySets, now, cancellation);
        }

        var broken = isSpiffe
            ? WorkloadTokenRules.Broken(assertion!, audiences()[0], isSpiffe, now).FirstOrDefault()
            : AssertionRules.Broken(assertion!, request.ClientId, audiences(), now).FirstOrDefault();
        if (broken is not null)
        {
            return OAuthError.InvalidAssertion(isSpiffe ? request.ClientId : assertion!.Subject ?? request.ClientId, broken);
        }

        if (isSpiffe)
        {
            AssertionDecoy.Spend(assertion!);
            return OAuthError.InvalidClient(request.ClientId, ClientChecks.UnknownTrustDomain(assertion!));
        }

        var client = registry.FindClient(assertion!.Subject!);
        if (ClientChecks.Registration(client, assertion!.Algorithm!) is { } mismatch)
        {
            AssertionDecoy.Spend(assertion);
            return OAuthError.InvalidClient(assertion.Subject!, mismatch);
        }

        var found = client!.AuthenticationMethod == AuthenticationMethods.ClientSecretJwt
            ? ClientSecretJwt.FindCredential(client, assertion, now)
            : await PrivateKeyJwt.FindCredential(client, assertion, keySets, cancellation);
        if (found.Refused(out var error, out var credential))
        {
            return error;
        }

        if (client.Disabled)
        {
            return OAuthError.InvalidClient(client.ClientId, ClientChecks.Disabled("a right assertion, and is disabled"));
        }

        return await replay.Use(client.ClientId, assertion.TokenId!, AssertionRules.EndOf(assertion)!.Value) switch
        {
            ReplayVerdict.FirstUse => new AuthenticatedClient(client, credential),
            ReplayVerdict.UsedBefore => OAuthError.InvalidClient(client.ClientId, ClientChecks.UsedBefore),
            _ => OAuthError.TemporarilyUnavailable(
                s_storeRetry, client.ClientId, new("jti", "a store that can note it", "a right assertion, and the store could not note its jti")),
        };
    }

    private static FailedCheck? Read(ClientRequest request, out ClientAssertion? assertion)
    {
        assertion = null;
        if (request.ClientAssertionType is not (ClientAssertionTypes.JwtBearer or ClientAssertionTypes.JwtSpiffe))
        {
            return new(
                Parameters.ClientAssertionType,
                $"client_assertion_type must be {ClientAssertionTypes.JwtBearer}, or {ClientAssertionTypes.JwtSpiffe} for a JWT-SVID",
                request.ClientAssertionType is { } type ? Printable.Quote(type) : "nothing");
        }

        return request.ClientAssertion is not { } text
            ? new(Parameters.ClientAssertion, "client_assertion must stand beside client_assertion_type", "nothing")
            : ClientAssertion.Read(text.Reveal(), out assertion);
    }
}
