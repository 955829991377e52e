using System.Collections.Immutable;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace TokenService.Protocol;

/// <summary>
/// The certificate that the client of a request has in its TLS connection (RFC 8705 §2), whether that ends here or at a known proxy (RFC 9440). That
/// it has the private key was proved there; nothing else is known of it.
/// </summary>
/// <param name="Certificate">The certificate.</param>
/// <param name="Others">What the client sent beside it, such as intermediates, in DER and in any order.</param>
public sealed record ClientCertificate(X509Certificate2 Certificate, ImmutableArray<byte[]> Others)
{
    /// <summary>A name of a certificate in printable words, for the operator.</summary>
    /// <param name="name">Subject or issuer: in a certificate that nobody has checked it may be anything.</param>
    public static string Words(X500DistinguishedName name)
    {
        try
        {
            return Printable.Quote(name.Name);
        }
        catch (CryptographicException)
        {
            return "a malformed name";
        }
    }
}
