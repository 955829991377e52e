using System;
using System.Collections.Generic;
using System.Collections.Immutable;
using System.Linq;
using TokenService.Clients;
using TokenService.Protocol;
using TokenService.Storage;

namespace TokenService.Administration;

/// <summary>One thing that an <c>apply</c> does.</summary>
/// <param name="Kind"><see cref="Added"/>, <see cref="Changed"/> or <see cref="Removed"/>.</param>
/// <param name="Entry"><c>client</c>, <c>resource</c> or <c>issuer</c>.</param>
/// <param name="Id">The client id, the resource's URI, or the issuer's name.</param>
/// <param name="Members">The members that change, named as in the file.</param>
public sealed record PlannedChange(string Kind, string Entry, string Id, ImmutableArray<string> Members)
{
    /// <summary>When the client was last used, where it was there before and that is known.</summary>
    public DateTimeOffset? LastUsedAt { get; init; }

    /// <summary>It was not there.</summary>
    public const string Added = "added";

    /// <summary>It is there, and differs.</summary>
    public const string Changed = "changed";

    /// <summary>The file no longer names it.</summary>
    public const string Removed = "removed";
}

/// <summary>
/// What makes the store agree with a declarative file. The file owns what it brought: what it no longer names goes. What commands
/// made stays as it is, and so do a client's being disabled and the secrets that <c>rotate-secret</c> made.
/// </summary>
/// <param name="Changes">What to tell the operator.</param>
/// <param name="Write">What to write.</param>
public sealed record ApplyPlan(ImmutableArray<PlannedChange> Changes, RegistryChange Write)
{
    private const string ClientEntry = "client";
    private const string ResourceEntry = "resource";
    private const string IssuerEntry = "issuer";

    /// <summary>Makes the plan.</summary>
    /// <param name="current">What the store holds.</param>
    /// <param name="file">What the file says.</param>
    /// <param name="now">The time.</param>
    /// <exception cref="OperatorFaultException">File and store contradict each other; the message names the place in the file.</exception>
    public static ApplyPlan Make(Registry current, DeclarativeFile file, DateTimeOffset now)
    {
        var resources = file.Resources.Select(resource => resource.ToResource(Origin.File)).ToList();
        var clients = file.Clients.Select(client => client.ToClient(Origin.File)).ToList();
        RefuseContradictions(current, resources, clients);

        var changes = new List<PlannedChange>();
        var writtenResources = new List<Resource>();
        foreach (var wanted in resources)
        {
            var old = current.FindResource(wanted.Uri);
            if (Note(ResourceEntry, wanted.Uri, old is null ? null : Differences(old, wanted)))
            {
                writtenResources.Add(wanted);
            }
        }

        var issuers = file.Issuers.Select(issuer => issuer.ToTrustedIssuer()).ToList();
        var writtenIssuers = new List<TrustedIssuer>();
        foreach (var wanted in issuers)
        {
            var old = current.Issuers.FirstOrDefault(issuer => issuer.Name == wanted.Name);
            if (Note(IssuerEntry, wanted.Name, old is null ? null : Differences(old, wanted)))
            {
                writtenIssuers.Add(wanted);
            }
        }

        var writtenClients = new List<Client>();
        foreach (var fromFile in clients)
        {
            var old = current.FindClient(fromFile.ClientId);
            var wanted = old is null ? fromFile with { IssuedAt = now } : KeepWhatCommandsDid(old, fromFile);
            if (Note(ClientEntry, wanted.ClientId, old is null ? null : Differences(old, wanted)))
            {
                writtenClients.Add(wanted);
            }
        }

        var removedClients = Gone(current.Clients.Where(c => c.Origin == Origin.File).Select(c => c.ClientId), clients.Select(c => c.ClientId));
        var removedResources = Gone(current.Resources.Where(r => r.Origin == Origin.File).Select(r => r.Uri), resources.Select(r => r.Uri));
        var removedIssuers = Gone(current.Issuers.Select(issuer => issuer.Name), issuers.Select(issuer => issuer.Name));
        changes.AddRange(removedClients.Select(id => new PlannedChange(PlannedChange.Removed, ClientEntry, id, [])));
        changes.AddRange(removedResources.Select(uri => new PlannedChange(PlannedChange.Removed, ResourceEntry, uri, [])));

        changes.AddRange(removedIssuers.Select(name => new PlannedChange(PlannedChange.Removed, IssuerEntry, name, [])));

        return new ApplyPlan([.. changes], new RegistryChange
        {
            Issuers = [.. writtenIssuers],
            RemovedIssuers = removedIssuers,
            Resources = [.. writtenResources],
            Clients = [.. writtenClients],
            RemovedClients = removedClients,
            RemovedResources = removedResources,
        });

        bool Note(string entry, string id, ImmutableArray<string>? differences)
        {
            if (differences is { IsEmpty: true })
            {
                return false;
            }

            changes.Add(new PlannedChange(differences is null ? PlannedChange.Added : PlannedChange.Changed, entry, id, differences ?? []));
            return true;
        }
    }

