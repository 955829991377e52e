using System;
using System.Collections.Immutable;
using System.Data.Common;
using System.Linq;
using System.Security.Cryptography;
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

    /// <summary>Whether there is nothing to write.</summary>
    public bool IsEmpty => Resources.IsEmpty && RemovedResources.IsEmpty && Clients.IsEmpty && RemovedClients.IsEmpty;
}

/// <summary>Clients and resources in the store.</summary>
/// <param name="dataSource">The store, its schema up to date.</param>
/// <param name="protector">Encrypts the secrets that are kept; asked for only where there is one.</param>
public sealed class RegistryStore(DbDataSource dataSource, Func<KeyProtector> protector)
{
    private const string SecretsTable = "client_secrets";
    private const string SecretPurpose = "client_secret";

    /// <summary>Reads all of it, as it is at one moment; no secret is opened.</summary>
    /// <exception cref="StoreUnavailableException">The store does not answer.</exception>
    public Registry Read() => StoreTransaction.Read(dataSource, connection => Read(connection));

    /// <summary>
    /// Changes it: the decision is taken on the state that the change is written to, since no other writer comes in between. Once this
    /// returns, the change survives a crash.
    /// </summary>
    /// <param name="decide">Gives the change, or throws to leave everything as it is.</param>
    /// <exception cref="StoreUnavailableException">The store does not take it.</exception>
    public void Change(Func<Registry, RegistryChange> decide) => StoreTransaction.Write(dataSource, connection =>
    {
        var before = Read(connection);
        var change = decide(before);
        if (!change.IsEmpty)
        {
            Write(connection, before, change);
            StoreTransaction.CountVersion(connection);
        }
    });

    /// <summary>Whether any secret is kept encrypted.</summary>
    internal bool AnyEncrypted() => StoreTransaction.Read(
        dataSource, connection => connection.QuerySingle<long>("SELECT COUNT(*) FROM client_secrets WHERE secret IS NOT NULL") > 0);

    /// <summary>Reads all of it, as requests need it.</summary>
    /// <exception cref="StoreUnavailableException">The store does not answer.</exception>
    /// <exception cref="OperatorFaultException">A secret does not open: another master key, or a changed row.</exception>
    public Registry ReadWithSecrets() => StoreTransaction.Read(dataSource, ReadWithSecrets);

    /// <summary>Reads all of it, as requests need it.</summary>
    /// <exception cref="OperatorFaultException">A secret does not open: another master key, or a changed row.</exception>
    internal Registry ReadWithSecrets(DbConnection connection) => Read(connection, Open);

    private static Registry Read(DbConnection connection, Func<string, byte[], byte[], Secret>? open = null)
    {
        var scopes = connection
            .Query("SELECT resource, name, description FROM scopes ORDER BY position", row =>
                (Resource: row.GetString(0), Scope: new Scope(row.GetString(1), row.GetText(2))))
            .ToLookup(row => row.Resource, row => row.Scope, StringComparer.Ordinal);
        var secrets = connection
            .Query("SELECT client_id, secret_hash, expires_at, origin, secret FROM client_secrets", row =>
                (ClientId: row.GetString(0), Secret: new ClientSecret(
                    [.. row.GetFieldValue<byte[]>(1)],
                    row.GetNumber(2) is { } expiresAt ? DateTimeOffset.FromUnixTimeMilliseconds(expiresAt) : null,
                    (Origin)row.GetInt32(3))
                {
                    Recoverable = open is null || row.IsDBNull(4)
                        ? null
                        : open(row.GetString(0), row.GetFieldValue<byte[]>(1), row.GetFieldValue<byte[]>(4)),
                }))
            .ToLookup(row => row.ClientId, row => row.Secret, StringComparer.Ordinal);

        return new Registry(
            connection.Query(
                """
                SELECT client_id, client_name, token_endpoint_auth_method, grant_types, scope, access_token_lifetime, disabled, origin,
                    jwks, jwks_uri, token_endpoint_auth_signing_alg
                FROM clients
                """,
                row => new Client
                {
                    ClientId = row.GetString(0),
                    Name = row.GetText(1),
                    AuthenticationMethod = row.GetString(2),
                    GrantTypes = Words(row.GetString(3)),
                    Scopes = Words(row.GetString(4)),
                    AccessTokenLifetime = row.GetNumber(5) is { } seconds ? TimeSpan.FromSeconds(seconds) : null,
                    Disabled = row.GetInt64(6) != 0,
                    Origin = (Origin)row.GetInt32(7),
                    Keys = row.GetText(8) is { } jwks ? ReadKeys(jwks) : [],
                    JwksUri = row.GetText(9) is { } uri ? new Uri(uri) : null,
                    AssertionAlgorithm = row.GetText(10),
                    Secrets = [.. secrets[row.GetString(0)]],
                }),
            connection.Query("SELECT resource, name, origin FROM resources", row => new Resource
            {
                Uri = row.GetString(0),
                Name = row.GetText(1),
                Origin = (Origin)row.GetInt32(2),
                Scopes = [.. scopes[row.GetString(0)]],
            }));
    }

