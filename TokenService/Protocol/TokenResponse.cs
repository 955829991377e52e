namespace TokenService.Protocol;

/// <summary>A successful answer of the token endpoint (RFC 6749 §5.1). There is no refresh token (RFC 6749 §4.4.3).</summary>
public sealed record TokenResponse
{
    /// <summary>The signed JWT.</summary>
    public required string AccessToken { get; init; }

    /// <summary>How the token is used: <c>Bearer</c> (RFC 6750).</summary>
    public required string TokenType { get; init; }

    /// <summary>The token's life in seconds.</summary>
    public required long ExpiresIn { get; init; }

    /// <summary>What was granted: scope names separated by single spaces.</summary>
    public required string Scope { get; init; }
}
