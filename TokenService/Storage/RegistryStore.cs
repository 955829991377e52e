using System;
using System.Collections.Generic;
using System.Collections.Immutable;
using System.Data.Common;
using System.Linq;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using TokenService.Clients;
using TokenService.Keys;
using TokenService.Protocol;

namespace TokenService.Storage;

/// <summary>What to write: entries that are new or changed, whole, and the ids of those to remove.</summary>
public sealed record RegistryChange
{
    /// <summary>New and changed resources.</summary>
    public ImmutableArray<Resource> Resources { get; init; } = [];

    /// <summary>URIs of resources to remove.</summary>
    public ImmutableArray<string> RemovedResources { get; init; } = [];

    /// <summary>New and changed clients, with all their secrets.</summary>
    public ImmutableArray<Client> Clients { get; init; } = [];

    /// <summary>Ids of clients to remove.</summary>
    public ImmutableArray<string> RemovedClients { get; init; } = [];

    /// <summary>New and changed issuers of workloads' identities.</summary>
    public ImmutableArray<TrustedIssuer> Issuers { get; init; } = [];

    /// <summary>Names of issuers to remove.</summary>
    public ImmutableArray<string> RemovedIssuers { get; init; } = [];

    /// <summary>Whether only clients are written.</summary>
    public bool IsOfClientsOnly => Resources.IsEmpty && RemovedResources.IsEmpty && Issuers.IsEmpty && RemovedIssuers.IsEmpty;

    /// <summary>Whether there is nothing to write.</summary>
    public bool IsEmpty => IsOfClientsOnly && Clients.IsEmpty && RemovedClients.IsEmpty;
}

/// <summary>Clients and resources in the store.</summary>
/// <param name="dataSource">The store, its schema up to date.</param>
/// <param name="protector">Gives what encrypts the secrets that are kept, for a transaction; asked for only where there is one.</param>
public sealed class RegistryStore(StoreDataSource dataSource, Func<DbConnection, KeyProtector> protector)
{
    private const string SecretsTable = "client_secrets";
    private const string SecretPurpose = "client_secret";

    // No URI of a resource: those are absolute.
    private const string EveryResource = "*";

    // Of how many versions it is noted which clients they changed, and of how many clients at most: beyond, all is read again.
    private const int NotedVersions = 100;
    private const int NotedClients = 100;

    /// <summary>Reads all of it, as it is at one moment; no secret is opened.</summary>
    /// <exception cref="StoreUnavailableException">The store does not answer.</exception>
    public Registry Read() => StoreTransaction.Read(dataSource, connection => Read(connection));

    /// <summary>
    /// Changes it: the decision is taken on the state that the change is written to, since no other writer comes in between. Once this
    /// returns, the change survives a crash.
    /// </summary>
    /// <param name="decide">Gives the change, or throws to leave everything as it is.</param>
    /// <exception cref="StoreUnavailableException">The store does not take it.</exception>
    public void Change(Func<Registry, RegistryChange> decide) => StoreTransaction.Write(dataSource, Turn.Registry, connection =>
    {
        var before = Read(connection);
        var change = decide(before);
        if (!change.IsEmpty)
        {
            Write(connection, before, change);
            StoreTransaction.CountVersion(dataSource, connection);
            NoteClients(connection, change);
        }
    });

    /// <summary>The secrets that are kept encrypted.</summary>
    internal static IEnumerable<SealedValue> Sealed(DbConnection connection) => Kept(connection).Select(row => row.Secret);

    /// <summary>Encrypts the secrets that are kept under another master key.</summary>
    /// <returns>How many there are.</returns>
    /// <exception cref="OperatorFaultException">A secret does not open.</exception>
    internal static int Rewrap(DbConnection connection, KeyProtector before, KeyProtector after)
    {
        var kept = Kept(connection);
        foreach (var (clientId, hash, secret) in kept)
        {
            connection.Execute(
                "UPDATE client_secrets SET secret = @secret WHERE client_id = @id AND secret_hash = @hash",
                ("@secret", secret.Rewrap(before, after)),
                ("@id", clientId),
                ("@hash", hash));
        }

        return kept.Count;
    }

    /// <summary>Reads all of it, as requests need it.</summary>
    /// <exception cref="StoreUnavailableException">The store does not answer.</exception>
    /// <exception cref="OperatorFaultException">A secret does not open: another master key, or a changed row.</exception>
    public Registry ReadWithSecrets() => StoreTransaction.Read(dataSource, ReadWithSecrets);

