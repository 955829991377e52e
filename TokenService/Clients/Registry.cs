using System;
using System.Collections.Generic;
using System.Linq;

namespace TokenService.Clients;

/// <summary>
/// All clients and resources at one moment. It never changes; a change in the store makes a new one, so that a request sees one state
/// from its beginning to its end.
/// </summary>
public sealed class Registry
{
    private readonly Dictionary<string, Client> _clients;
    private readonly Dictionary<string, Resource> _resources;
    private readonly Dictionary<string, string> _resourceOfScope;

    /// <summary>Makes the snapshot. Ids, URIs and scope names are unique; the store keeps them so.</summary>
    public Registry(IEnumerable<Client> clients, IEnumerable<Resource> resources)
    {
        _clients = clients.ToDictionary(client => client.ClientId, StringComparer.Ordinal);
        _resources = resources.ToDictionary(resource => resource.Uri, StringComparer.Ordinal);
        _resourceOfScope = _resources.Values
            .SelectMany(resource => resource.Scopes, (resource, scope) => (scope.Name, resource.Uri))
            .ToDictionary(pair => pair.Name, pair => pair.Uri, StringComparer.Ordinal);
    }

    /// <summary>The clients, in no particular order.</summary>
    public IReadOnlyCollection<Client> Clients => _clients.Values;

    /// <summary>The resources, in no particular order.</summary>
    public IReadOnlyCollection<Resource> Resources => _resources.Values;

    /// <summary>The client with this id.</summary>
    /// <returns>The client, or <see langword="null"/> where there is none.</returns>
    public Client? FindClient(string clientId) => _clients.GetValueOrDefault(clientId);

    /// <summary>The resource with this URI.</summary>
    /// <returns>The resource, or <see langword="null"/> where there is none.</returns>
    public Resource? FindResource(string uri) => _resources.GetValueOrDefault(uri);

    /// <summary>The URI of the one resource that a scope belongs to.</summary>
    /// <returns>The URI, or <see langword="null"/> where there is no such scope.</returns>
    public string? ResourceOf(string scopeName) => _resourceOfScope.GetValueOrDefault(scopeName);
}
