namespace TokenService.Protocol;

/// <summary>
/// What every request that a client authenticates itself with has in common, as it was sent: the credentials of RFC 6749 §2.3 and RFC 7521
/// §4.2. A parameter sent without a value counts as left out (RFC 6749 §3.2).
/// </summary>
public record ClientRequest
{
    /// <summary><c>client_id</c>.</summary>
    public string? ClientId { get; init; }

    /// <summary><c>client_secret</c>.</summary>
    public Secret? ClientSecret { get; init; }

    /// <summary><c>client_assertion</c> (RFC 7521 §4.2).</summary>
    public Secret? ClientAssertion { get; init; }

    /// <summary><c>client_assertion_type</c> (RFC 7521 §4.2).</summary>
    public string? ClientAssertionType { get; init; }

    /// <summary>The value of the Authorization header, scheme and all.</summary>
    public Secret? Authorization { get; init; }

    /// <summary>The certificate of the client (RFC 8705 §2).</summary>
    public ClientCertificate? Certificate { get; init; }

    /// <summary>Whether there was one in a header that nobody may send but a known proxy, and that was not looked at.</summary>
    public bool CertificateHeaderIgnored { get; init; }

    /// <summary>What came where there is no certificate, for the operator.</summary>
    public string WithoutCertificate => CertificateHeaderIgnored
        ? "no certificate of its own; a Client-Cert header was ignored, since it does not come from a known proxy (TokenService:ForwardedHeaders:KnownProxies)"
        : "no certificate";
}