    /// <summary>How many changes are of this kind.</summary>
    /// <param name="kind">As in <see cref="PlannedChange.Kind"/>.</param>
    public int Count(string kind) => Changes.Count(change => change.Kind == kind);

    /// <summary>The same plan, its changes with the time that their client was last used.</summary>
    /// <param name="uses">When which client was last used.</param>
    public ApplyPlan With(ImmutableArray<CredentialUse> uses)
    {
        var lastUses = uses.GroupBy(use => use.ClientId, StringComparer.Ordinal)
            .ToDictionary(group => group.Key, group => group.Max(use => use.LastUsedAt), StringComparer.Ordinal);
        return this with
        {
            Changes =
            [
                .. Changes.Select(change => change.Entry == ClientEntry && change.Kind != PlannedChange.Added && lastUses.TryGetValue(change.Id, out var at)
                    ? change with { LastUsedAt = at }
                    : change),
            ],
        };
    }

    /// <summary>What differs between two states of the store, whoever changed it; with whether a client is disabled.</summary>
    /// <param name="before">The older one.</param>
    /// <param name="after">The newer one.</param>
    internal static IEnumerable<PlannedChange> Differences(Registry before, Registry after)
    {
        // Where only clients have changed, all others are the same objects, and the rest is too.
        var clients = after.Clients.Where(client => before.FindClient(client.ClientId) is not { } old || !ReferenceEquals(old, client));
        return
        [
            .. Differences(ResourceEntry, before.Resources, after.Resources, resource => resource.Uri, Differences),
            .. Differences(IssuerEntry, before.Issuers, after.Issuers, issuer => issuer.Name, Differences),
            .. clients.Select(client => Difference(ClientEntry, client.ClientId, before.FindClient(client.ClientId), client, DifferencesAndState)).OfType<PlannedChange>(),
            .. Gone(before.Clients.Select(client => client.ClientId), after.Clients.Select(client => client.ClientId))
                .Select(id => new PlannedChange(PlannedChange.Removed, ClientEntry, id, [])),
        ];
    }

    private static IEnumerable<PlannedChange> Differences<T>(
        string entry, IEnumerable<T> before, IEnumerable<T> after, Func<T, string> id, Func<T, T, ImmutableArray<string>> differences)
        where T : class
    {
        var old = before.ToDictionary(id, StringComparer.Ordinal);
        return after.Select(wanted => Difference(entry, id(wanted), old.GetValueOrDefault(id(wanted)), wanted, differences)).OfType<PlannedChange>()
            .Concat(Gone(old.Keys, after.Select(id)).Select(gone => new PlannedChange(PlannedChange.Removed, entry, gone, [])));
    }

    private static PlannedChange? Difference<T>(string entry, string id, T? old, T wanted, Func<T, T, ImmutableArray<string>> differences)
        where T : class
        => old is null ? new PlannedChange(PlannedChange.Added, entry, id, [])
            : differences(old, wanted) is { IsEmpty: false } members ? new PlannedChange(PlannedChange.Changed, entry, id, members)
            : null;

