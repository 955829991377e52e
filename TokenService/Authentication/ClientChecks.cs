using TokenService.Clients;
using TokenService.Protocol;

namespace TokenService.Authentication;

/// <summary>The checks against a client's registration that its different proofs share.</summary>
public static class ClientChecks
{
    /// <summary>The request proves nothing.</summary>
    public static FailedCheck NoCredentials { get; } = new("client_authentication", "a secret or an assertion", "no credentials");

    /// <summary>Nobody is registered under the client id.</summary>
    public static FailedCheck Unknown { get; } = new("client_id", "a registered client", "an unknown client id");

    /// <summary>The assertion is right but for being used again.</summary>
    public static FailedCheck UsedBefore { get; } = new(
        "jti",
        "a jti of its own for each assertion; where the service's clock was set back, one that was made eleven minutes later",
        "an assertion that was used before");

    /// <summary>Nobody is trusted to speak for the trust domain of a JWT-SVID.</summary>
    /// <param name="token">The JWT-SVID.</param>
    public static FailedCheck UnknownTrustDomain(ClientAssertion token)
        => new("trust_domain", "a JWT-SVID of a trust domain that is registered (issuers)", $"one with sub {AssertionRules.Found(token.Claims, "sub")}");

    /// <summary>No issuer that is trusted makes tokens with such an <c>iss</c>.</summary>
    /// <param name="token">The token.</param>
    public static FailedCheck UnknownIssuer(ClientAssertion token)
        => new("iss", "the issuer of one of those that are trusted (issuers)", AssertionRules.Found(token.Claims, "iss"));

    /// <summary>The client is switched off.</summary>
    /// <param name="came">What it sent, where it reads on after "client x sent".</param>
    public static FailedCheck Disabled(string came) => new("disabled", "a client that is enabled", came);

    /// <summary>What must be so before the signature of an assertion is looked at: the client, its method, the algorithm.</summary>
    /// <param name="client">The client, where there is one.</param>
    /// <param name="algorithm">The <c>alg</c> of the assertion, one of <see cref="AssertionAlgorithms.All"/>.</param>
    /// <returns>The check that failed, or <see langword="null"/>.</returns>
    public static FailedCheck? Registration(Client? client, string algorithm)
        => client is null ? Unknown : Method(client) ?? Algorithm(client, algorithm);

    /// <summary>Whether a client authenticates itself by assertions.</summary>
    /// <param name="client">The client.</param>
    /// <returns>The check that failed, or <see langword="null"/>.</returns>
    public static FailedCheck? Method(Client client) => AssertionAlgorithms.Of(client.AuthenticationMethod).IsEmpty
        ? new("token_endpoint_auth_method", $"{client.AuthenticationMethod}, as registered", "an assertion")
        : null;

    /// <summary>
    /// Whether its assertion may be signed by an algorithm. Decided by the registration alone: an assertion does not choose what it is
    /// checked with.
    /// </summary>
    /// <param name="client">A client that authenticates itself by assertions.</param>
    /// <param name="algorithm">The <c>alg</c> of the assertion, one of <see cref="AssertionAlgorithms.All"/>.</param>
    /// <returns>The check that failed, or <see langword="null"/>.</returns>
    public static FailedCheck? Algorithm(Client client, string algorithm)
    {
        var accepted = AssertionAlgorithms.Of(client.AuthenticationMethod);
        if (!accepted.Contains(algorithm))
        {
            return new("alg", $"one that goes with {client.AuthenticationMethod}: {string.Join(", ", accepted)}", $"an assertion with alg {algorithm}");
        }

        return client.AssertionAlgorithm is { } only && algorithm != only
            ? new("alg", $"{only}, as registered (token_endpoint_auth_signing_alg)", $"an assertion with alg {algorithm}")
            : null;
    }
}
