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

    private DateTimeOffset? LastUseOf(string credential) => Uses.FirstOrDefault(use => use.Credential == credential)?.LastUsedAt;

    private static string Id(string credential) => credential[ClientKey.CredentialPrefix.Length..];
}
