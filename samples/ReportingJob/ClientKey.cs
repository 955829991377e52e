using System.Security.Cryptography;
using Microsoft.IdentityModel.JsonWebTokens;
using Microsoft.IdentityModel.Tokens;

namespace ReportingJob;

/// <summary>
/// A private key that never leaves the job: each request carries an assertion that it signs (<c>private_key_jwt</c>, RFC 7523 §2.2).
/// </summary>
/// <param name="clientId">The client id.</param>
/// <param name="pem">The private key, as <c>new-key</c> writes it.</param>
/// <param name="issuer">Whom the assertion is for: the issuer of the token service.</param>
/// <param name="time">Its wall time is used, for <c>exp</c>.</param>
public sealed class ClientKey(string clientId, string pem, string issuer, TimeProvider time) : ClientCredential
{
    private static readonly JsonWebTokenHandler s_writer = new() { SetDefaultTimesOnTokenCreation = false };

    private readonly SigningCredentials _key = Read(pem);

    /// <inheritdoc/>
    public override void Prove(HttpRequestMessage request, IDictionary<string, string> form)
    {
        form["client_assertion_type"] = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
        form["client_assertion"] = s_writer.CreateToken(new SecurityTokenDescriptor
        {
            TokenType = "client-authentication+jwt",
            Issuer = clientId,
            Audience = issuer,
            Expires = time.GetUtcNow().UtcDateTime.AddMinutes(1),
            Claims = new Dictionary<string, object>
            {
                [JwtRegisteredClaimNames.Sub] = clientId,

                // Good for one request: each assertion needs its own.
                [JwtRegisteredClaimNames.Jti] = Guid.NewGuid().ToString(),
            },
            SigningCredentials = _key,
        });
    }

    private static SigningCredentials Read(string pem)
    {
        try
        {
            var rsa = RSA.Create();
            rsa.ImportFromPem(pem);
            return new SigningCredentials(new RsaSecurityKey(rsa), SecurityAlgorithms.RsaSha256);
        }
        catch (CryptographicException)
        {
            // "PRIVATE KEY" is all that PEM says of either kind.
            var ec = ECDsa.Create();
            ec.ImportFromPem(pem);
            return new SigningCredentials(new ECDsaSecurityKey(ec), ec.KeySize switch { 256 => "ES256", 384 => "ES384", _ => "ES512" });
        }
    }
}
