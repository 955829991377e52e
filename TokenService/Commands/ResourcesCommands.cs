using System;
using System.CommandLine;
using System.Linq;
using TokenService.Administration;
using TokenService.Clients;
using TokenService.Operations;
using TokenService.Protocol;
using TokenService.Storage;

namespace TokenService.Commands;

/// <summary><c>resources add</c>, <c>resources list</c> and <c>resources remove</c>.</summary>
internal static class ResourcesCommands
{
    public static Command Create(Func<Settings> settings) => new("resources", "Resources and the scopes that belong to them.")
    {
        Add(settings),
        List(settings),
        Remove(settings),
    };

    private static Command Add(Func<Settings> settings)
    {
        var uri = new Argument<string>("URI") { Description = "The resource's absolute URI: the aud of the tokens for it." };
        var scope = new Option<string>("--scope") { Description = "Its scopes, separated by spaces.", Required = true };
        var name = new Option<string?>("--name") { Description = "A name for people." };
        var command = new Command("add", "Registers a resource.") { uri, scope, name };
        command.SetAction(parsed =>
        {
            var names = ScopeSyntax.Split(parsed.GetRequiredValue(scope))
                ?? throw new OperatorFaultException($"--scope must be at most {ScopeSyntax.MaxNames} scope names with single spaces between them.");
            using var store = Store.Open(settings());
            var resource = new Registration(store.Registry, TimeProvider.System).Add(new ResourceMetadata
            {
                Resource = parsed.GetRequiredValue(uri),
                Name = parsed.GetValue(name),
                Scopes = [.. names.Select(text => new ScopeMetadata(text, null))],
            });
            if (parsed.GetValue(CommandLine.Json))
            {
                CommandOutput.WriteJson(Listing.Of(resource), ListingJson.Default.ResourceListing);
            }
            else
            {
                Console.Error.WriteLine($"Registered resource {resource.Uri} with scope {string.Join(' ', names)}.");
            }
        });
        return command;
    }

    private static Command Remove(Func<Settings> settings)
    {
        var uri = new Argument<string>("URI") { Description = "The resource's URI." };
        var command = new Command("remove", "Removes a resource and its scopes, unless a client still has one of them.") { uri };
        command.SetAction(parsed =>
        {
            using var store = Store.Open(settings());
            var resource = new Registration(store.Registry, TimeProvider.System).RemoveResource(parsed.GetRequiredValue(uri));
            if (parsed.GetValue(CommandLine.Json))
            {
                CommandOutput.WriteJson(Listing.Of(resource), ListingJson.Default.ResourceListing);
            }
            else
            {
                Console.Error.WriteLine($"Removed resource {resource.Uri}.");
            }
        });
        return command;
    }

    private static Command List(Func<Settings> settings)
    {
        var command = new Command("list", "Lists the resources and their scopes.");
        command.SetAction(parsed =>
        {
            using var store = Store.Open(settings());
            var resources = store.Registry.Read().Resources.OrderBy(resource => resource.Uri, StringComparer.Ordinal).ToList();
            if (parsed.GetValue(CommandLine.Json))
            {
                CommandOutput.WriteJson([.. resources.Select(Listing.Of)], ListingJson.Default.ResourceListingArray);
                return;
            }

            CommandOutput.WriteTable(
                ["RESOURCE", "NAME", "SCOPE", "REGISTERED BY"],
                [.. resources.Select(resource => (string[])
                [
                    resource.Uri,
                    resource.Name ?? "",
                    string.Join(' ', resource.Scopes.Select(scope => scope.Name)),
                    Listing.Word(resource.Origin),
                ])]);
        });
        return command;
    }
}
