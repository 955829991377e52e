using System;
using System.Collections.Immutable;
using System.Linq;
using System.Threading;
using System.Threading.Tasks;
using TokenService.Clients;
using TokenService.Protocol;

namespace TokenService.Authentication;

/// <summary>
/// Authenticates a client by the certificate of its TLS connection (RFC 8705 §2): <c>tls_client_auth</c>, where it must be under an authority and have the
/// registered name, and <c>self_signed_tls_client_auth</c>, where its key must be one of the client's.
/// </summary>
/// <remarks>
/// The TLS handshake takes any certificate: what one is good for is decided here, by the registration. The chain is checked first and for everybody, so that
/// how long an answer takes says nothing about who is registered.
/// </remarks>
/// <param name="authorities">The authorities for <c>tls_client_auth</c>; <see langword="null"/> where there are none.</param>
/// <param name="keySets">The keys behind each <c>jwks_uri</c>.</param>
public sealed class ClientCertificateProof(ClientAuthorities? authorities, ClientKeySets keySets)
{
    /// <summary>The name of every certificate of <c>tls_client_auth</c> among the credentials of a client: what is registered is a name, not a certificate.</summary>
    public const string Credential = "certificate";

    private const string Name = "client_certificate";

    private static readonly FailedCheck s_noAuthorities = new(
        Name, "authorities to check it with (TokenService:Mtls:ClientCaFile)", "a certificate, and the service has none");

    /// <summary>Authenticates the client of a request that has a client id and no other credentials than a certificate.</summary>
    /// <param name="request">The request.</param>
    /// <param name="registry">Who is registered.</param>
    /// <param name="now">The time of the request.</param>
    /// <param name="cancellation">Ends the wait for a client's keys.</param>
    /// <returns>The client, <c>invalid_client</c>, or <c>temporarily_unavailable</c> where it cannot be checked now.</returns>
    public async ValueTask<Result<AuthenticatedClient>> Check(
        ClientRequest request, Registry registry, DateTimeOffset now, CancellationToken cancellation)
    {
        var client = registry.FindClient(request.ClientId!);
        if (request.Certificate is not { } sent)
        {
            return OAuthError.InvalidClient(request.ClientId, client is not null && AuthenticationMethods.HasCertificate(client.AuthenticationMethod)
                ? new(Name, $"a certificate: it is registered for {client.AuthenticationMethod}", request.WithoutCertificate)
                : ClientChecks.NoCredentials);
        }

        var untrusted = authorities is null ? s_noAuthorities : authorities.Fault(sent, now);
        if (client is null)
        {
            return OAuthError.InvalidClient(request.ClientId, ClientChecks.Unknown);
        }

        var found = client.AuthenticationMethod switch
        {
            AuthenticationMethods.TlsClientAuth => CheckName(client, sent, untrusted),
            AuthenticationMethods.SelfSignedTlsClientAuth => await CheckKey(client, sent, now, cancellation),
            var method => OAuthError.InvalidClient(client.ClientId, new("token_endpoint_auth_method", $"{method}, as registered", "a certificate alone")),
        };
        if (found.Refused(out var error, out var credential))
        {
            return error;
        }

        return client.Disabled
            ? OAuthError.InvalidClient(client.ClientId, ClientChecks.Disabled("a right certificate, and is disabled"))
            : new AuthenticatedClient(client, credential);
    }

    private static Result<string> CheckName(Client client, ClientCertificate sent, FailedCheck? untrusted)
    {
        if (untrusted is not null)
        {
            return OAuthError.InvalidClient(client.ClientId, untrusted);
        }

        var name = client.CertificateName!;
        return name.IsOf(sent.Certificate) ? Credential : OAuthError.InvalidClient(
            client.ClientId, new(name.Member, $"a certificate with {Printable.Quote(name.Value)} there, as registered", $"one with {name.Found(sent.Certificate)}"));
    }

    // RFC 8705 §2.2: no chain is validated. That it is still valid is asked all the same: its owner wrote until when it is to be used.
    private async ValueTask<Result<string>> CheckKey(Client client, ClientCertificate sent, DateTimeOffset now, CancellationToken cancellation)
    {
        var found = client.JwksUri is { } uri
            ? await keySets.Find(client.ClientId, new KeySource(uri), "a certificate", Find, isFinal: _ => false, cancellation)
            : Find(client.Keys);
        return !found.Refused(out _, out _) && ClientAuthorities.Validity(sent.Certificate, now) is { } invalid
            ? OAuthError.InvalidClient(client.ClientId, invalid)
            : found;

        Result<string> Find(ImmutableArray<ClientKey> keys) => keys.FirstOrDefault(key => key.IsOf(sent.Certificate)) is { } key
            ? key.Credential
            : OAuthError.InvalidClient(client.ClientId, new(
                client.JwksUri is null ? "jwks" : "jwks_uri", "a certificate with one of its keys", $"one of {ClientCertificate.Words(sent.Certificate.SubjectName)} with another key"));
    }
}
