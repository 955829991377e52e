using System.Linq;
using FluentValidation;
using TokenService.Clients;
using TokenService.Protocol;
using TokenService.Storage;

namespace TokenService.Administration;

/// <summary>Registers one resource or client, for the commands that do so.</summary>
/// <param name="store">Where to.</param>
public sealed class Registration(RegistryStore store)
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
        var client = metadata.ToClient(Origin.Command);
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

    private static void Check<T>(T metadata, AbstractValidator<T> rules)
    {
        if (rules.Validate(metadata).Errors.FirstOrDefault() is { } failure)
        {
            throw new OperatorFaultException($"{failure.PropertyName} {failure.ErrorMessage}.");
        }
    }
}
