using System.Net;
using System.Net.Http.Headers;

namespace ReportingJob;

/// <summary>Puts a token that is bound to a key on each request, and a proof of the key for that request beside it (RFC 9449 §7.1).</summary>
/// <param name="tokens">Where the token comes from.</param>
/// <param name="key">The key that it is bound to.</param>
public sealed class DPoPTokenHandler(AccessTokenSource tokens, DPoPKey key) : DelegatingHandler
{
    /// <inheritdoc/>
    protected override async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
    {
        var token = await tokens.Get(cancellationToken);
        request.Headers.Authorization = new AuthenticationHeaderValue("DPoP", token);
        request.Headers.Remove("DPoP");
        request.Headers.Add("DPoP", key.Prove(request.Method, request.RequestUri!, token: token));
        var response = await base.SendAsync(request, cancellationToken);
        if (response.StatusCode == HttpStatusCode.Unauthorized)
        {
            // The next call gets a fresh one.
            tokens.Forget(token);
        }

        return response;
    }
}
