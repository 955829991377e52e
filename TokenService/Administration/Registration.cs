using System;
using System.Linq;
using FluentValidation;
using TokenService.Clients;
using TokenService.Protocol;
using TokenService.Storage;

namespace TokenService.Administration;

/// <summary>Registers, changes and removes one resource or client, for the commands that do so.</summary>
/// <param name="store">Where to.</param>
/// <param name="clock">The clock.</param>
public sealed class Registration(RegistryStore store, TimeProvider clock)
{
    /// <summary>Registers a new resource with its scopes.</summary>
    /// <exception cref="OperatorFaultException">The metadata is wrong, or the resource or one of its scopes is there already.</exception>
    /// <exception cref="StoreUnavailableException">The store does not take it.</exception>
    public Resource Add(ResourceMetadata metadata)
    {
        Check(metadata, new ResourceMetadataRules());
        var resource = metadata.ToResource(Origin.Command);
        store.Change(registry =>
        {
            if (registry.FindResource(resource.Uri) is not null)
            {
                throw new OperatorFaultException($"Resource {Printable.Quote(resource.Uri)} is registered already.");
            }

            if (resource.Scopes.FirstOrDefault(scope => registry.ResourceOf(scope.Name) is not null) is { } taken)
            {
                throw new OperatorFaultException(
                    $"Scope {Printable.Quote(taken.Name)} belongs to resource {Printable.Quote(registry.ResourceOf(taken.Name)!)}; a scope belongs to one resource.");
            }

            return new RegistryChange { Resources = [resource] };
        });
        return resource;
    }

    /// <summary>Registers a new client.</summary>
    /// <exception cref="OperatorFaultException">The metadata is wrong, the id is taken, or a scope does not exist.</exception>
    /// <exception cref="StoreUnavailableException">The store does not take it.</exception>
    public Client Add(ClientMetadata metadata)
    {
        Check(metadata, new ClientMetadataRules(development: false));
        var client = metadata.ToClient(Origin.Command) with { IssuedAt = clock.GetUtcNow() };
        store.Change(registry =>
        {
            if (registry.FindClient(client.ClientId) is not null)
            {
                throw new OperatorFaultException($"Client {Printable.Quote(client.ClientId)} is registered already.");
            }

            if (client.Scopes.FirstOrDefault(name => registry.ResourceOf(name) is null) is { } unknown)
            {
                throw new OperatorFaultException(
                    $"Scope {Printable.Quote(unknown)} is no resource's scope; register it first with \"resources add URI --scope ...\".");
            }

            return new RegistryChange { Clients = [client] };
        });
        return client;
    }

    /// <summary>Takes back a client that was just registered.</summary>
    /// <exception cref="StoreUnavailableException">The store does not take it.</exception>
    public void Remove(Client client) => store.Change(_ => new RegistryChange { RemovedClients = [client.ClientId] });

    /// <summary>Removes a resource with its scopes.</summary>
    /// <exception cref="OperatorFaultException">There is none, a declarative file brought it, or a client still has one of its scopes or may introspect its tokens.</exception>
    /// <exception cref="StoreUnavailableException">The store does not take it.</exception>
    public Resource RemoveResource(string uri)
    {
        Resource? resource = null;
        store.Change(registry =>
        {
            resource = registry.FindResource(uri)
                ?? throw new OperatorFaultException($"Resource {Printable.Quote(uri)} is not registered; \"resources list\" names those that are.");
            RefuseOfFile(resource.Origin, $"Resource {Printable.Quote(uri)}");
            if (registry.Clients.FirstOrDefault(client => client.IntrospectedResources.Contains(uri)) is { } introspector)
            {
                throw new OperatorFaultException(
                    $"Resource {Printable.Quote(uri)} is still in use: client {Printable.Quote(introspector.ClientId)} may introspect its tokens. Change it first.");
            }

            var holders = registry.Clients
                .Where(client => client.Scopes.Any(scope => registry.ResourceOf(scope) == uri))
                .Select(client => client.ClientId)
                .Order(StringComparer.Ordinal)
                .ToList();
            return holders.Count == 0
                ? new RegistryChange { RemovedResources = [uri] }
                : throw new OperatorFaultException(
                    $"Resource {Printable.Quote(uri)} is still in use: {holders.Count} {(holders.Count == 1 ? "client has" : "clients have")} a scope of it, such as " +
                    $"{Printable.Quote(holders[0])}. Remove or change them first.");
        });
        return resource!;
    }

    /// <summary>Removes a client, with its secrets and keys.</summary>
    /// <exception cref="OperatorFaultException">There is none, or a declarative file brought it.</exception>
    /// <exception cref="StoreUnavailableException">The store does not take it.</exception>
    public Client RemoveClient(string clientId)
    {
        Client? client = null;
        store.Change(registry =>
        {
            client = Find(registry, clientId);
            RefuseOfFile(client.Origin, $"Client {Printable.Quote(clientId)}");
            return new RegistryChange { RemovedClients = [clientId] };
        });
        return client!;
    }

    /// <summary>Switches a client off or on again; one that is so already stays so.</summary>
    /// <exception cref="OperatorFaultException">There is none.</exception>
    /// <exception cref="StoreUnavailableException">The store does not take it.</exception>
    public Client Switch(string clientId, bool disabled)
    {
        Client? client = null;
        store.Change(registry =>
        {
            var old = Find(registry, clientId);
            client = old with { Disabled = disabled };
            return old.Disabled == disabled ? new RegistryChange() : new RegistryChange { Clients = [client] };
        });
        return client!;
    }

    /// <summary>
    /// Gives a client a new secret. Those that it has are good for the overlap and no longer; those that a command made and that have
    /// expired are removed.
    /// </summary>
    /// <param name="clientId">The client.</param>
    /// <param name="overlap">How long the old secrets stay good; zero ends them at once.</param>
    /// <exception cref="OperatorFaultException">There is no such client, or it has no secrets but a key.</exception>
    /// <exception cref="StoreUnavailableException">The store does not take it.</exception>
    public Rotation RotateSecret(string clientId, TimeSpan overlap)
    {
        Rotation? rotation = null;
        store.Change(registry =>
        {
            rotation = Rotation.Of(Find(registry, clientId), overlap, clock.GetUtcNow());
            return new RegistryChange { Clients = [rotation.After] };
        });
        return rotation!;
    }

    /// <summary>Takes back a rotation: nobody has seen the new secret.</summary>
    /// <exception cref="StoreUnavailableException">The store does not take it.</exception>
    public void TakeBack(Rotation rotation) => store.Change(registry => registry.FindClient(rotation.Before.ClientId) is { } client
        ? new RegistryChange { Clients = [rotation.TakenBack(client)] }
        : new RegistryChange());

    /// <summary>Finds a client that a command names.</summary>
    /// <exception cref="OperatorFaultException">There is none.</exception>
    public static Client Find(Registry registry, string clientId) => registry.FindClient(clientId)
        ?? throw new OperatorFaultException($"Client {Printable.Quote(clientId)} is not registered; \"clients list\" names those that are.");

    private static void RefuseOfFile(Origin origin, string what)
    {
        if (origin == Origin.File)
        {
            throw new OperatorFaultException($"{what} comes from a declarative file, and the next apply would bring it back: take it out of the file and apply that.");
        }
    }

    private static void Check<T>(T metadata, AbstractValidator<T> rules)
    {
        if (rules.Validate(metadata).Errors.FirstOrDefault() is { } failure)
        {
            throw new OperatorFaultException($"{failure.PropertyName} {failure.ErrorMessage}.");
        }
    }
}
