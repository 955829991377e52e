using System.Net.Http.Headers;
using System.Text;

namespace ReportingJob;

/// <summary>A secret that the service knows too, sent with each request (<c>client_secret_basic</c>, RFC 6749 §2.3.1).</summary>
/// <param name="clientId">The client id.</param>
/// <param name="secret">The client secret.</param>
public sealed class ClientSecret(string clientId, string secret) : ClientCredential
{
    /// <inheritdoc/>
    public override void Prove(HttpRequestMessage request, IDictionary<string, string> form)
    {
        // Id and secret are form-encoded before they are joined.
        var credentials = $"{Uri.EscapeDataString(clientId)}:{Uri.EscapeDataString(secret)}";
        request.Headers.Authorization = new AuthenticationHeaderValue("Basic", Convert.ToBase64String(Encoding.UTF8.GetBytes(credentials)));
    }
}
