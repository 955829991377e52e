using System;

namespace TokenService.Clients;

/// <summary>Where public keys are got from, and how. Two that say the same are equal, and share what was fetched.</summary>
/// <param name="Address">A JWK Set's URL, or a file of this machine (<c>file:</c>); with <see cref="DiscoveredIssuer"/> the URL of a metadata document.</param>
public sealed record KeySource(Uri Address)
{
    /// <summary>
    /// Where the address is that of a metadata document (OpenID Connect Discovery §4): the <c>issuer</c> that it must name; its <c>jwks_uri</c> leads to the
    /// keys. Otherwise <see langword="null"/>.
    /// </summary>
    public string? DiscoveredIssuer { get; init; }

    /// <summary>Whether it is a SPIFFE trust bundle: only its keys for <c>jwt-svid</c> count.</summary>
    public bool IsSpiffeBundle { get; init; }

    /// <summary>A file with the certificates (PEM) that the host's must be signed under, in place of those that the machine trusts.</summary>
    public string? CaFile { get; init; }

    /// <summary>A file with a bearer token (RFC 6750) to send; it is read for each fetch, and goes to the host of the address alone.</summary>
    public string? BearerTokenFile { get; init; }
}