    /// <summary>Reads all of it, as requests need it.</summary>
    /// <exception cref="OperatorFaultException">A secret does not open: another master key, or a changed row.</exception>
    internal Registry ReadWithSecrets(DbConnection connection) => ReadResources(connection, ReadClientsWithSecrets(connection, null));

    /// <summary>Reads what has changed since, where each change since then was of clients alone, and noted which.</summary>
    /// <param name="connection">In a transaction that sees one moment.</param>
    /// <param name="since">The version that <paramref name="before"/> was read at.</param>
    /// <param name="before">What was read then.</param>
    /// <returns>What there is now, or <see langword="null"/> where all must be read again.</returns>
    /// <exception cref="OperatorFaultException">A secret does not open: another master key, or a changed row.</exception>
    internal Registry? ReadChanges(DbConnection connection, long since, Registry before)
    {
        var changes = connection.Query(
            "SELECT version, client_id FROM client_changes WHERE version > @since",
            row => (Version: row.GetInt64(0), ClientId: row.GetString(1)),
            ("@since", since));

        // A version without a note changed something else, or was written by a build that makes no notes, or the note is gone already.
        var versions = changes.Select(change => change.Version).ToHashSet();
        var now = StoreTransaction.Version(connection);
        return now > since && versions.Count == now - since && versions.Max() == now
            ? before.With(changes.Select(change => change.ClientId), ReadClientsWithSecrets(connection, since))
            : null;
    }

    // In the transaction that counted the version.
    private static void NoteClients(DbConnection connection, RegistryChange change)
    {
        var version = StoreTransaction.Version(connection);
        connection.Execute("DELETE FROM client_changes WHERE version <= @oldest", ("@oldest", version - NotedVersions));
        var clientIds = change.RemovedClients.Union(change.Clients.Select(client => client.ClientId)).ToList();
        if (change.IsOfClientsOnly && clientIds.Count <= NotedClients)
        {
            foreach (var clientId in clientIds)
            {
                connection.Execute(
                    "INSERT INTO client_changes (version, client_id) VALUES (@version, @id)", ("@version", version), ("@id", clientId));
            }
        }
    }

    private List<Client> ReadClientsWithSecrets(DbConnection connection, long? since)
    {
        var key = connection.QuerySingle<long>($"SELECT COUNT(secret) FROM client_secrets{Changed(since)}") > 0 ? protector(connection) : null;
        return ReadClients(
            connection, since, (clientId, hash, encrypted) => new Secret(Encoding.UTF8.GetString(Kept(clientId, hash, encrypted).Open(key!))));
    }

    // All of them, or those that are noted as changed since a version.
    private static string Changed(long? since)
        => since is null ? "" : $" WHERE client_id IN (SELECT client_id FROM client_changes WHERE version > {since})";

    private static Registry Read(DbConnection connection) => ReadResources(connection, ReadClients(connection, null, null));

    private static Registry ReadResources(DbConnection connection, List<Client> clients)
    {
        var scopes = connection
            .Query("SELECT resource, name, description FROM scopes ORDER BY position", row =>
                (Resource: row.GetString(0), Scope: new Scope(row.GetString(1), row.GetText(2))))
            .ToLookup(row => row.Resource, row => row.Scope, StringComparer.Ordinal);
        return new Registry(
            clients,
            connection.Query("SELECT resource, name, origin FROM resources", row => new Resource
            {
                Uri = row.GetString(0),
                Name = row.GetText(1),
                Origin = (Origin)row.GetInt64(2),
                Scopes = [.. scopes[row.GetString(0)]],
            }),
            connection.Query("SELECT name, issuer, audience, jwks, keys_at, ca_file, bearer_token_file FROM trusted_issuers", row => new TrustedIssuer
            {
                Name = row.GetString(0),
                Issuer = row.GetString(1),
                Audience = row.GetText(2),
                Keys = row.GetText(3) is { } jwks ? ReadKeys(jwks) : [],
                KeysAt = row.GetText(4) is { } place ? new Uri(place) : null,
                CaFile = row.GetText(5),
                BearerTokenFile = row.GetText(6),
            }));
    }

