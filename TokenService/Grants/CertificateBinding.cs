using TokenService.Clients;
using TokenService.Protocol;
using TokenService.Tokens;

namespace TokenService.Grants;

/// <summary>Binds what any grant gives to the certificate of the client (RFC 8705 §3), where it is registered so.</summary>
public static class CertificateBinding
{
    /// <summary>Binds a token.</summary>
    /// <param name="granted">The token.</param>
    /// <param name="client">Who gets it.</param>
    /// <param name="request">The request.</param>
    /// <returns>The token, bound where the client's are; or a refusal where there is no certificate to bind it to: no client that is registered so gets an unbound one.</returns>
    public static Result<GrantedToken> Bind(GrantedToken granted, Client client, ClientRequest request)
    {
        if (!client.CertificateBound)
        {
            return granted;
        }

        return request.Certificate is { } sent
            ? granted with { Confirmation = (granted.Confirmation ?? new()) with { X5tS256 = Confirmation.ThumbprintOf(sent.Certificate) } }
            : OAuthError.InvalidRequest(
                "The client's tokens are bound to its certificate (tls_client_certificate_bound_access_tokens). Send the request over mutual TLS.",
                new("tls_client_certificate_bound_access_tokens", "a request with a certificate to bind the token to", request.WithoutCertificate),
                client.ClientId);
    }
}
