using System;
using System.Collections.Generic;
using System.Collections.Immutable;
using System.Linq;
using TokenService.Clients;
using TokenService.Storage;

namespace TokenService.Administration;

/// <summary>A client, and when its credentials were last used, as far as that is written.</summary>
/// <param name="Client">The client.</param>
/// <param name="Uses">The uses of its credentials, those included that it no longer has.</param>
public sealed record ClientInUse(Client Client, ImmutableArray<CredentialUse> Uses)
{
    /// <summary>When it was last used.</summary>
    public DateTimeOffset? LastUsedAt => Uses.Select(use => (DateTimeOffset?)use.LastUsedAt).Max();

    /// <summary>Its secrets, those that end first before the others, and when each was last used.</summary>
    public IEnumerable<(ClientSecret Secret, DateTimeOffset? LastUsedAt)> Secrets => Client.Secrets
        .OrderBy(secret => secret.ExpiresAt ?? DateTimeOffset.MaxValue)
        .ThenBy(secret => secret.Id, StringComparer.Ordinal)
        .Select(secret => (secret, LastUseOf(secret.Credential)));

    /// <summary>
    /// Its keys, and when each was last used. With a <c>jwks_uri</c>, the keys that it used: those behind the URI are known to the service alone.
    /// </summary>
    public IEnumerable<(string Id, ImmutableArray<string>? Algorithms, DateTimeOffset? LastUsedAt)> Keys => Client.JwksUri is null
        ? Client.Keys.Select(key => (Id(key.Credential), (ImmutableArray<string>?)key.Algorithms, LastUseOf(key.Credential)))
        : Uses
            .Where(use => use.Credential.StartsWith(ClientKey.CredentialPrefix, StringComparison.Ordinal))
            .OrderByDescending(use => use.LastUsedAt)
            .Select(use => (Id(use.Credential), (ImmutableArray<string>?)null, (DateTimeOffset?)use.LastUsedAt));

    /// <summary>Whether nobody has used it since; one that was never used counts from its registration, and where that is not known, always.</summary>
    public bool IsUnusedSince(DateTimeOffset time) => (LastUsedAt ?? Client.IssuedAt) is not { } last || last < time;

    /// <summary>
    /// When the last of its secrets ends, and it gets no more tokens; <see langword="null"/> where one of them has no end, or it has none. One that ends
    /// while a newer one goes on is a rotation under way.
    /// </summary>
    public DateTimeOffset? SecretsEndAt => Client.Secrets.Any(secret => secret.ExpiresAt is null) ? null : Client.Secrets.Select(secret => secret.ExpiresAt).Max();

    /// <summary>What there is to show of it but its credentials, named as in the declarative file where that has a name for it.</summary>
    public IEnumerable<(string Member, string Value)> Members => new (string Member, string? Value)[]
    {
        ("client_id", Client.ClientId),
        ("client_name", Client.Name),
        ("state", Client.Disabled ? "disabled" : "enabled"),
        ("grant_types", string.Join(' ', Client.GrantTypes)),
        ("token_endpoint_auth_method", Client.AuthenticationMethod),
        ("token_endpoint_auth_signing_alg", Client.AssertionAlgorithm),
        ("jwks_uri", Client.JwksUri?.OriginalString),
        ("spiffe_id", Client.SpiffeId),
        ("federation", Client.SpiffeId is null && !Client.Federation.IsEmpty ? FederationRule.Write(Client.Federation) : null),
        (Client.CertificateName?.Member ?? "", Client.CertificateName?.Value),
        ("dpop_bound_access_tokens", Client.DPoPBound ? "true" : null),
        ("tls_client_certificate_bound_access_tokens", Client.CertificateBound ? "true" : null),
        ("scope", string.Join(' ', Client.Scopes)),
        ("introspection", Client.IntrospectsAll ? "all" : string.Join(' ', Client.IntrospectedResources)),
        ("access_token_lifetime", Client.AccessTokenLifetime is { } lifetime ? $"{(long)lifetime.TotalSeconds}" : null),
        ("token_reuse", Client.TokenReuse is { } reuse ? $"{(long)reuse.TotalSeconds}" : null),
        ("registered by", Client.Origin == Origin.File ? "file" : "command"),
        ("registered", Client.IssuedAt is { } issuedAt ? $"{issuedAt:u}" : "unknown"),
        ("last used", LastUsedAt is { } used ? $"{used:u}" : "never"),
    }.Where(member => member.Value is { Length: > 0 }).Select(member => (member.Member, member.Value!));

    private DateTimeOffset? LastUseOf(string credential) => Uses.FirstOrDefault(use => use.Credential == credential)?.LastUsedAt;

    private static string Id(string credential) => credential[ClientKey.CredentialPrefix.Length..];
}
