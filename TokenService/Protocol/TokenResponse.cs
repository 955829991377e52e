using System;
using System.Text.Json;

namespace TokenService.Protocol;

/// <summary>A successful answer of the token endpoint (RFC 6749 §5.1). There is no refresh token (RFC 6749 §4.4.3).</summary>
public sealed record TokenResponse
{
    /// <summary>The signed JWT, in ASCII.</summary>
    public required ReadOnlyMemory<byte> AccessToken { get; init; }

    /// <summary>How the token is used: <c>Bearer</c> (RFC 6750).</summary>
    public required string TokenType { get; init; }

    /// <summary>The token's life in seconds.</summary>
    public required long ExpiresIn { get; init; }

    /// <summary>What was granted: scope names separated by single spaces.</summary>
    public required string Scope { get; init; }

    /// <summary>What kind of token it is, where it was exchanged for another (RFC 8693 §2.2.1): one of <see cref="TokenTypes"/>.</summary>
    public string? IssuedTokenType { get; init; }

    /// <summary>Writes the answer as JSON.</summary>
    /// <param name="json">Where to.</param>
    public void Write(Utf8JsonWriter json)
    {
        json.WriteStartObject();
        json.WriteString("access_token"u8, AccessToken.Span);
        if (IssuedTokenType is not null)
        {
            json.WriteString("issued_token_type"u8, IssuedTokenType);
        }

        json.WriteString("token_type"u8, TokenType);
        json.WriteNumber("expires_in"u8, ExpiresIn);
        json.WriteString("scope"u8, Scope);
        json.WriteEndObject();
    }
}