    private static ImmutableArray<string> DifferencesAndState(Client old, Client wanted)
        => old.Disabled == wanted.Disabled ? Differences(old, wanted) : [.. Differences(old, wanted), wanted.Disabled ? "disabled" : "enabled"];

    private static void RefuseContradictions(Registry current, List<Resource> resources, List<Client> clients)
    {
        var byCommand = current.Resources.Where(resource => resource.Origin == Origin.Command).ToList();
        foreach (var (index, resource) in resources.Index())
        {
            if (byCommand.Exists(other => other.Uri == resource.Uri))
            {
                throw Contradiction($"resources[{index}].resource {Printable.Quote(resource.Uri)} was registered by a command; keep it in one place");
            }

            foreach (var (position, scope) in resource.Scopes.Index())
            {
                if (byCommand.Find(other => other.Scopes.Any(s => s.Name == scope.Name)) is { } owner)
                {
                    throw Contradiction(
                        $"resources[{index}].scopes[{position}].name {Printable.Quote(scope.Name)} belongs to resource " +
                        $"{Printable.Quote(owner.Uri)}, which was registered by a command; a scope belongs to one resource");
                }
            }
        }

        var scopes = resources.Concat(byCommand).SelectMany(resource => resource.Scopes).Select(scope => scope.Name).ToHashSet(StringComparer.Ordinal);
        foreach (var (index, client) in clients.Index())
        {
            if (current.FindClient(client.ClientId) is { Origin: Origin.Command })
            {
                throw Contradiction($"clients[{index}].client_id {Printable.Quote(client.ClientId)} was registered by a command; keep it in one place");
            }

            if (client.Scopes.FirstOrDefault(name => !scopes.Contains(name)) is { } unknown)
            {
                throw Contradiction($"clients[{index}].scope names {Printable.Quote(unknown)}, which is no resource's scope");
            }

            foreach (var (position, uri) in client.IntrospectedResources.Index())
            {
                if (!resources.Concat(byCommand).Any(resource => resource.Uri == uri))
                {
                    throw Contradiction($"clients[{index}].introspection[{position}] names {Printable.Quote(uri)}, which is no resource");
                }
            }
        }

        foreach (var client in current.Clients.Where(client => client.Origin == Origin.Command))
        {
            if (client.Scopes.FirstOrDefault(name => !scopes.Contains(name)) is { } lost)
            {
                throw Contradiction(
                    $"resources lack scope {Printable.Quote(lost)}, which client {Printable.Quote(client.ClientId)}, registered by a command, still has");
            }
        }
    }

    private static OperatorFaultException Contradiction(string what) => new($"{what}. Nothing was applied.");

    private static Client KeepWhatCommandsDid(Client old, Client fromFile) => fromFile with
    {
        Disabled = old.Disabled,
        IssuedAt = old.IssuedAt,
        Secrets =
        [
            .. fromFile.Secrets.Select(secret => EndedAsBefore(secret, old)),
            .. old.Secrets.Where(secret => (secret.OverlapEndsAt is not null
                    || (secret.Origin == Origin.Command && GoesOn(old.AuthenticationMethod, fromFile.AuthenticationMethod)))
                && !fromFile.Secrets.Any(other => other.Hash.SequenceEqual(secret.Hash))),
        ],
    };

    // A secret that rotate-secret has ended does not come back to life with a file that still names it, or names it again: what was ended is
    // kept in mind for as long as the client is there, and is good for its overlap whatever the file says.
    private static ClientSecret EndedAsBefore(ClientSecret secret, Client old)
        => old.Secrets.FirstOrDefault(other => other.Hash.SequenceEqual(secret.Hash))?.OverlapEndsAt is { } end ? secret.EndedAt(end) : secret;

