using System;
using System.Buffers.Text;
using TokenService.Keys;
using TokenService.Protocol;

namespace TokenService.Tokens;

/// <summary>Signs granted tokens (RFC 9068).</summary>
/// <remarks>
/// The JWS is put together here and not by the JWT library, whose objects cost as much again as a P-256 signature. That each token is what
/// the library makes of the same claims, and readable by it, a test shows.
/// </remarks>
public static class AccessTokenIssuer
{
    /// <summary>The <c>typ</c> of an access token (RFC 9068 §2.1): no other JWT passes for one.</summary>
    public const string TokenType = "at+jwt";

    /// <summary>Makes the JWT and the answer that carries it.</summary>
    /// <param name="token">What was granted.</param>
    /// <param name="issuer">The issuer.</param>
    /// <param name="key">The key to sign with.</param>
    /// <param name="now">The time of issuing.</param>
    public static TokenResponse Issue(GrantedToken token, string issuer, SigningKey key, DateTimeOffset now)
    {
        var scope = token.Scopes is [var single] ? single : string.Join(' ', token.Scopes);
        Span<byte> tokenId = stackalloc byte[TokenId.Length];
        TokenId.Write(tokenId);

        AccessTokenClaims.Write(JsonBuffer.Begin(), token, scope, issuer, tokenId, now);
        return new TokenResponse
        {
            AccessToken = Sign(JsonBuffer.End(), key),
            TokenType = token.Confirmation?.Jkt is null ? "Bearer" : "DPoP",
            ExpiresIn = (long)token.Lifetime.TotalSeconds,
            Scope = scope,
            IssuedTokenType = token.Delegation is null ? null : TokenTypes.AccessToken,
        };
    }

    // A JWS in its compact form (RFC 7515 §7.1).
    private static byte[] Sign(ReadOnlySpan<byte> claims, SigningKey key)
    {
        var header = key.AccessTokenHeader.Span;
        var signedLength = header.Length + 1 + Base64Url.GetEncodedLength(claims.Length);
        var token = new byte[signedLength + 1 + Base64Url.GetEncodedLength(key.SignatureLength)];
        header.CopyTo(token);
        token[header.Length] = (byte)'.';
        Base64Url.EncodeToUtf8(claims, token.AsSpan(header.Length + 1));
        token[signedLength] = (byte)'.';

        Span<byte> signature = stackalloc byte[key.SignatureLength];
        key.Sign(token.AsSpan(0, signedLength), signature);
        Base64Url.EncodeToUtf8(signature, token.AsSpan(signedLength + 1));
        return token;
    }
}
