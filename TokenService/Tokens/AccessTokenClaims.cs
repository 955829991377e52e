using System;
using System.Collections.Immutable;
using System.Text.Json;

namespace TokenService.Tokens;

/// <summary>The claims of an access token (RFC 9068 §2.2).</summary>
public static class AccessTokenClaims
{
    /// <summary>
    /// Writes the claims. There is no <c>nbf</c>: a verifier whose clock is a moment behind would refuse the token. <c>aud</c> is a
    /// string, and an array only for several resources: many verifiers read nothing else.
    /// </summary>
    /// <param name="json">Where to.</param>
    /// <param name="token">What was granted.</param>
    /// <param name="scope">The granted scopes, with single spaces between them.</param>
    /// <param name="issuer">The issuer.</param>
    /// <param name="tokenId">A value that no other token has, in ASCII.</param>
    /// <param name="now">The time of issuing; its fraction of a second is dropped.</param>
    public static void Write(Utf8JsonWriter json, GrantedToken token, string scope, string issuer, ReadOnlySpan<byte> tokenId, DateTimeOffset now)
    {
        var issuedAt = now.ToUnixTimeSeconds();
        json.WriteStartObject();
        json.WriteString("iss"u8, issuer);
        json.WriteString("sub"u8, token.Delegation?.Subject ?? token.ClientId);
        json.WriteString("client_id"u8, token.ClientId);
        WriteAudience(json, token.Audience);
        json.WriteString("scope"u8, scope);
        json.WriteNumber("iat"u8, issuedAt);
        json.WriteNumber("exp"u8, issuedAt + (long)token.Lifetime.TotalSeconds);
        json.WriteString("jti"u8, tokenId);
        if (token.Delegation is { } delegation)
        {
            WriteDelegation(json, delegation);
        }

        if (token.Confirmation is { } confirmation)
        {
            WriteConfirmation(json, confirmation);
        }

        json.WriteEndObject();
    }

    private static void WriteConfirmation(Utf8JsonWriter json, Confirmation confirmation)
    {
        json.WriteStartObject("cnf"u8);
        if (confirmation.Jkt is { } key)
        {
            json.WriteString("jkt"u8, key);
        }

        if (confirmation.X5tS256 is { } certificate)
        {
            json.WriteString("x5t#S256"u8, certificate);
        }

        json.WriteEndObject();
    }

    // RFC 8693 §4.1: each actor holds the one before it.
    private static void WriteDelegation(Utf8JsonWriter json, Delegation delegation)
    {
        foreach (var actor in delegation.Actors)
        {
            json.WriteStartObject("act"u8);
            json.WriteString("sub"u8, actor);
        }

        for (var i = 0; i < delegation.Actors.Length; i++)
        {
            json.WriteEndObject();
        }

        json.WriteStartArray("exchanged_from"u8);
        foreach (var id in delegation.ExchangedFrom)
        {
            json.WriteStringValue(id);
        }

        json.WriteEndArray();
    }

    private static void WriteAudience(Utf8JsonWriter json, ImmutableArray<string> resources)
    {
        if (resources is [var single])
        {
            json.WriteString("aud"u8, single);
            return;
        }

        json.WriteStartArray("aud"u8);
        foreach (var resource in resources)
        {
            json.WriteStringValue(resource);
        }

        json.WriteEndArray();
    }
}
