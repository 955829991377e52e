using System.Net.Security;
using System.Security.Cryptography.X509Certificates;

namespace ReportingJob;

/// <summary>
/// A certificate in each TLS connection (<c>tls_client_auth</c> and <c>self_signed_tls_client_auth</c>, RFC 8705 §2): to the token service, which it proves the
/// client to, and to the API, which takes a token that is bound to it from nobody else.
/// </summary>
/// <param name="clientId">The client id.</param>
/// <param name="file">The certificate in PEM, and any intermediates after it.</param>
/// <param name="keyFile">Its private key in PEM.</param>
public sealed class ClientCertificate(string clientId, string file, string keyFile) : ClientCredential
{
    /// <inheritdoc/>
    public override SocketsHttpHandler Connect()
    {
        var intermediates = new X509Certificate2Collection();
        intermediates.ImportFromPemFile(file);
        intermediates.RemoveAt(0);
        var context = SslStreamCertificateContext.Create(X509Certificate2.CreateFromPemFile(file, keyFile), intermediates, offline: true);
        return new SocketsHttpHandler { SslOptions = { ClientCertificateContext = context } };
    }

    /// <inheritdoc/>
    public override void Prove(HttpRequestMessage request, IDictionary<string, string> form) => form["client_id"] = clientId;
}
