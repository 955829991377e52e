using System;
using System.Collections.Immutable;
using System.Linq;
using System.Threading;
using System.Threading.Tasks;
using TokenService.Clients;
using TokenService.Protocol;

namespace TokenService.Authentication;

/// <summary>
/// <c>federated_jwt</c> and <c>spiffe_jwt</c>: a client proves itself by the token that its platform gives to what runs there, and keeps no secret.
/// </summary>
/// <remarks>
/// Three questions, each of which narrows: is it a token for this service and in its time; which of the trusted issuers with that <c>iss</c> has signed it; and
/// for which client do that issuer's claims stand. A key is only ever tried for its own issuer, and rules for an issuer only once its key has
/// verified. What follows from the token alone is told to the caller; who is trusted with what is not.
/// </remarks>
public static class WorkloadToken
{
    /// <summary>The issuers that a token may be of.</summary>
    /// <param name="token">The token.</param>
    /// <param name="isSpiffe">Whether it was sent as a JWT-SVID: its trust domain counts, not its <c>iss</c>.</param>
    /// <param name="registry">Who is trusted.</param>
    public static ImmutableArray<TrustedIssuer> IssuersOf(ClientAssertion token, bool isSpiffe, Registry registry)
    {
        // Where both are the same it is a client's own, whatever the client is called.
        var issuer = isSpiffe ? SpiffeId.TrustDomainOf(token.Subject ?? "") : token.Issuer == token.Subject ? null : token.Issuer;
        return issuer is null ? [] : [.. registry.IssuersOf(issuer).Where(found => found.IsSpiffe == isSpiffe)];
    }

    /// <summary>Authenticates a client by a token.</summary>
    /// <param name="token">The token.</param>
    /// <param name="clientId">The <c>client_id</c> beside it, if any: it chooses where the token stands for several clients.</param>
    /// <param name="issuers">The issuers that it may be of; at least one.</param>
    /// <param name="registry">Who is registered.</param>
    /// <param name="audience">What a token is for where its issuer is not registered with another audience.</param>
    /// <param name="keySets">The keys of issuers that publish them.</param>
    /// <param name="now">The time of the request.</param>
    /// <param name="cancellation">Ends the wait for keys.</param>
    /// <returns>The client, <c>invalid_client</c>, or <c>temporarily_unavailable</c> where an issuer's keys cannot be had now.</returns>
    public static async ValueTask<Result<AuthenticatedClient>> Check(
        ClientAssertion token,
        string? clientId,
        ImmutableArray<TrustedIssuer> issuers,
        Registry registry,
        string audience,
        ClientKeySets keySets,
        DateTimeOffset now,
        CancellationToken cancellation)
    {
        var judged = issuers.Select(issuer => (Issuer: issuer, Fault: FirstFault(token, issuer, audience, now))).ToList();
        ImmutableArray<TrustedIssuer> meant = [.. judged.Where(entry => entry.Fault is null).Select(entry => entry.Issuer)];
        if (meant.IsEmpty)
        {
            return OAuthError.InvalidAssertion(clientId, judged[0].Fault!);
        }

        if ((await FindSigner(token, clientId, meant, keySets, cancellation)).Refused(out var error, out var signer))
        {
            return error;
        }

        if (FindClient(token, clientId, signer, registry).Refused(out error, out var client))
        {
            return error;
        }

        return client.Disabled
            ? OAuthError.InvalidClient(client.ClientId, ClientChecks.Disabled("a right token, and is disabled"))
            : new AuthenticatedClient(client, $"issuer:{signer.Name}");
    }

    /// <summary>The first rule that a token of an issuer breaks, whoever it stands for.</summary>
    internal static FailedCheck? FirstFault(ClientAssertion token, TrustedIssuer issuer, string audience, DateTimeOffset now)
        => WorkloadTokenRules.Broken(token, issuer.Audience ?? audience, issuer.IsSpiffe, now).FirstOrDefault();

