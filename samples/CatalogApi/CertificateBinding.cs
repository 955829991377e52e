using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text.Json;
using Microsoft.AspNetCore.Authentication.JwtBearer;
using Microsoft.IdentityModel.JsonWebTokens;

namespace CatalogApi;

/// <summary>
/// Refuses a stolen token: one that is bound to a certificate (RFC 8705 §3) is good only in a TLS connection with that certificate, so that whoever
/// has copied it lacks the private key.
/// </summary>
internal static class CertificateBinding
{
    /// <summary>Checks it. A token that is bound to nothing passes; one that is bound to something that this API does not know does not.</summary>
    public static Task Check(TokenValidatedContext context)
    {
        if (((JsonWebToken)context.SecurityToken).TryGetPayloadValue<JsonElement>("cnf", out var binding) && !IsBoundTo(binding, context.HttpContext.Connection))
        {
            context.Fail("The token is bound to the certificate of another connection.");
        }

        return Task.CompletedTask;
    }

    private static bool IsBoundTo(JsonElement binding, ConnectionInfo connection)
        => connection.ClientCertificate is { } certificate
            && binding.TryGetProperty("x5t#S256", out var thumbprint)
            && thumbprint.ValueEquals(Base64Url.EncodeToString(SHA256.HashData(certificate.RawDataMemory.Span)));
}