    private void Write(DbConnection connection, Registry before, RegistryChange change)
    {
        foreach (var clientId in change.RemovedClients)
        {
            connection.Execute("DELETE FROM client_secrets WHERE client_id = @id", ("@id", clientId));
            connection.Execute("DELETE FROM clients WHERE client_id = @id", ("@id", clientId));
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

    private void Write(DbConnection connection, Client client, ImmutableArray<ClientSecret> secretsBefore)
    {
        connection.Execute(
            """
            INSERT INTO clients
                (client_id, client_name, token_endpoint_auth_method, grant_types, scope, access_token_lifetime, disabled, origin,
                jwks, jwks_uri, token_endpoint_auth_signing_alg)
            VALUES (@id, @name, @method, @grants, @scope, @lifetime, @disabled, @origin, @jwks, @jwksUri, @algorithm)
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
                token_endpoint_auth_signing_alg = excluded.token_endpoint_auth_signing_alg
            """,
            ("@id", client.ClientId),
            ("@name", client.Name),
            ("@method", client.AuthenticationMethod),
            ("@grants", string.Join(' ', client.GrantTypes)),
            ("@scope", string.Join(' ', client.Scopes)),
            ("@lifetime", client.AccessTokenLifetime is { } lifetime ? (long)lifetime.TotalSeconds : null),
            ("@disabled", client.Disabled ? 1 : 0),
            ("@origin", (int)client.Origin),
            ("@jwks", client.Keys.IsEmpty ? null : WriteKeys(client.Keys)),
            ("@jwksUri", client.JwksUri?.OriginalString),
            ("@algorithm", client.AssertionAlgorithm));
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
                INSERT INTO client_secrets (client_id, secret_hash, expires_at, origin, secret) VALUES (@id, @hash, @expiresAt, @origin, @secret)
                ON CONFLICT (client_id, secret_hash) DO UPDATE SET
                    expires_at = excluded.expires_at,
                    origin = excluded.origin,
                    secret = CASE WHEN @kept = 1 THEN COALESCE(excluded.secret, client_secrets.secret) END
                """,
                ("@id", client.ClientId),
                ("@hash", secret.Hash.ToArray()),
                ("@expiresAt", secret.ExpiresAt?.ToUnixTimeMilliseconds()),
                ("@origin", (int)secret.Origin),
                ("@secret", kept && secret.Recoverable is { } plain ? Seal(client.ClientId, secret.Hash.AsSpan(), plain) : null),
                ("@kept", kept ? 1 : 0));
        }
    }

    private static ImmutableArray<ClientKey> ReadKeys(string jwks)
    {
        using var document = JsonDocument.Parse(jwks);
        return ClientKeyReader.Read(document.RootElement).Keys;
    }

    private static string WriteKeys(ImmutableArray<ClientKey> keys)
        => JsonSerializer.Serialize(new Jwks { Keys = [.. keys.Select(key => key.Jwk)] }, ProtocolJson.Default.Jwks);

    private static string Row(string clientId, ReadOnlySpan<byte> hash) => $"{clientId} {Convert.ToHexString(hash)}";

    private byte[] Seal(string clientId, ReadOnlySpan<byte> hash, Secret secret)
        => protector().Protect(Encoding.UTF8.GetBytes(secret.Reveal()), SecretsTable, Row(clientId, hash), SecretPurpose);

    private Secret Open(string clientId, byte[] hash, byte[] encrypted)
    {
        try
        {
            return new Secret(Encoding.UTF8.GetString(protector().Unprotect(encrypted, SecretsTable, Row(clientId, hash), SecretPurpose)));
        }
        catch (CryptographicException fault)
        {
            throw new OperatorFaultException(
                $"A secret of client {Printable.Quote(clientId)} in the store does not open: the master key is not the one it was encrypted " +
                "under, or the store was changed. Nothing was written; start again with the right TokenService:MasterKeyFile.",
                fault);
        }
    }

    private static ImmutableArray<string> Words(string text) => text.Length == 0 ? [] : [.. text.Split(' ')];
}
