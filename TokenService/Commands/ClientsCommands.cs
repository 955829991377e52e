using System;
using System.Collections.Immutable;
using System.CommandLine;
using System.IO;
using System.Linq;
using TokenService.Administration;
using TokenService.Clients;
using TokenService.Operations;
using TokenService.Protocol;
using TokenService.Storage;

namespace TokenService.Commands;

/// <summary><c>clients add</c> and <c>clients list</c>; the others are in <see cref="ClientLifeCommands"/>.</summary>
internal static class ClientsCommands
{
    public static Command Create(Func<Settings> settings) => new("clients", "Clients: who may ask for tokens.")
    {
        Add(settings),
        List(settings),
        ClientLifeCommands.Show(settings),
        ClientLifeCommands.Remove(settings),
        ClientLifeCommands.Disable(settings),
        ClientLifeCommands.Enable(settings),
        ClientLifeCommands.RotateSecret(settings),
    };

    private static Command Add(Func<Settings> settings)
    {
        var id = new Option<string>("--id") { Description = "The client id.", Required = true };
        var scope = new Option<string>("--scope") { Description = "The scopes that it may be granted, separated by spaces.", Required = true };
        var name = new Option<string?>("--name") { Description = "A name for people." };
        var method = new Option<string>("--auth")
        {
            Description = $"How it authenticates: {string.Join(" or ", AuthenticationMethods.All.Where(method => !AuthenticationMethods.IsWorkload(method) && method != AuthenticationMethods.TlsClientAuth))}. The others need a declarative file (apply).",
            HelpName = "METHOD",
            DefaultValueFactory = _ => AuthenticationMethods.ClientSecretBasic,
        };
        var lifetime = new Option<long?>("--lifetime") { Description = "How long its tokens live, in seconds.", HelpName = "SECONDS" };
        var jwks = new Option<string?>("--jwks") { Description = "Its public keys, a file with a JWKS as new-key prints it (private_key_jwt, self_signed_tls_client_auth).", HelpName = "FILE" };
        var dpop = new Option<bool>("--dpop") { Description = "Its tokens are bound to a key that it proves to have with each request (dpop_bound_access_tokens)." };
        var grants = new Option<string>("--grant-types")
        {
            Description = $"The grants that it may use, separated by spaces, of {string.Join(" and ", GrantTypes.All)}.",
            HelpName = "GRANTS",
            DefaultValueFactory = _ => GrantTypes.ClientCredentials,
        };
        var command = new Command("add", "Registers a client. Where it has a secret, that is printed once, alone on standard output.")
        {
            id, scope, name, method, jwks, lifetime, grants, dpop,
        };
        command.SetAction(parsed =>
        {
            var keys = parsed.GetValue(jwks) is { } file ? ReadKeys(file) : null;
            Secret? secret = AuthenticationMethods.HasSecret(parsed.GetRequiredValue(method)) ? ClientSecret.Generate(parsed.GetRequiredValue(method)) : null;
            using var store = Store.Open(settings());
            var registration = new Registration(store.Registry, TimeProvider.System);
            var client = registration.Add(new ClientMetadata
            {
                ClientId = parsed.GetRequiredValue(id),
                ClientName = parsed.GetValue(name),
                TokenEndpointAuthMethod = parsed.GetRequiredValue(method),
                GrantTypes = [.. parsed.GetRequiredValue(grants).Split(' ')],
                Scope = parsed.GetRequiredValue(scope),
                AccessTokenLifetime = parsed.GetValue(lifetime),
                ClientSecrets = secret is { } made ? [made] : [],
                Jwks = keys,
                DPoPBoundAccessTokens = parsed.GetValue(dpop),
            });
            try
            {
                if (parsed.GetValue(CommandLine.Json))
                {
                    CommandOutput.WriteJson(Listing.Of(client) with { ClientSecret = secret?.Reveal() }, ListingJson.Default.ClientListing);
                }
                else if (secret is { } toShow)
                {
                    Console.Out.WriteLine(toShow.Reveal());
                }
            }
            catch (IOException fault)
            {
                // A client whose secret nobody has seen is of no use to anybody.
                registration.Remove(client);
                throw new OperatorFaultException($"The secret cannot be printed, so the client was not registered: {fault.Message}", fault);
            }

            // From here on the client stays, whatever happens: somebody has its secret.
            Console.Error.WriteLine(secret is null
                ? $"Registered client {client.ClientId}."
                : $"Registered client {client.ClientId}. Its secret is not kept in clear and not shown again.");
        });
        return command;
    }

    private static ImmutableArray<ClientKey>? ReadKeys(string file)
    {
        if (StrictJson.ReadObject(InputFile.Read(file)) is not { } set)
        {
            throw new OperatorFaultException($"The file {file} is no JSON object; it must hold a JWKS, as new-key prints it.");
        }

        var read = ClientKeyReader.Read(set);
        return read.Faults.IsEmpty ? read.Keys : throw new OperatorFaultException($"The file {file}: {string.Join("; ", read.FaultTexts)}.");
    }

    private static Command List(Func<Settings> settings)
    {
        var unusedFor = new Option<TimeSpan?>("--unused-for")
        {
            Description = "Only those that were not used for so long: 30d. One that was never used counts from its registration.",
            HelpName = "DURATION",
            CustomParser = argument => Duration.Parse(argument),
        };
        var command = new Command("list", "Lists the clients.") { unusedFor };
        command.SetAction(parsed =>
        {
            using var store = Store.Open(settings());
            var clients = store.Registry.Read().Clients.OrderBy(client => client.ClientId, StringComparer.Ordinal).Select(client => new ClientInUse(client, [])).ToList();
            var unused = parsed.GetValue(unusedFor);
            if (unused is { } duration)
            {
                var uses = CredentialUses.Read(store.DataSource).ToLookup(use => use.ClientId, StringComparer.Ordinal);
                var since = TimeProvider.System.GetUtcNow() - duration;
                clients = [.. clients.Select(entry => entry with { Uses = [.. uses[entry.Client.ClientId]] }).Where(entry => entry.IsUnusedSince(since))];
            }

            if (parsed.GetValue(CommandLine.Json))
            {
                CommandOutput.WriteJson([.. clients.Select(Listing.Of)], ListingJson.Default.ClientListingArray);
                return;
            }

            string[] last = unused is null ? [] : ["LAST USED"];
            CommandOutput.WriteTable(
                ["CLIENT ID", "NAME", "METHOD", "SCOPE", "STATE", "REGISTERED BY", .. last],
                [.. clients.Select(entry => (string[])
                [
                    entry.Client.ClientId,
                    entry.Client.Name ?? "",
                    entry.Client.AuthenticationMethod,
                    string.Join(' ', entry.Client.Scopes),
                    Listing.State(entry.Client),
                    Listing.Word(entry.Client.Origin),
                    .. unused is null ? (string[])[] : [Listing.Time(entry.LastUsedAt, "never")],
                ])]);
        });
        return command;
    }
}
