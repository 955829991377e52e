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

    private static readonly FailedCheck s_form = new("token", "two JSON objects and a signature, each in base64url, with dots between", "something else");
    private static readonly FailedCheck s_claims = new("claims", "those of an access token of this service", "others, or not all of them");
    private static readonly FailedCheck s_signature = new("signature", "one by the key that kid names", "another one");

    /// <summary>Reads a token.</summary>
    /// <param name="text">What somebody says is a token.</param>
    /// <param name="issuer">The issuer.</param>
    /// <param name="keys">The keys of the service; a token by any other, or by one that was retired, is none.</param>
    /// <param name="now">The time of the request.</param>
    /// <returns>The token, or <see langword="null"/> where it is not one of this service or has expired.</returns>
    public static AccessToken? Read(string text, string issuer, SigningKeyRing keys, DateTimeOffset now) => Inspect(text, issuer, keys, now).Token;

    /// <summary>Takes a token apart and tells all that is wrong with it, for operators alone.</summary>
    /// <param name="text">What somebody says is a token.</param>
    /// <param name="issuer">The issuer.</param>
    /// <param name="keys">The keys of the service; a token by any other, or by one that was retired, is none.</param>
    /// <param name="now">The time of the request.</param>
    public static InspectedToken Inspect(string text, string issuer, SigningKeyRing keys, DateTimeOffset now)
    {
        var parts = text.Split('.');
        var (header, payload) = parts is [var first, var second, _] ? (ReadObject(first), ReadObject(second)) : (null, null);
        if (header is not { } jose || payload is not { } claims || StrictBase64Url.Decode(parts[2]) is not { Length: > 0 } signature)
        {
            return new InspectedToken { Header = header, Claims = payload, Faults = [s_form] };
        }

        var token = Of(claims);
        ImmutableArray<FailedCheck> faults =
        [
            .. SignatureFaults(jose, $"{parts[0]}.{parts[1]}", signature, keys),

            // The service signed it, so it says what the service says; an older issuer is another one all the same.
            .. Text(claims, "iss") == issuer ? (ReadOnlySpan<FailedCheck>)[] : [new("iss", issuer, Shown(claims, "iss"))],
            .. token is null ? (ReadOnlySpan<FailedCheck>)[s_claims] : [],
            .. token is not null && token.IssuedAt > now + s_skew ? (ReadOnlySpan<FailedCheck>)[new("iat", "a time that is not to come", $"{token.IssuedAt:u}")] : [],
            .. token is not null && now >= token.ExpiresAt ? (ReadOnlySpan<FailedCheck>)[new("exp", $"a time after {now:u}", $"{token.ExpiresAt:u}")] : [],
        ];
        return new InspectedToken { Header = header, Claims = payload, Faults = faults, Token = faults.IsEmpty ? token : null };
    }

    /// <summary>Reads what was signed a moment ago: that it is a token of this service needs no proof.</summary>
    /// <param name="token">What <see cref="AccessTokenIssuer"/> made, in ASCII.</param>
    /// <exception cref="ArgumentException">It is no such token.</exception>
    internal static AccessToken ReadOwn(ReadOnlySpan<byte> token)
        => Encoding.ASCII.GetString(token).Split('.') is [_, var payload, _] && ReadObject(payload) is { } claims && Of(claims) is { } read
            ? read
            : throw new ArgumentException("No access token of this service.", nameof(token));

    private static ImmutableArray<FailedCheck> SignatureFaults(JsonElement jose, string content, byte[] signature, SigningKeyRing keys)
    {
        if (Text(jose, "typ") != AccessTokenIssuer.TokenType)
        {
            return [new("typ", AccessTokenIssuer.TokenType, Shown(jose, "typ"))];
        }

        var key = keys.Keys.FirstOrDefault(candidate => candidate.Kid == Text(jose, "kid"));
        return key is null ? [new("kid", "the kid of a key of this service, as keys list shows them", Shown(jose, "kid"))]
            : key.Algorithm != Text(jose, "alg") ? [new("alg", key.Algorithm, Shown(jose, "alg"))]
            : !key.Verifies(Encoding.ASCII.GetBytes(content), signature) ? [s_signature]
            : [];
    }

    // A number or an object says enough by its place in the token.
    private static string Shown(JsonElement element, string member) => !element.TryGetProperty(member, out var value) ? "nothing"
        : value.ValueKind == JsonValueKind.String ? Printable.Quote(value.GetString()!)
        : "another kind of value";

    private static AccessToken? Of(JsonElement claims)
        => Text(claims, "jti") is { Length: > 0 } tokenId
            && Text(claims, "client_id") is { Length: > 0 } clientId
            && Text(claims, "sub") is { Length: > 0 } subject
            && Text(claims, "scope") is { Length: > 0 } scope
            && Texts(claims, "aud") is { IsEmpty: false } audience
            && Time(claims, "iat") is { } issuedAt
            && Time(claims, "exp") is { } expiresAt
            && ReadsDelegation(claims, clientId, subject, out var delegation)
            ? new AccessToken
            {
                TokenId = tokenId,
                ClientId = clientId,
                Subject = subject,
                Delegation = delegation,
                Scope = scope,
                Audience = audience,
                IssuedAt = issuedAt,
                ExpiresAt = expiresAt,
                Claims = claims,
            }
            : null;

    private static JsonElement? ReadObject(string part) => StrictBase64Url.Decode(part) is { } utf8 ? StrictJson.ReadObject(utf8) : null;

    private static string? Text(JsonElement element, string member)
        => element.TryGetProperty(member, out var value) && value.ValueKind == JsonValueKind.String ? value.GetString() : null;

    // A token that was not exchanged has neither claim and is its client's own; one that was has what the issuer wrote, all of it.
    private static bool ReadsDelegation(JsonElement claims, string clientId, string subject, out Delegation? delegation)
    {
        delegation = null;
        var exchanged = claims.TryGetProperty("exchanged_from", out _);
        if (!exchanged)
        {
            return subject == clientId && !claims.TryGetProperty("act", out _);
        }

        var ids = Texts(claims, "exchanged_from");
        var actors = ImmutableArray.CreateBuilder<string>(1);
        for (var holder = claims; holder.TryGetProperty("act", out var act); holder = act)
        {
            if (act.ValueKind != JsonValueKind.Object || Text(act, "sub") is not { Length: > 0 } actor)
            {
                return false;
            }

            actors.Add(actor);
        }

        delegation = new(subject, actors.DrainToImmutable(), ids);
        return ids.Length is > 0 and <= Delegation.MostExchanges && delegation.Actors.Length <= ids.Length
            && clientId == (delegation.Actors.IsEmpty ? subject : delegation.Actors[0]);
    }

    private static ImmutableArray<string> Texts(JsonElement claims, string member) => claims.TryGetProperty(member, out var value) ? value.ValueKind switch
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
