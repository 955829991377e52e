using System.Collections.Immutable;

namespace TokenService.Protocol;

/// <summary>
/// A token request as it was sent: the form of RFC 6749 §4.4.2 with RFC 8707. A parameter sent without a value counts as left out (RFC 6749
/// §3.2), except <c>resource</c>.
/// </summary>
public sealed record TokenRequest : ClientRequest
{
    /// <summary><c>grant_type</c>.</summary>
    public string? GrantType { get; init; }

    /// <summary><c>scope</c>: scope names separated by single spaces (RFC 6749 §3.3).</summary>
    public string? Scope { get; init; }

    /// <summary>Each <c>resource</c> sent (RFC 8707 §2), the empty ones too.</summary>
    public ImmutableArray<string> Resources { get; init; } = [];

    /// <summary>The value of the <c>DPoP</c> header (RFC 9449 §4.1); of several, all of them with commas in between.</summary>
    public Secret? DPoP { get; init; }

    /// <summary>What a token exchange has beside these; <see langword="null"/> with any other <c>grant_type</c>.</summary>
    public TokenExchangeParameters? Exchange { get; init; }
}

/// <summary>The parameters of a token exchange that no other token request has (RFC 8693 §2.1), as they were sent.</summary>
public sealed record TokenExchangeParameters
{
    /// <summary><c>subject_token</c>.</summary>
    public Secret? SubjectToken { get; init; }

    /// <summary><c>subject_token_type</c>.</summary>
    public string? SubjectTokenType { get; init; }

    /// <summary><c>requested_token_type</c>.</summary>
    public string? RequestedTokenType { get; init; }

    /// <summary>Whether there is an <c>actor_token</c> or an <c>actor_token_type</c>.</summary>
    public bool NamesActor { get; init; }

    /// <summary><c>audience</c>.</summary>
    public string? Audience { get; init; }
}
