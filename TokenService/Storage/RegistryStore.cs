using System;
using System.Collections.Immutable;
using System.Data.Common;
using System.Linq;
using TokenService.Clients;

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
public sealed class RegistryStore(DbDataSource dataSource)
{
    /// <summary>Reads all of it, as it is at one moment.</summary>
    /// <exception cref="StoreUnavailableException">The store does not answer.</exception>
    public Registry Read() => StoreTransaction.Read(dataSource, Read);

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

    internal static Registry Read(DbConnection connection)
    {
        var scopes = connection
            .Query("SELECT resource, name, description FROM scopes ORDER BY position", row =>
                (Resource: row.GetString(0), Scope: new Scope(row.GetString(1), row.GetText(2))))
            .ToLookup(row => row.Resource, row => row.Scope, StringComparer.Ordinal);
        var secrets = connection
            .Query("SELECT client_id, secret_hash, expires_at, origin FROM client_secrets", row =>
                (ClientId: row.GetString(0), Secret: new ClientSecret(
                    [.. row.GetFieldValue<byte[]>(1)],
                    row.GetNumber(2) is { } expiresAt ? DateTimeOffset.FromUnixTimeMilliseconds(expiresAt) : null,
                    (Origin)row.GetInt32(3))))
            .ToLookup(row => row.ClientId, row => row.Secret, StringComparer.Ordinal);

        return new Registry(
            connection.Query(
                """
                SELECT client_id, client_name, token_endpoint_auth_method, grant_types, scope, access_token_lifetime, disabled, origin
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

    private static void Write(DbConnection connection, Registry before, RegistryChange change)
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

    private static void Write(DbConnection connection, Client client, ImmutableArray<ClientSecret> secretsBefore)
    {
        connection.Execute(
            """
            INSERT INTO clients
                (client_id, client_name, token_endpoint_auth_method, grant_types, scope, access_token_lifetime, disabled, origin)
            VALUES (@id, @name, @method, @grants, @scope, @lifetime, @disabled, @origin)
            ON CONFLICT (client_id) DO UPDATE SET
                client_name = excluded.client_name,
                token_endpoint_auth_method = excluded.token_endpoint_auth_method,
                grant_types = excluded.grant_types,
                scope = excluded.scope,
                access_token_lifetime = excluded.access_token_lifetime,
                disabled = excluded.disabled,
                origin = excluded.origin
            """,
            ("@id", client.ClientId),
            ("@name", client.Name),
            ("@method", client.AuthenticationMethod),
            ("@grants", string.Join(' ', client.GrantTypes)),
            ("@scope", string.Join(' ', client.Scopes)),
            ("@lifetime", client.AccessTokenLifetime is { } lifetime ? (long)lifetime.TotalSeconds : null),
            ("@disabled", client.Disabled ? 1 : 0),
            ("@origin", (int)client.Origin));
        foreach (var gone in secretsBefore.Where(old => !client.Secrets.Any(secret => secret.Hash.SequenceEqual(old.Hash))))
        {
            connection.Execute(
                "DELETE FROM client_secrets WHERE client_id = @id AND secret_hash = @hash",
                ("@id", client.ClientId),
                ("@hash", gone.Hash.ToArray()));
        }

        foreach (var secret in client.Secrets)
        {
            connection.Execute(
                """
                INSERT INTO client_secrets (client_id, secret_hash, expires_at, origin) VALUES (@id, @hash, @expiresAt, @origin)
                ON CONFLICT (client_id, secret_hash) DO UPDATE SET expires_at = excluded.expires_at, origin = excluded.origin
                """,
                ("@id", client.ClientId),
                ("@hash", secret.Hash.ToArray()),
                ("@expiresAt", secret.ExpiresAt?.ToUnixTimeMilliseconds()),
                ("@origin", (int)secret.Origin));
        }
    }

    private static ImmutableArray<string> Words(string text) => text.Length == 0 ? [] : [.. text.Split(' ')];
}
