using System.Net;
using System.Net.Http.Headers;

namespace ReportingJob;

/// <summary>Puts the access token on each request (RFC 6750 §2.1).</summary>
/// <param name="tokens">Where the token comes from.</param>
public sealed class BearerTokenHandler(AccessTokenSource tokens) : DelegatingHandler
{
    /// <inheritdoc/>
    protected override async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
    {
        var token = await tokens.Get(cancellationToken);
        request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", token);
        var response = await base.SendAsync(request, cancellationToken);
        if (response.StatusCode == HttpStatusCode.Unauthorized)
        {
            // The next call gets a fresh one.
            tokens.Forget(token);
        }

        return response;
    }
}