    private static List<Client> ReadClients(DbConnection connection, long? since, Func<string, byte[], byte[], Secret>? open)
    {
        var secrets = new Dictionary<string, ImmutableArray<ClientSecret>>(StringComparer.Ordinal);
        foreach (var (clientId, secret) in connection.Query(
            $"SELECT client_id, secret_hash, expires_at, origin, secret, overlap_ends_at FROM client_secrets{Changed(since)}", row =>
                (ClientId: row.GetString(0), Secret: new ClientSecret(
                    ImmutableCollectionsMarshal.AsImmutableArray(row.GetFieldValue<byte[]>(1)),
                    Time(row.GetNumber(2)),
                    (Origin)row.GetInt64(3))
                {
                    OverlapEndsAt = Time(row.GetNumber(5)),
                    Recoverable = open is null || row.IsDBNull(4)
                        ? null
                        : open(row.GetString(0), row.GetFieldValue<byte[]>(1), row.GetFieldValue<byte[]>(4)),
                })))
        {
            secrets[clientId] = secrets.TryGetValue(clientId, out var others) ? others.Add(secret) : [secret];
        }

        // A hundred thousand clients have a few texts: each is kept once.
        var texts = new Dictionary<string, (string Text, ImmutableArray<string> Words)>(StringComparer.Ordinal);
        (string Text, ImmutableArray<string> Words) Shared(string text)
        {
            if (!texts.TryGetValue(text, out var kept))
            {
                texts.Add(text, kept = (text, Words(text)));
            }

            return kept;
        }

        return connection.Query(
            $"""
            SELECT client_id, client_name, token_endpoint_auth_method, grant_types, scope, access_token_lifetime, disabled, origin,
                jwks, jwks_uri, token_endpoint_auth_signing_alg, introspection, client_id_issued_at, token_reuse, federation, tls_client_auth, certificate_bound, dpop_bound
            FROM clients{Changed(since)}
            """,
            row => new Client
            {
                ClientId = row.GetString(0),
                Name = row.GetText(1),
                AuthenticationMethod = Shared(row.GetString(2)).Text,
                GrantTypes = Shared(row.GetString(3)).Words,
                Scopes = Shared(row.GetString(4)).Words,
                AccessTokenLifetime = Seconds(row.GetNumber(5)),
                Disabled = row.GetInt64(6) != 0,
                Origin = (Origin)row.GetInt64(7),
                Keys = row.GetText(8) is { } jwks ? ReadKeys(jwks) : [],
                JwksUri = row.GetText(9) is { } uri ? new Uri(uri) : null,
                AssertionAlgorithm = row.GetText(10),
                IntrospectsAll = row.GetText(11) == EveryResource,
                IntrospectedResources = row.GetText(11) is { } uris and not EveryResource ? Shared(uris).Words : [],
                IssuedAt = Time(row.GetNumber(12)),
                TokenReuse = Seconds(row.GetNumber(13)),
                Federation = row.GetText(14) is { } federation ? FederationRule.Read(federation) : [],
                CertificateName = row.GetText(15) is { } name ? ReadName(name) : null,
                CertificateBound = row.GetInt64(16) != 0,
                DPoPBound = row.GetInt64(17) != 0,
                Secrets = secrets.GetValueOrDefault(row.GetString(0), []),
            });
    }

    private void Write(DbConnection connection, Registry before, RegistryChange change)
    {
        foreach (var clientId in change.RemovedClients)
        {
            connection.Execute("DELETE FROM credential_uses WHERE client_id = @id", ("@id", clientId));
            connection.Execute("DELETE FROM client_secrets WHERE client_id = @id", ("@id", clientId));
            connection.Execute("DELETE FROM clients WHERE client_id = @id", ("@id", clientId));
        }

        foreach (var name in change.RemovedIssuers)
        {
            connection.Execute("DELETE FROM trusted_issuers WHERE name = @name", ("@name", name));
        }

        foreach (var issuer in change.Issuers)
        {
            Write(connection, issuer);
        }

        // All scopes go before any comes, since one may move from a resource to another.
        foreach (var uri in change.RemovedResources.Concat(change.Resources.Select(resource => resource.Uri)))
        {
            connection.Execute("DELETE FROM scopes WHERE resource = @resource", ("@resource", uri));
        }

        foreach (var uri in change.RemovedResources)
        {
            connection.Execute("DELETE FROM resources WHERE resource = @resource", ("@resource", uri));
        }

        foreach (var resource in change.Resources)
        {
            Write(connection, resource);
        }

        foreach (var client in change.Clients)
        {
            Write(connection, client, before.FindClient(client.ClientId)?.Secrets ?? []);
        }
    }

