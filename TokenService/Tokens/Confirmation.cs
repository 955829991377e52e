using System.Buffers.Text;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace TokenService.Tokens;

/// <summary>What a token is bound to (<c>cnf</c>, RFC 7800 §3.1): whoever cannot prove that it has this key cannot use the token.</summary>
public sealed record Confirmation
{
    /// <summary><c>jkt</c>: the thumbprint of a DPoP key (RFC 9449 §6.1).</summary>
    public string? Jkt { get; init; }

    /// <summary><c>x5t#S256</c>: the SHA-256 of a certificate, in base64url (RFC 8705 §3.1).</summary>
    public string? X5tS256 { get; init; }

    /// <summary>The thumbprint of a certificate as <see cref="X5tS256"/> has it.</summary>
    /// <param name="certificate">The certificate of the client's TLS connection.</param>
    public static string ThumbprintOf(X509Certificate2 certificate) => Base64Url.EncodeToString(SHA256.HashData(certificate.RawDataMemory.Span));
}
