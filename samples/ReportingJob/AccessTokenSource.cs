using System.Net;
using System.Net.Http.Json;
using System.Text.Json.Serialization;

namespace ReportingJob;

/// <summary>Gets an access token, and keeps it until shortly before it expires: one token serves many calls.</summary>
/// <param name="tokenEndpoint">The token endpoint.</param>
/// <param name="credential">What the client proves itself with.</param>
/// <param name="scope">The scopes to ask for, separated by spaces.</param>
/// <param name="time">Its monotonic time is used.</param>
/// <param name="key">The key that tokens are bound to, if any.</param>
public sealed class AccessTokenSource(Uri tokenEndpoint, ClientCredential credential, string scope, TimeProvider time, DPoPKey? key = null) : IDisposable
{
    // A token that ends while its request is on the way would be refused.
    private static readonly TimeSpan s_margin = TimeSpan.FromSeconds(30);

    private readonly HttpClient _http = new(credential.Connect());
    private readonly SemaphoreSlim _one = new(1, 1);
    private string? _token;
    private string? _nonce;
    private long _fetchedAt;
    private TimeSpan _goodFor;

    /// <summary>How many tokens have been fetched.</summary>
    public int Fetched { get; private set; }

    /// <summary>The token to send now.</summary>
    /// <exception cref="HttpRequestException">The service refused or cannot be reached; the message has its <c>error_description</c>.</exception>
    public async Task<string> Get(CancellationToken cancellation)
    {
        // One fetch at a time: the calls that wait get the same token.
        await _one.WaitAsync(cancellation);
        try
        {
            if (_token is not { } token || time.GetElapsedTime(_fetchedAt) >= _goodFor)
            {
                token = await Fetch(cancellation);
            }

            return token;
        }
        finally
        {
            _one.Release();
        }
    }

    /// <summary>Drops a token that the API refused before its time, unless a newer one is there already.</summary>
    public void Forget(string token) => Interlocked.CompareExchange(ref _token, null, token);

    /// <inheritdoc/>
    public void Dispose()
    {
        _http.Dispose();
        _one.Dispose();
    }

    private async Task<string> Fetch(CancellationToken cancellation)
    {
        var asked = time.GetTimestamp();
        var response = await Ask(cancellation);
        if (response.StatusCode == HttpStatusCode.BadRequest && key is not null && (await response.Content.ReadAsStringAsync(cancellation)).Contains("use_dpop_nonce", StringComparison.Ordinal))
        {
            // The answer has brought the nonce to use (RFC 9449 §8).
            response.Dispose();
            response = await Ask(cancellation);
        }

        using (response)
        {
            return await Take(response, asked, cancellation);
        }
    }

    private async Task<HttpResponseMessage> Ask(CancellationToken cancellation)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, tokenEndpoint);
        if (key is not null)
        {
            request.Headers.Add("DPoP", key.Prove(request.Method, tokenEndpoint, _nonce));
        }

        var form = new Dictionary<string, string> { ["grant_type"] = "client_credentials", ["scope"] = scope };
        credential.Prove(request, form);
        request.Content = new FormUrlEncodedContent(form);
        var response = await _http.SendAsync(request, cancellation);
        if (response.Headers.TryGetValues("DPoP-Nonce", out var nonces))
        {
            _nonce = nonces.First();
        }

        return response;
    }

    private async Task<string> Take(HttpResponseMessage response, long asked, CancellationToken cancellation)
    {
        if (!response.IsSuccessStatusCode)
        {
            throw new HttpRequestException($"{(int)response.StatusCode} {await response.Content.ReadAsStringAsync(cancellation)}");
        }

        var answer = await response.Content.ReadFromJsonAsync<TokenAnswer>(cancellation)
            ?? throw new HttpRequestException("The token endpoint answered without a token.");
        (_token, _fetchedAt, _goodFor) = (answer.AccessToken, asked, TimeSpan.FromSeconds(answer.ExpiresIn) - s_margin);
        Fetched++;
        return answer.AccessToken;
    }

    private sealed record TokenAnswer(
        [property: JsonPropertyName("access_token")] string AccessToken,
        [property: JsonPropertyName("expires_in")] long ExpiresIn);
}
