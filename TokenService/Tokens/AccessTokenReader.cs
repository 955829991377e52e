using System;
using System.Collections.Immutable;
using System.Linq;
using System.Text;
using System.Text.Json;
using TokenService.Keys;
using TokenService.Protocol;

namespace TokenService.Tokens;

/// <summary>Reads back what <see cref="AccessTokenIssuer"/> made, and nothing else. Pure.</summary>
/// <remarks>
/// The JWT is taken apart as strictly as a client assertion is, before the library sees its signature: no encrypted tokens, one spelling
/// of base64url, no member twice. Which key and algorithm may be follows from the ring alone: the header's <c>kid</c> only chooses among its
/// keys, and its <c>alg</c> must be that key's own.
/// </remarks>
public static class AccessTokenReader
{
    // A clock that was ahead made it: by the right one, it is good for longer than anybody meant.
    private static readonly TimeSpan s_skew = TimeSpan.FromMinutes(1);

    private const long LastSecond = 253_402_300_799;

    /// <summary>Reads a token.</summary>
    /// <param name="text">What somebody says is a token.</param>
    /// <param name="issuer">The issuer.</param>
    /// <param name="keys">The keys of the service; a token by any other, or by one that was retired, is none.</param>
    /// <param name="now">The time of the request.</param>
    /// <returns>The token, or <see langword="null"/> where it is not one of this service or has expired.</returns>
    public static AccessToken? Read(string text, string issuer, SigningKeyRing keys, DateTimeOffset now)
    {
        if (text.Split('.') is not [var header, var payload, var signature]
            || ReadObject(header) is not { } jose || ReadObject(payload) is not { } claims
            || StrictBase64Url.Decode(signature) is not { Length: > 0 } signed)
        {
            return null;
        }

        var key = keys.Keys.FirstOrDefault(candidate => candidate.Kid == Text(jose, "kid"));
        if (key is null || key.Algorithm != Text(jose, "alg") || Text(jose, "typ") != AccessTokenIssuer.TokenType
            || !key.Verifies(Encoding.ASCII.GetBytes($"{header}.{payload}"), signed))
        {
            return null;
        }

        // The service signed it, so it says what the service says; an older issuer is another one all the same.
        return Text(claims, "iss") == issuer
            && Text(claims, "jti") is { Length: > 0 } tokenId
            && Text(claims, "client_id") is { Length: > 0 } clientId
            && Audience(claims) is { IsEmpty: false } audience
            && Time(claims, "iat") is { } issuedAt && issuedAt <= now + s_skew
            && Time(claims, "exp") is { } expiresAt && now < expiresAt
            ? new AccessToken
            {
                TokenId = tokenId,
                ClientId = clientId,
                Audience = audience,
                IssuedAt = issuedAt,
                ExpiresAt = expiresAt,
                Claims = claims,
            }
            : null;
    }

    private static JsonElement? ReadObject(string part) => StrictBase64Url.Decode(part) is { } utf8 ? StrictJson.ReadObject(utf8) : null;

    private static string? Text(JsonElement element, string member)
        => element.TryGetProperty(member, out var value) && value.ValueKind == JsonValueKind.String ? value.GetString() : null;

    private static ImmutableArray<string> Audience(JsonElement claims) => claims.TryGetProperty("aud", out var value) ? value.ValueKind switch
    {
        JsonValueKind.String => [value.GetString()!],
        JsonValueKind.Array when value.EnumerateArray().All(item => item.ValueKind == JsonValueKind.String)
            => [.. value.EnumerateArray().Select(item => item.GetString()!)],
        _ => [],
    }
    : [];

    private static DateTimeOffset? Time(JsonElement claims, string member)
        => claims.TryGetProperty(member, out var value) && value.ValueKind == JsonValueKind.Number
            && value.TryGetInt64(out var seconds) && seconds is > 0 and <= LastSecond
            ? DateTimeOffset.FromUnixTimeSeconds(seconds)
            : null;
}
