using System.Text.Json;
using Microsoft.AspNetCore.Authentication.JwtBearer;
using Microsoft.IdentityModel.JsonWebTokens;

namespace CatalogApi;

/// <summary>
/// Refuses a stolen token: one that is bound to something (<c>cnf</c>, RFC 7800) is good only for who has it, a certificate or a key. Whoever has
/// copied the token lacks the private key.
/// </summary>
/// <param name="dpop">Checks the proofs of keys.</param>
internal sealed class TokenBinding(DPoPBinding dpop)
{
    /// <summary>Checks it. A token that is bound to nothing passes as a bearer token; one that is bound to something that this API does not know does not.</summary>
    public async Task Check(TokenValidatedContext context)
    {
        var http = context.HttpContext;
        var token = (JsonWebToken)context.SecurityToken;
        List<JsonProperty> bindings = token.TryGetPayloadValue<JsonElement>("cnf", out var cnf) ? [.. cnf.EnumerateObject()] : [];
        if (DPoPBinding.IsSent(http.Request) != bindings.Exists(binding => binding.Name == "jkt"))
        {
            context.Fail("A token that is bound to a key is sent by the scheme DPoP, and no other is.");
            return;
        }

        foreach (var binding in bindings)
        {
            var holds = binding.Name switch
            {
                "x5t#S256" => CertificateBinding.Holds(binding.Value, http.Connection),
                "jkt" => await dpop.Holds(binding.Value, token.EncodedToken, http.Request),
                _ => false,
            };
            if (!holds)
            {
                context.Fail(binding.Name == "jkt"
                    ? "The token is bound to another key, or the proof of it is not good for this request."
                    : "The token is bound to the certificate of another connection.");
                return;
            }
        }
    }
}
