using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.Collections.Immutable;
using System.Linq;
using System.Text;
using TokenService.Protocol;

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
    private readonly ILookup<string, TrustedIssuer> _issuers;

    // By issuer and sub, where all its rules for the issuer name that; and by issuer alone, under null, where one does not.
    private readonly ILookup<(string Issuer, string? Subject), Client> _workloads;

    // The first eight bytes of the digest of each secret, in order; made when the first refusal asks.
    private readonly Lazy<ulong[]> _secrets;

    /// <summary>Makes the snapshot. Ids, URIs, scope names and the names of issuers are unique; the store keeps them so.</summary>
    public Registry(IEnumerable<Client> clients, IEnumerable<Resource> resources, IEnumerable<TrustedIssuer>? issuers = null)
    {
        _issuers = (issuers ?? []).ToLookup(issuer => issuer.Issuer, StringComparer.Ordinal);
        _clients = clients.ToDictionary(client => client.ClientId, StringComparer.Ordinal);
        _resources = resources.ToDictionary(resource => resource.Uri, StringComparer.Ordinal);
        _resourceOfScope = _resources.Values
            .SelectMany(resource => resource.Scopes, (resource, scope) => (scope.Name, resource.Uri))
            .ToDictionary(pair => pair.Name, pair => pair.Uri, StringComparer.Ordinal);
        _workloads = Workloads(_clients.Values);
        _secrets = Secrets(_clients);
    }

    private Registry(Dictionary<string, Client> clients, Registry before, bool workloadsChanged)
    {
        (_clients, _resources, _resourceOfScope, _issuers) = (clients, before._resources, before._resourceOfScope, before._issuers);
        _workloads = workloadsChanged ? Workloads(clients.Values) : before._workloads;
        _secrets = Secrets(clients);
    }

    /// <summary>Makes the next snapshot, where only clients have changed: a hundred thousand take a millisecond or two.</summary>
    /// <param name="changedIds">The ids of the clients that were added, changed or removed.</param>
    /// <param name="changed">Those of them that there are now.</param>
    public Registry With(IEnumerable<string> changedIds, IEnumerable<Client> changed)
    {
        // A copy of the same kind takes over the table as it is.
        var clients = new Dictionary<string, Client>(_clients, StringComparer.Ordinal);
        var workloadsChanged = false;
        foreach (var id in changedIds)
        {
            workloadsChanged |= clients.Remove(id, out var before) && IsWorkload(before);
        }

        foreach (var client in changed)
        {
            clients.Add(client.ClientId, client);
            workloadsChanged |= IsWorkload(client);
        }

        return new Registry(clients, this, workloadsChanged);
    }

    /// <summary>The clients, in no particular order.</summary>
    public IReadOnlyCollection<Client> Clients => _clients.Values;

    /// <summary>The resources, in no particular order.</summary>
    public IReadOnlyCollection<Resource> Resources => _resources.Values;

    /// <summary>The client with this id.</summary>
    /// <returns>The client, or <see langword="null"/> where there is none.</returns>
    public Client? FindClient(string clientId) => _clients.GetValueOrDefault(clientId);

    /// <summary>Whether a text is a secret of a client, whichever that is: sent in the place of something else, it must not be shown.</summary>
    public bool IsSecret(string text)
        => Encoding.UTF8.GetByteCount(text) <= ClientSecret.MaxBytes && Array.BinarySearch(_secrets.Value, Beginning(ClientSecret.Digest(new Secret(text)))) >= 0;

    /// <summary>The resource with this URI.</summary>
    /// <returns>The resource, or <see langword="null"/> where there is none.</returns>
    public Resource? FindResource(string uri) => _resources.GetValueOrDefault(uri);

    /// <summary>The issuers of workloads' identities, in no particular order.</summary>
    public IEnumerable<TrustedIssuer> Issuers => _issuers.SelectMany(issuers => issuers);

    /// <summary>The issuers whose tokens have this <c>iss</c>: several, where clusters were all set up with the same.</summary>
    /// <param name="issuer">The <c>iss</c>; of a SPIFFE trust domain, its name with the scheme.</param>
    public IEnumerable<TrustedIssuer> IssuersOf(string issuer) => _issuers[issuer];

    /// <summary>The clients that may be meant by a token: all whose rules for its issuer do not name another <c>sub</c>.</summary>
    /// <param name="issuer">The issuer that signed it.</param>
    /// <param name="subject">Its <c>sub</c>.</param>
    public IEnumerable<Client> WorkloadsOf(TrustedIssuer issuer, string subject)
        => _workloads[(issuer.Key, subject)].Concat(_workloads[(issuer.Key, null)]).DistinctBy(client => client.ClientId);

    /// <summary>The URI of the one resource that a scope belongs to.</summary>
    /// <returns>The URI, or <see langword="null"/> where there is no such scope.</returns>
    public string? ResourceOf(string scopeName) => _resourceOfScope.GetValueOrDefault(scopeName);

    private static Lazy<ulong[]> Secrets(Dictionary<string, Client> clients)
        => new(() => [.. clients.Values.SelectMany(client => client.Secrets, (_, secret) => Beginning(secret.Hash)).Order()]);

    private static ulong Beginning(ImmutableArray<byte> digest) => BinaryPrimitives.ReadUInt64BigEndian(digest.AsSpan());

    // A client that a former build has changed to another method still has its rules in the store.
    private static bool IsWorkload(Client client) => !client.Federation.IsEmpty && AuthenticationMethods.IsWorkload(client.AuthenticationMethod);

    private static ILookup<(string Issuer, string? Subject), Client> Workloads(IEnumerable<Client> clients) => clients
        .Where(IsWorkload)
        .SelectMany(client => client.Federation, (client, rule) => (Client: client, Rule: rule))
        .SelectMany(
            pair => pair.Rule.Claims.FirstOrDefault(claim => claim is { Claim: "sub", IsExact: true })?.Values ?? [null!],
            (pair, subject) => (Key: (pair.Rule.Issuer, (string?)subject), pair.Client))
        .ToLookup(pair => pair.Key, pair => pair.Client);
}