    private static void Write(DbConnection connection, Resource resource)
    {
        connection.Execute(
            """
            INSERT INTO resources (resource, name, origin) VALUES (@resource, @name, @origin)
            ON CONFLICT (resource) DO UPDATE SET name = excluded.name, origin = excluded.origin
            """,
            ("@resource", resource.Uri),
            ("@name", resource.Name),
            ("@origin", (int)resource.Origin));
        foreach (var (position, scope) in resource.Scopes.Index())
        {
            connection.Execute(
                "INSERT INTO scopes (name, resource, position, description) VALUES (@name, @resource, @position, @description)",
                ("@name", scope.Name),
                ("@resource", resource.Uri),
                ("@position", position),
                ("@description", scope.Description));
        }
    }

    private static void Write(DbConnection connection, TrustedIssuer issuer) => connection.Execute(
        """
        INSERT INTO trusted_issuers (name, issuer, audience, jwks, keys_at, ca_file, bearer_token_file)
        VALUES (@name, @issuer, @audience, @jwks, @keysAt, @caFile, @tokenFile)
        ON CONFLICT (name) DO UPDATE SET
            issuer = excluded.issuer,
            audience = excluded.audience,
            jwks = excluded.jwks,
            keys_at = excluded.keys_at,
            ca_file = excluded.ca_file,
            bearer_token_file = excluded.bearer_token_file
        """,
        ("@name", issuer.Name),
        ("@issuer", issuer.Issuer),
        ("@audience", issuer.Audience),
        ("@jwks", issuer.Keys.IsEmpty ? null : WriteKeys(issuer.Keys)),
        ("@keysAt", issuer.KeysAt?.OriginalString),
        ("@caFile", issuer.CaFile),
        ("@tokenFile", issuer.BearerTokenFile));

    private void Write(DbConnection connection, Client client, ImmutableArray<ClientSecret> secretsBefore)
    {
        connection.Execute(
            """
            INSERT INTO clients
                (client_id, client_name, token_endpoint_auth_method, grant_types, scope, access_token_lifetime, disabled, origin,
                jwks, jwks_uri, token_endpoint_auth_signing_alg, introspection, client_id_issued_at, token_reuse, federation, tls_client_auth, certificate_bound, dpop_bound)
            VALUES (@id, @name, @method, @grants, @scope, @lifetime, @disabled, @origin, @jwks, @jwksUri, @algorithm, @introspection, @issuedAt, @reuse, @federation,
                @certificateName, @bound, @dpop)
            ON CONFLICT (client_id) DO UPDATE SET
                client_name = excluded.client_name,
                token_endpoint_auth_method = excluded.token_endpoint_auth_method,
                grant_types = excluded.grant_types,
                scope = excluded.scope,
                access_token_lifetime = excluded.access_token_lifetime,
                disabled = excluded.disabled,
                origin = excluded.origin,
                jwks = excluded.jwks,
                jwks_uri = excluded.jwks_uri,
                token_endpoint_auth_signing_alg = excluded.token_endpoint_auth_signing_alg,
                introspection = excluded.introspection,
                token_reuse = excluded.token_reuse,
                federation = excluded.federation,
                tls_client_auth = excluded.tls_client_auth,
                certificate_bound = excluded.certificate_bound,
                dpop_bound = excluded.dpop_bound
            """,
            ("@id", client.ClientId),
            ("@name", client.Name),
            ("@method", client.AuthenticationMethod),
            ("@grants", string.Join(' ', client.GrantTypes)),
            ("@scope", string.Join(' ', client.Scopes)),
            ("@lifetime", (long?)client.AccessTokenLifetime?.TotalSeconds),
            ("@disabled", client.Disabled ? 1 : 0),
            ("@origin", (int)client.Origin),
            ("@jwks", client.Keys.IsEmpty ? null : WriteKeys(client.Keys)),
            ("@jwksUri", client.JwksUri?.OriginalString),
            ("@algorithm", client.AssertionAlgorithm),
            ("@introspection", client.IntrospectsAll ? EveryResource
                : client.IntrospectedResources.IsEmpty ? null : string.Join(' ', client.IntrospectedResources)),
            ("@issuedAt", client.IssuedAt?.ToUnixTimeMilliseconds()),
            ("@reuse", (long?)client.TokenReuse?.TotalSeconds),
            ("@federation", client.Federation.IsEmpty ? null : FederationRule.Write(client.Federation)),
            ("@certificateName", client.CertificateName is { } name ? $"{name.Member} {name.Value}" : null),
            ("@bound", client.CertificateBound ? 1 : 0),
            ("@dpop", client.DPoPBound ? 1 : 0));
        foreach (var gone in secretsBefore.Where(old => !client.Secrets.Any(secret => secret.Hash.SequenceEqual(old.Hash))))
        {
            connection.Execute(
                "DELETE FROM client_secrets WHERE client_id = @id AND secret_hash = @hash",
                ("@id", client.ClientId),
                ("@hash", gone.Hash.ToArray()));
        }

        var kept = client.AuthenticationMethod == AuthenticationMethods.ClientSecretJwt;
        foreach (var secret in client.Secrets)
        {
            // A change is made to what was read without opening secrets: one that is there already stays.
            connection.Execute(
                """
                INSERT INTO client_secrets (client_id, secret_hash, expires_at, origin, secret, overlap_ends_at)
                VALUES (@id, @hash, @expiresAt, @origin, @secret, @overlapEndsAt)
                ON CONFLICT (client_id, secret_hash) DO UPDATE SET
                    expires_at = excluded.expires_at,
                    origin = excluded.origin,
                    overlap_ends_at = excluded.overlap_ends_at,
                    secret = CASE WHEN @kept = 1 THEN COALESCE(excluded.secret, client_secrets.secret) END
                """,
                ("@id", client.ClientId),
                ("@hash", secret.Hash.ToArray()),
                ("@expiresAt", secret.ExpiresAt?.ToUnixTimeMilliseconds()),
                ("@origin", (int)secret.Origin),
                ("@overlapEndsAt", secret.OverlapEndsAt?.ToUnixTimeMilliseconds()),
                ("@secret", kept && secret.Recoverable is { } plain ? Seal(connection, client.ClientId, secret.Hash.AsSpan(), plain) : null),
                ("@kept", kept ? 1 : 0));
        }
    }

