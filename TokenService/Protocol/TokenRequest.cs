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
}
