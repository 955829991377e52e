using System;
using System.Collections.Generic;
using System.Collections.Immutable;
using System.Linq;
using System.Threading;
using System.Threading.Tasks;
using TokenService.Clients;
using TokenService.Protocol;

namespace TokenService.Authentication;

/// <summary>
/// Every fault of a client assertion, where <see cref="ClientAssertionProof"/> stops at the first one. Both ask the same checks; this uses
/// nothing up.
/// </summary>
public static class ClientAssertionFaults
{
    /// <summary>Looks for them.</summary>
    /// <param name="text">The assertion.</param>
    /// <param name="clientId">The client that it should be of.</param>
    /// <param name="registry">Who is registered, and which issuers are trusted.</param>
    /// <param name="audiences">What <c>aud</c> may be.</param>
    /// <param name="keySets">The keys behind a <c>jwks_uri</c>.</param>
    /// <param name="wasUsed">Whether the client has used a <c>jti</c>, which need not be remembered from the time on that is given with it.</param>
    /// <param name="now">The time to judge by.</param>
    /// <param name="cancellation">Ends the wait for a client's keys.</param>
    /// <returns>The faults, in the order in which a request meets them; none where the assertion is right.</returns>
    public static async Task<ImmutableArray<FailedCheck>> Find(
        string text,
        string clientId,
        Registry registry,
        ImmutableArray<string> audiences,
        ClientKeySets keySets,
        Func<string, DateTimeOffset, bool> wasUsed,
        DateTimeOffset now,
        CancellationToken cancellation)
    {
        var client = registry.FindClient(clientId);
        List<FailedCheck?> faults = [ClientAssertion.Read(text, out var assertion)];
        if (client is not null && AuthenticationMethods.IsWorkload(client.AuthenticationMethod))
        {
            if (assertion is not null)
            {
                faults.AddRange(await OfWorkload(assertion, client, registry, audiences[0], keySets, now, cancellation));
            }

            faults.Add(client.Disabled ? ClientChecks.Disabled("a token, and is disabled") : null);
            return [.. faults.OfType<FailedCheck>()];
        }

        if (assertion is not null)
        {
            faults.AddRange(AssertionRules.Broken(assertion, null, audiences, now));
            faults.Add(assertion.Subject is { } subject && subject != clientId
                ? new("sub", "the client that the assertion should be of", Printable.Quote(subject))
                : null);
        }

        if (client is null)
        {
            faults.Add(ClientChecks.Unknown);
        }
        else
        {
            var method = ClientChecks.Method(client);
            faults.Add(method);
            if (method is null && assertion?.Algorithm is { } algorithm && AssertionAlgorithms.All.Contains(algorithm))
            {
                faults.Add(ClientChecks.Algorithm(client, algorithm) ?? await Signature(client, assertion, keySets, now, cancellation));
            }

            faults.Add(client.Disabled ? ClientChecks.Disabled("an assertion, and is disabled") : null);
        }

        if (assertion?.TokenId is { Length: > 0 } tokenId && AssertionRules.EndOf(assertion) is { } end && end > now && wasUsed(tokenId, end))
        {
            faults.Add(ClientChecks.UsedBefore);
        }

        return [.. faults.OfType<FailedCheck>()];
    }

    private static async Task<List<FailedCheck>> OfWorkload(
        ClientAssertion token, Client client, Registry registry, string audience, ClientKeySets keySets, DateTimeOffset now, CancellationToken cancellation)
    {
        var isSpiffe = client.AuthenticationMethod == AuthenticationMethods.SpiffeJwt;
        var issuers = WorkloadToken.IssuersOf(token, isSpiffe, registry);
        if (issuers.IsEmpty)
        {
            var unknown = isSpiffe ? ClientChecks.UnknownTrustDomain(token) : ClientChecks.UnknownIssuer(token);
            return [unknown, .. WorkloadTokenRules.Broken(token, audience, isSpiffe, now)];
        }

        // A signature by an algorithm that is not accepted is not looked at.
        FailedCheck? unsigned = null;
        TrustedIssuer? signer = null;
        if (token.Algorithm is { } algorithm && AssertionAlgorithms.PrivateKey.Contains(algorithm)
            && (await WorkloadToken.FindSigner(token, client.ClientId, issuers, keySets, cancellation)).Refused(out var error, out signer))
        {
            unsigned = error.Failed;
        }

        var issuer = signer ?? issuers[0];
        List<FailedCheck> faults = [.. WorkloadTokenRules.Broken(token, issuer.Audience ?? audience, isSpiffe, now)];
        if (unsigned is not null)
        {
            faults.Add(unsigned);
        }

        if (WorkloadToken.Mismatch(token, client, issuer) is { } mismatch)
        {
            faults.Add(mismatch);
        }

        return faults;
    }

    private static async Task<FailedCheck?> Signature(
        Client client, ClientAssertion assertion, ClientKeySets keySets, DateTimeOffset now, CancellationToken cancellation)
    {
        var found = client.AuthenticationMethod == AuthenticationMethods.ClientSecretJwt
            ? ClientSecretJwt.FindCredential(client, assertion, now)
            : await PrivateKeyJwt.FindCredential(client, assertion, keySets, cancellation);
        return found.Refused(out var error, out _) ? error.Failed : null;
    }
}