    // Checked when they were registered; the numbers are made into keys when they are first used.
    private static ImmutableArray<ClientKey> ReadKeys(string jwks)
        => [.. JsonSerializer.Deserialize(jwks, ProtocolJson.Default.Jwks)!.Keys.Select(jwk => new ClientKey(jwk))];

    private static CertificateName ReadName(string text)
    {
        var space = text.IndexOf(' ', StringComparison.Ordinal);
        return new CertificateName(text[..space], text[(space + 1)..]);
    }

    private static string WriteKeys(ImmutableArray<ClientKey> keys)
        => JsonSerializer.Serialize(new Jwks { Keys = [.. keys.Select(key => key.Jwk)] }, ProtocolJson.Default.Jwks);

    private static string Row(string clientId, ReadOnlySpan<byte> hash) => $"{clientId} {Convert.ToHexString(hash)}";

    private static List<(string ClientId, byte[] Hash, SealedValue Secret)> Kept(DbConnection connection) => connection.Query(
        "SELECT client_id, secret_hash, secret FROM client_secrets WHERE secret IS NOT NULL",
        row => (row.GetString(0), row.GetFieldValue<byte[]>(1), Kept(row.GetString(0), row.GetFieldValue<byte[]>(1), row.GetFieldValue<byte[]>(2))));

    private static SealedValue Kept(string clientId, byte[] hash, byte[] encrypted)
        => new($"A secret of client {Printable.Quote(clientId)}", encrypted, SecretsTable, Row(clientId, hash), SecretPurpose);

    private byte[] Seal(DbConnection connection, string clientId, ReadOnlySpan<byte> hash, Secret secret)
        => protector(connection).Protect(Encoding.UTF8.GetBytes(secret.Reveal()), SecretsTable, Row(clientId, hash), SecretPurpose);

    private static TimeSpan? Seconds(long? seconds) => seconds is { } known ? TimeSpan.FromSeconds(known) : null;

    private static DateTimeOffset? Time(long? milliseconds) => milliseconds is { } known ? DateTimeOffset.FromUnixTimeMilliseconds(known) : null;

    private static ImmutableArray<string> Words(string text) => text.Length == 0 ? [] : [.. text.Split(' ')];
}
