using System;
using System.Linq;

namespace TokenService.Clients;

/// <summary>The syntax of SPIFFE IDs: <c>spiffe://</c>, a trust domain and the path of a workload.</summary>
public static class SpiffeId
{
    private const int MaxLength = 2048;
    private const int MaxTrustDomainLength = 255;

    // In a registration, at the end: whatever stands below that path.
    private const string AllBelow = "/*";

    /// <summary>Whether this is the name of a trust domain.</summary>
    public static bool IsTrustDomain(string text)
        => text.Length is > 0 and <= MaxTrustDomainLength && text.All(c => char.IsAsciiLetterLower(c) || char.IsAsciiDigit(c) || c is '.' or '-' or '_');

    /// <summary>The trust domain of a workload's SPIFFE ID.</summary>
    /// <returns>The scheme and the trust domain, as <see cref="TrustedIssuer.Issuer"/> has it; <see langword="null"/> where the text is no SPIFFE ID with a path.</returns>
    public static string? TrustDomainOf(string text)
    {
        if (text.Length > MaxLength || !text.StartsWith(TrustedIssuer.SpiffeScheme, StringComparison.Ordinal))
        {
            return null;
        }

        var parts = text[TrustedIssuer.SpiffeScheme.Length..].Split('/');
        return parts.Length > 1 && IsTrustDomain(parts[0]) && parts.Skip(1).All(IsSegment) ? TrustedIssuer.SpiffeScheme + parts[0] : null;
    }

    /// <summary>The same for the <c>spiffe_id</c> of a client, which may end in <c>/*</c>.</summary>
    public static string? TrustDomainOfRegistered(string text)
        => TrustDomainOf(text.EndsWith(AllBelow, StringComparison.Ordinal) ? $"{text[..^1]}x" : text);

    private static bool IsSegment(string segment)
        => segment.Length > 0 && segment is not "." and not ".." && segment.All(c => char.IsAsciiLetterOrDigit(c) || c is '.' or '-' or '_');
}
