using System;
using System.Buffers.Text;
using System.Collections.Generic;
using System.Globalization;
using System.Security.Cryptography;
using Microsoft.IdentityModel.JsonWebTokens;
using Microsoft.IdentityModel.Tokens;
using TokenService.Authentication;
using TokenService.Keys;
using TokenService.Protocol;

namespace TokenService.Administration;

/// <summary>Writes client assertions (RFC 7523 §2.2), in the client's place.</summary>
public static class ClientAssertionWriter
{
    private static readonly JsonWebTokenHandler s_writer = new() { SetDefaultTimesOnTokenCreation = false };

    /// <summary>Writes and signs one, with a <c>jti</c> of its own.</summary>
    /// <param name="clientId">The client: <c>iss</c> and <c>sub</c>.</param>
    /// <param name="key">Its key pair. There is no <c>kid</c>: it may be registered under any.</param>
    /// <param name="audience">The issuer that it is for.</param>
    /// <param name="lifetime">How long it may be used: up to ten minutes, which is the most that the service takes.</param>
    /// <param name="now">The time of writing.</param>
    /// <exception cref="OperatorFaultException">The lifetime is out of bounds.</exception>
    public static string Write(string clientId, SigningKey key, string audience, TimeSpan lifetime, DateTimeOffset now)
    {
        if (lifetime <= TimeSpan.Zero || lifetime > AssertionRules.LongestLifetime)
        {
            throw new OperatorFaultException(string.Create(
                CultureInfo.InvariantCulture, $"An assertion lives for up to {AssertionRules.LongestLifetime.TotalMinutes} minutes; the lifetime given is {lifetime}."));
        }

        var issuedAt = now.ToUnixTimeSeconds();
        var withoutKid = key.Credentials.Key switch
        {
            RsaSecurityKey rsa => (SecurityKey)new RsaSecurityKey(rsa.Parameters),
            var ec => new ECDsaSecurityKey(((ECDsaSecurityKey)ec).ECDsa),
        };
        return s_writer.CreateToken(new SecurityTokenDescriptor
        {
            TokenType = "client-authentication+jwt",
            Claims = new Dictionary<string, object>(StringComparer.Ordinal)
            {
                [JwtRegisteredClaimNames.Iss] = clientId,
                [JwtRegisteredClaimNames.Sub] = clientId,
                [JwtRegisteredClaimNames.Aud] = audience,
                [JwtRegisteredClaimNames.Iat] = issuedAt,
                [JwtRegisteredClaimNames.Exp] = issuedAt + (long)lifetime.TotalSeconds,
                [JwtRegisteredClaimNames.Jti] = Base64Url.EncodeToString(RandomNumberGenerator.GetBytes(16)),
            },
            SigningCredentials = new SigningCredentials(withoutKid, key.Algorithm),
        });
    }
}
