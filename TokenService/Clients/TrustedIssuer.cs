using System;
using System.Collections.Immutable;

namespace TokenService.Clients;

/// <summary>
/// An issuer of identities for workloads (<c>issuers</c>): a cluster, a CI service, a SPIFFE trust domain. Its tokens prove clients that name it, and
/// nothing else.
/// </summary>
public sealed record TrustedIssuer
{
    /// <summary>What the issuer of a SPIFFE trust domain begins with; no other one does.</summary>
    public const string SpiffeScheme = "spiffe://";

    /// <summary><c>name</c>: what clients and messages call it.</summary>
    public required string Name { get; init; }

    /// <summary><c>issuer</c>: the <c>iss</c> of its tokens; for a SPIFFE trust domain, <c>spiffe://</c> and its name. Others may have the same <c>iss</c>.</summary>
    public required string Issuer { get; init; }

    /// <summary><c>audience</c>: what its tokens must be for; the service's own issuer where left out.</summary>
    public string? Audience { get; init; }

    /// <summary><c>jwks</c>: its keys, where they are registered with it.</summary>
    public ImmutableArray<ClientKey> Keys { get; init; } = [];

    /// <summary><c>jwks_uri</c>, <c>spiffe_bundle_endpoint</c> or <c>spiffe_bundle_file</c>: where its keys are; none with <see cref="Keys"/>, or for discovery.</summary>
    public Uri? KeysAt { get; init; }

    /// <summary><c>ca_file</c>.</summary>
    public string? CaFile { get; init; }

    /// <summary><c>bearer_token_file</c>.</summary>
    public string? BearerTokenFile { get; init; }

    /// <summary>Whether it is a SPIFFE trust domain.</summary>
    public bool IsSpiffe => Issuer.StartsWith(SpiffeScheme, StringComparison.Ordinal);

    /// <summary>What <see cref="FederationRule.Issuer"/> calls it: its name, or its trust domain with the scheme, which no name can be.</summary>
    public string Key => IsSpiffe ? Issuer : Name;

    /// <summary>Where its keys are fetched from; <see langword="null"/> where they are registered.</summary>
    public KeySource? Source => Keys.IsEmpty
        ? new KeySource(KeysAt ?? Discovery(Issuer))
        {
            DiscoveredIssuer = KeysAt is null ? Issuer : null,
            IsSpiffeBundle = IsSpiffe,
            CaFile = CaFile,
            BearerTokenFile = BearerTokenFile,
        }
        : null;

    // OpenID Connect Discovery §4.1.
    private static Uri Discovery(string issuer) => new($"{issuer.TrimEnd('/')}/.well-known/openid-configuration");
}
