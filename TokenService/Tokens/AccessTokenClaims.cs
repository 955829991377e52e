using System;
using System.Collections.Generic;
using Microsoft.IdentityModel.JsonWebTokens;

namespace TokenService.Tokens;

/// <summary>The claims of an access token (RFC 9068 §2.2).</summary>
public static class AccessTokenClaims
{
    /// <summary>
    /// The claims by name. There is no <c>nbf</c>: a verifier whose clock is a moment behind would refuse the token. <c>aud</c> is a
    /// string, and an array only for several resources: many verifiers read nothing else.
    /// </summary>
    /// <param name="token">What was granted.</param>
    /// <param name="issuer">The issuer.</param>
    /// <param name="tokenId">A value that no other token has.</param>
    /// <param name="now">The time of issuing; its fraction of a second is dropped.</param>
    public static Dictionary<string, object> Of(GrantedToken token, string issuer, string tokenId, DateTimeOffset now)
    {
        var issuedAt = now.ToUnixTimeSeconds();
        return new(StringComparer.Ordinal)
        {
            [JwtRegisteredClaimNames.Iss] = issuer,
            [JwtRegisteredClaimNames.Sub] = token.ClientId,
            ["client_id"] = token.ClientId,
            [JwtRegisteredClaimNames.Aud] = token.Audience is [var single] ? single : new List<string>(token.Audience),
            ["scope"] = string.Join(' ', token.Scopes),
            [JwtRegisteredClaimNames.Iat] = issuedAt,
            [JwtRegisteredClaimNames.Exp] = issuedAt + (long)token.Lifetime.TotalSeconds,
            [JwtRegisteredClaimNames.Jti] = tokenId,
        };
    }
}
