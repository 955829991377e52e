using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using Microsoft.AspNetCore.Authentication.JwtBearer;
using Microsoft.IdentityModel.JsonWebTokens;

namespace CatalogApi;

/// <summary>
/// Asks the token service whether a token is still good (RFC 7662), after the API has checked it on its own: so a token that was revoked
/// is refused at once, and not only once it has expired. It costs a call for each request.
/// </summary>
/// <param name="clientId">The API is a client too: one that asks for no tokens, and may ask about those for its resource.</param>
/// <param name="clientSecret">Its secret.</param>
internal sealed class Introspection(string clientId, string clientSecret)
{
    private static readonly HttpClient s_http = new() { Timeout = TimeSpan.FromSeconds(5) };

    // Both form-encoded (RFC 6749 §2.3.1).
    private readonly string _credentials = Convert.ToBase64String(
        Encoding.ASCII.GetBytes($"{Uri.EscapeDataString(clientId)}:{Uri.EscapeDataString(clientSecret)}"));

    /// <summary>Refuses a token that is no longer active. Where nobody can say so, that is a fault of the API, not of the token: 500.</summary>
    public async Task Check(TokenValidatedContext context)
    {
        var metadata = await context.Options.ConfigurationManager!.GetConfigurationAsync(context.HttpContext.RequestAborted);
        using var request = new HttpRequestMessage(HttpMethod.Post, metadata.IntrospectionEndpoint)
        {
            Headers = { Authorization = new AuthenticationHeaderValue("Basic", _credentials) },
            Content = new FormUrlEncodedContent([new("token", ((JsonWebToken)context.SecurityToken).EncodedToken)]),
        };
        using var response = await s_http.SendAsync(request, context.HttpContext.RequestAborted);
        response.EnsureSuccessStatusCode();

        var answer = await response.Content.ReadFromJsonAsync<JsonElement>(context.HttpContext.RequestAborted);
        if (!answer.GetProperty("active").GetBoolean())
        {
            context.Fail("The token is no longer active.");
        }
    }
}