    // A key leaves no use for secrets, and one that is kept as a hash is of no use for an HMAC.
    private static bool GoesOn(string oldMethod, string method) => method == AuthenticationMethods.ClientSecretJwt
        ? oldMethod == AuthenticationMethods.ClientSecretJwt
        : AuthenticationMethods.HasSecret(method);

    private static ImmutableArray<string> Gone(IEnumerable<string> before, IEnumerable<string> after)
        => [.. before.Except(after, StringComparer.Ordinal).Order(StringComparer.Ordinal)];

    private static ImmutableArray<string> Differences(Resource old, Resource wanted) => Names(
        ("name", old.Name == wanted.Name),
        ("scopes", old.Scopes.SequenceEqual(wanted.Scopes)));

    private static ImmutableArray<string> Differences(TrustedIssuer old, TrustedIssuer wanted) => Names(
        (old.IsSpiffe || wanted.IsSpiffe ? "trust_domain" : "issuer", old.Issuer == wanted.Issuer),
        ("jwks", old.Keys.SequenceEqual(wanted.Keys)),
        (!wanted.IsSpiffe ? "jwks_uri" : wanted.KeysAt!.IsFile ? "spiffe_bundle_file" : "spiffe_bundle_endpoint", old.KeysAt?.OriginalString == wanted.KeysAt?.OriginalString),
        ("ca_file", old.CaFile == wanted.CaFile),
        ("bearer_token_file", old.BearerTokenFile == wanted.BearerTokenFile),
        ("audience", old.Audience == wanted.Audience));

    private static ImmutableArray<string> Differences(Client old, Client wanted) => Names(
        ("client_name", old.Name == wanted.Name),
        ("token_endpoint_auth_method", old.AuthenticationMethod == wanted.AuthenticationMethod),
        ("grant_types", old.GrantTypes.SequenceEqual(wanted.GrantTypes)),
        ("scope", old.Scopes.SequenceEqual(wanted.Scopes)),
        ("access_token_lifetime", old.AccessTokenLifetime == wanted.AccessTokenLifetime),
        ("token_reuse", old.TokenReuse == wanted.TokenReuse),
        ("jwks", old.Keys.SequenceEqual(wanted.Keys)),
        ("jwks_uri", old.JwksUri?.OriginalString == wanted.JwksUri?.OriginalString),
        ("token_endpoint_auth_signing_alg", old.AssertionAlgorithm == wanted.AssertionAlgorithm),
        (wanted.SpiffeId is null ? "federation" : "spiffe_id", Same(old.Federation, wanted.Federation)),
        (wanted.CertificateName?.Member ?? old.CertificateName?.Member ?? "", old.CertificateName == wanted.CertificateName),
        ("dpop_bound_access_tokens", old.DPoPBound == wanted.DPoPBound),
        ("tls_client_certificate_bound_access_tokens", old.CertificateBound == wanted.CertificateBound),
        ("introspection", old.IntrospectsAll == wanted.IntrospectsAll && old.IntrospectedResources.SequenceEqual(wanted.IntrospectedResources)),
        ("client_secret", Sorted(old.Secrets).SequenceEqual(Sorted(wanted.Secrets))));

    private static bool Same(ImmutableArray<FederationRule> old, ImmutableArray<FederationRule> wanted)
        => (old.IsEmpty && wanted.IsEmpty) || FederationRule.Write(old) == FederationRule.Write(wanted);

    private static ImmutableArray<string> Names(params ReadOnlySpan<(string Member, bool Same)> members)
    {
        var names = ImmutableArray.CreateBuilder<string>();
        foreach (var (member, same) in members)
        {
            if (!same)
            {
                names.Add(member);
            }
        }

        return names.ToImmutable();
    }

    private static IEnumerable<(string Hash, DateTimeOffset? ExpiresAt, Origin Origin)> Sorted(ImmutableArray<ClientSecret> secrets)
        => secrets.Select(secret => (Convert.ToHexString(secret.Hash.AsSpan()), secret.ExpiresAt, secret.Origin)).Order();
}
