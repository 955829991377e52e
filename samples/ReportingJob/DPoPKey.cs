using System.Security.Cryptography;
using System.Text;
using Microsoft.IdentityModel.JsonWebTokens;
using Microsoft.IdentityModel.Tokens;

namespace ReportingJob;

/// <summary>A key that lives as long as the job, and to which its tokens are bound (DPoP, RFC 9449): a token that is copied is of no use without it.</summary>
/// <param name="time">The clock.</param>
public sealed class DPoPKey(TimeProvider time) : IDisposable
{
    private static readonly JsonWebTokenHandler s_writer = new() { SetDefaultTimesOnTokenCreation = false };

    private readonly ECDsa _key = ECDsa.Create(ECCurve.NamedCurves.nistP256);

    /// <summary>A proof of the key, for one request.</summary>
    /// <param name="method">Its HTTP method.</param>
    /// <param name="address">Its address.</param>
    /// <param name="nonce">The nonce that the service asked for, if any.</param>
    /// <param name="token">The token that goes with it, if any.</param>
    public string Prove(HttpMethod method, Uri address, string? nonce = null, string? token = null)
    {
        var point = _key.ExportParameters(includePrivateParameters: false).Q;
        var claims = new Dictionary<string, object>
        {
            ["htm"] = method.Method,
            ["htu"] = address.GetLeftPart(UriPartial.Path),
            ["iat"] = time.GetUtcNow().ToUnixTimeSeconds(),
            ["jti"] = Guid.NewGuid().ToString(),
        };
        if (nonce is not null)
        {
            claims["nonce"] = nonce;
        }

        if (token is not null)
        {
            claims["ath"] = Base64UrlEncoder.Encode(SHA256.HashData(Encoding.ASCII.GetBytes(token)));
        }

        return s_writer.CreateToken(new SecurityTokenDescriptor
        {
            TokenType = "dpop+jwt",
            Claims = claims,
            AdditionalHeaderClaims = new Dictionary<string, object>
            {
                ["jwk"] = new Dictionary<string, object>
                {
                    ["kty"] = "EC",
                    ["crv"] = "P-256",
                    ["x"] = Base64UrlEncoder.Encode(point.X),
                    ["y"] = Base64UrlEncoder.Encode(point.Y),
                },
            },
            SigningCredentials = new SigningCredentials(new ECDsaSecurityKey(_key), SecurityAlgorithms.EcdsaSha256),
        });
    }

    /// <inheritdoc/>
    public void Dispose() => _key.Dispose();
}
