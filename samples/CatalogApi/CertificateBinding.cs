using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text.Json;

namespace CatalogApi;

/// <summary>A token that is bound to a certificate (RFC 8705 §3) is good only in a TLS connection with that certificate.</summary>
internal static class CertificateBinding
{
    /// <summary>Whether the connection has the certificate.</summary>
    /// <param name="thumbprint">The <c>x5t#S256</c> of the token.</param>
    /// <param name="connection">The connection that it came by.</param>
    public static bool Holds(JsonElement thumbprint, ConnectionInfo connection)
        => connection.ClientCertificate is { } certificate
            && thumbprint.ValueEquals(Base64Url.EncodeToString(SHA256.HashData(certificate.RawDataMemory.Span)));
}