    /// <summary>Which of the issuers has signed a token. All are asked at once: one that is slow does not hold up another that has the same <c>iss</c>.</summary>
    internal static async ValueTask<Result<TrustedIssuer>> FindSigner(
        ClientAssertion token, string? clientId, ImmutableArray<TrustedIssuer> issuers, ClientKeySets keySets, CancellationToken cancellation)
    {
        if (issuers.Length == 1)
        {
            return await Verify(issuers[0]);
        }

        OAuthError? told = null;
        await foreach (var verified in Task.WhenEach(issuers.Select(Verify).ToList()).WithCancellation(cancellation))
        {
            if (!(await verified).Refused(out var error, out var signer))
            {
                return signer;
            }

            // One whose keys are not to be had may be the one.
            told = told is null || error.RetryAfter is not null ? error : told;
        }

        return told!;

        async Task<Result<TrustedIssuer>> Verify(TrustedIssuer issuer)
        {
            var found = issuer.Source is { } source
                ? await PrivateKeyJwt.FindCredential(clientId, token, source, keySets, cancellation)
                : PrivateKeyJwt.FindCredential(clientId, token, issuer.Keys);
            return found.Refused(out var error, out _) ? error.OfIssuer(issuer.Name) : issuer;
        }
    }

    /// <summary>For which client a token stands.</summary>
    /// <param name="token">The token.</param>
    /// <param name="clientId">The <c>client_id</c> beside it, if any.</param>
    /// <param name="signer">The issuer whose key has signed it.</param>
    /// <param name="registry">Who is registered.</param>
    internal static Result<Client> FindClient(ClientAssertion token, string? clientId, TrustedIssuer signer, Registry registry)
    {
        var fitting = registry.WorkloadsOf(signer, token.Subject!)
            .Where(client => (clientId is null || client.ClientId == clientId) && StandsFor(token, client, signer))
            .OrderBy(client => client.ClientId, StringComparer.Ordinal)
            .ToList();
        return fitting.Count switch
        {
            1 => fitting[0],
            0 => OAuthError.InvalidClient(clientId, Mismatch(token, clientId is null ? null : registry.FindClient(clientId), signer)!),
            _ => OAuthError.InvalidAssertion(null, new(
                Parameters.ClientId,
                "client_id must be sent, since the token is ambiguous: it stands for several clients",
                $"a token of issuer {signer.Name} that stands for {string.Join(", ", fitting.Take(4).Select(client => Printable.Quote(client.ClientId)))}{(fitting.Count > 4 ? " and others" : "")}")),
        };
    }

    private static bool StandsFor(ClientAssertion token, Client client, TrustedIssuer signer)
        => client.Federation.Any(rule => rule.Issuer == signer.Key && rule.FirstBroken(token.Claims) is null);

    /// <summary>Why a token does not stand for a client. Of its rules, the one that comes closest: the operator looks for a typing error.</summary>
    /// <param name="token">The token.</param>
    /// <param name="named">The client, where one is named that exists.</param>
    /// <param name="signer">The issuer of the token.</param>
    /// <returns>The check that failed, or <see langword="null"/> where it stands for the client.</returns>
    internal static FailedCheck? Mismatch(ClientAssertion token, Client? named, TrustedIssuer signer)
    {
        var came = $"a token of issuer {signer.Name} with sub {AssertionRules.Found(token.Claims, "sub")}";
        if (named is null)
        {
            return new("federation", "claims that the client is registered for (federation, spiffe_id)", came);
        }

        if (!AuthenticationMethods.IsWorkload(named.AuthenticationMethod))
        {
            return new("token_endpoint_auth_method", $"{named.AuthenticationMethod}, as registered", came);
        }

        if (StandsFor(token, named, signer))
        {
            return null;
        }

        var rules = named.Federation.Where(rule => rule.Issuer == signer.Key).ToList();
        if (rules.Count == 0)
        {
            return new(
                "federation", $"a token of an issuer that it is registered for: {string.Join(", ", named.Federation.Select(rule => rule.Issuer).Distinct())}", came);
        }

        var broken = rules.MinBy(rule => rule.Claims.Count(claim => !claim.IsMet(token.Claims)))!.FirstBroken(token.Claims)!;
        return new(
            Printable.Escape(broken.Claim),
            $"{string.Join(" or ", broken.Values.Take(4).Select(Printable.Quote))}{(broken.Values.Length > 4 ? " or others" : "")}, as registered for issuer {signer.Name}",
            $"a token where it is {(broken.Find(token.Claims) is { } claim ? Printable.Quote(claim.ToString()) : "left out")}");
    }
}
