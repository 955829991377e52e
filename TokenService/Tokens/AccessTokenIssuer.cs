using System;
using System.Buffers.Text;
using System.Security.Cryptography;
using Microsoft.IdentityModel.JsonWebTokens;
using Microsoft.IdentityModel.Tokens;
using TokenService.Keys;
using TokenService.Protocol;

namespace TokenService.Tokens;

/// <summary>Signs granted tokens (RFC 9068).</summary>
public static class AccessTokenIssuer
{
    /// <summary>The <c>typ</c> of an access token (RFC 9068 §2.1): no other JWT passes for one.</summary>
    public const string TokenType = "at+jwt";

    // Without this the library would add an nbf.
    private static readonly JsonWebTokenHandler s_writer = new() { SetDefaultTimesOnTokenCreation = false };

    /// <summary>Makes the JWT and the answer that carries it.</summary>
    /// <param name="token">What was granted.</param>
    /// <param name="issuer">The issuer.</param>
    /// <param name="key">The key to sign with.</param>
    /// <param name="now">The time of issuing.</param>
    public static TokenResponse Issue(GrantedToken token, string issuer, SigningKey key, DateTimeOffset now)
    {
        var tokenId = Base64Url.EncodeToString(RandomNumberGenerator.GetBytes(16));
        return new TokenResponse
        {
            AccessToken = s_writer.CreateToken(new SecurityTokenDescriptor
            {
                TokenType = TokenType,
                Claims = AccessTokenClaims.Of(token, issuer, tokenId, now),
                SigningCredentials = key.Credentials,
            }),
            TokenType = "Bearer",
            ExpiresIn = (long)token.Lifetime.TotalSeconds,
            Scope = string.Join(' ', token.Scopes),
        };
    }
}
