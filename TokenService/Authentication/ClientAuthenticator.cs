using System;
using System.Threading;
using System.Threading.Tasks;
using TokenService.Clients;
using TokenService.Protocol;

namespace TokenService.Authentication;

/// <summary>
/// Finds out who the client is (RFC 6749 §2.3), in three steps: what was sent, is it the method that the client is registered for, and
/// does the one proof hold.
/// </summary>
/// <remarks>
/// This room holds all that proves a client. Whatever is wrong, the caller reads the same <c>invalid_client</c> and the same work is
/// done: an unknown client costs the hash and the comparison of a known one. Only the reason for the operator differs.
/// </remarks>
/// <param name="assertions">Checks assertions.</param>
/// <param name="certificates">Checks certificates.</param>
public sealed class ClientAuthenticator(ClientAssertionProof assertions, ClientCertificateProof certificates)
{
    /// <summary>Authenticates the client of a request.</summary>
    /// <param name="request">The request; of the ways to authenticate it has at most one.</param>
    /// <param name="registry">Who is registered.</param>
    /// <param name="now">The time of the request.</param>
    /// <param name="cancellation">Ends a wait for the keys of a client.</param>
    /// <returns>The client, <c>invalid_client</c>, or <c>temporarily_unavailable</c>.</returns>
    public ValueTask<Result<AuthenticatedClient>> Authenticate(
        ClientRequest request, Registry registry, DateTimeOffset now, CancellationToken cancellation)
        => request is not { ClientAssertion: null, ClientAssertionType: null } ? assertions.Check(request, registry, now, cancellation)
            : request is { Authorization: null, ClientSecret: null, ClientId: not null } ? certificates.Check(request, registry, now, cancellation)
            : new(AuthenticateBySecret(request, registry, now));

    /// <summary>The same for a request with a secret.</summary>
    internal static Result<AuthenticatedClient> AuthenticateBySecret(ClientRequest request, Registry registry, DateTimeOffset now)
    {
        if (ReadCredentials(request).Refused(out var error, out var sent))
        {
            return error;
        }

        OAuthError? told = null;
        foreach (var reading in sent.Readings)
        {
            if (!Check(reading, sent.Method, request.ClientId, registry, now, out var match).Refused(out var refusal, out var client))
            {
                return client;
            }

            // The operator is told of the reading that came closest.
            told = told is null || match != SecretMatch.None ? refusal : told;
        }

        return told!;
    }

    private static string Proof(Client client) => client.AuthenticationMethod switch
    {
        var method when AuthenticationMethods.HasCertificate(method) => $"a certificate: it is registered for {method}",
        var method when AssertionAlgorithms.Of(method).IsEmpty => "one of its secrets",
        var method => $"an assertion: it is registered for {method}",
    };

    // Client id and secret the wrong way round, or a token: the log and the refusals that are kept must not have it.
    private static bool LooksLikeASecret(string clientId)
        => clientId.StartsWith("eyJ", StringComparison.Ordinal) || ClientSecret.IsOfAFormThatIsGenerated(clientId);

    private static Result<SentCredentials> ReadCredentials(ClientRequest request) => request switch
    {
        { Authorization: { } header } => ClientSecretBasic.Read(header),
        { ClientId: { } id, ClientSecret: { } secret }
            => new SentCredentials(AuthenticationMethods.ClientSecretPost, [new CredentialReading(id, secret)]),
        { ClientSecret: not null } => OAuthError.InvalidClient(null, new("client_id", "client_id beside client_secret", "client_secret alone")),
        _ => OAuthError.InvalidClient(request.ClientId, ClientChecks.NoCredentials),
    };

    private static Result<AuthenticatedClient> Check(
        CredentialReading sent, string method, string? idInForm, Registry registry, DateTimeOffset now, out SecretMatch match)
    {
        var client = registry.FindClient(sent.ClientId);
        match = ClientSecret.Match(sent.Secret, client?.Secrets ?? [], now, out var secret);

        return (client, match) switch
        {
            (null, _) when registry.FindClient(sent.Secret.Reveal()) is not null || LooksLikeASecret(sent.ClientId) => OAuthError.InvalidClient(
                null, new("client_id", "a registered client", "in the place of the client id what may be a secret or a token, which is not shown")),
            (null, _) => Refuse(ClientChecks.Unknown),
            (_, SecretMatch.None) => Refuse(new("client_secret", Proof(client), "a wrong secret")),
            (_, SecretMatch.Expired) => Refuse(new("client_secret", "a secret that has not expired", "a secret that has expired")),
            _ when client.AuthenticationMethod != method
                => Refuse(new("token_endpoint_auth_method", $"{client.AuthenticationMethod}, as registered", $"the right secret by {method}")),
            _ when client.Disabled => Refuse(ClientChecks.Disabled("the right secret, and is disabled")),
            _ when idInForm is not null && idInForm != client.ClientId => Refuse(new(
                "client_id", "the same client in the form, or none", $"the right secret, and a client_id in the form that names another client: {Printable.Quote(idInForm)}")),
            _ => new AuthenticatedClient(client, secret!.Credential),
        };

        OAuthError Refuse(FailedCheck failed) => OAuthError.InvalidClient(sent.ClientId, failed);
    }
}
