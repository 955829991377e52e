using System;
using System.CommandLine;
using System.IO;
using System.Linq;
using TokenService.Administration;
using TokenService.Clients;
using TokenService.Operations;
using TokenService.Protocol;
using TokenService.Storage;

namespace TokenService.Commands;

/// <summary>What happens to a client after <c>clients add</c>: <c>show</c>, <c>remove</c>, <c>disable</c>, <c>enable</c>, <c>rotate-secret</c>.</summary>
internal static class ClientLifeCommands
{
    public static Command Show(Func<Settings> settings)
    {
        var id = Id();
        var command = new Command("show", "Shows all of a client, with when it, and each of its secrets and keys, was last used.") { id };
        command.SetAction(parsed =>
        {
            using var store = Store.Open(settings());
            var clientId = parsed.GetRequiredValue(id);
            var client = new ClientInUse(
                Registration.Find(store.Registry.Read(), clientId),
                [.. CredentialUses.Read(store.DataSource).Where(use => use.ClientId == clientId)]);
            if (parsed.GetValue(CommandLine.Json))
            {
                CommandOutput.WriteJson(Listing.All(client), ListingJson.Default.ClientListing);
            }
            else
            {
                Print(client, TimeProvider.System.GetUtcNow());
            }
        });
        return command;
    }

    public static Command Remove(Func<Settings> settings) => Change(
        settings,
        "remove",
        "Removes a client. A running service gives it no more tokens within 5 seconds.",
        (registration, id) => registration.RemoveClient(id),
        id => $"Removed client {id}.");

    public static Command Disable(Func<Settings> settings) => Change(
        settings,
        "disable",
        "Switches a client off. A running service gives it no more tokens within 5 seconds.",
        (registration, id) => registration.Switch(id, disabled: true),
        id => $"Disabled client {id}.");

    public static Command Enable(Func<Settings> settings) => Change(
        settings,
        "enable",
        "Switches a client on again.",
        (registration, id) => registration.Switch(id, disabled: false),
        id => $"Enabled client {id}.");

    public static Command RotateSecret(Func<Settings> settings)
    {
        var id = Id();
        var overlap = new Option<TimeSpan>("--overlap")
        {
            Description = "How long the secrets that the client has now stay good: 30m, 24h, 7d; 0s ends them at once.",
            HelpName = "DURATION",
            CustomParser = Duration.Parse,
            DefaultValueFactory = _ => TimeSpan.FromHours(24),
        };
        var command = new Command("rotate-secret", "Gives a client a new secret, which is printed once, alone on standard output.") { id, overlap };
        command.SetAction(parsed =>
        {
            using var store = Store.Open(settings());
            var registration = new Registration(store.Registry, TimeProvider.System);
            var rotation = registration.RotateSecret(parsed.GetRequiredValue(id), parsed.GetValue(overlap));
            try
            {
                if (parsed.GetValue(CommandLine.Json))
                {
                    CommandOutput.WriteJson(
                        Listing.All(new ClientInUse(rotation.After, [])) with { ClientSecret = rotation.Secret.Reveal() }, ListingJson.Default.ClientListing);
                }
                else
                {
                    Console.Out.WriteLine(rotation.Secret.Reveal());
                }
            }
            catch (IOException fault)
            {
                // The old secrets must not end for one that nobody has seen.
                registration.TakeBack(rotation);
                throw new OperatorFaultException($"The secret cannot be printed, so the client has none but its old ones: {fault.Message}", fault);
            }

            Console.Error.WriteLine(
                $"Client {rotation.After.ClientId} has a new secret, which is not kept in clear and not shown again. " +
                $"The old ones are good until {Listing.Time(rotation.OldEndAt, "")} at the latest.");
        });
        return command;
    }

    private static Argument<string> Id() => new("ID") { Description = "The client id." };

    private static Command Change(
        Func<Settings> settings, string name, string description, Func<Registration, string, Client> change, Func<string, string> say)
    {
        var id = Id();
        var command = new Command(name, description) { id };
        command.SetAction(parsed =>
        {
            using var store = Store.Open(settings());
            var client = change(new Registration(store.Registry, TimeProvider.System), parsed.GetRequiredValue(id));
            if (parsed.GetValue(CommandLine.Json))
            {
                CommandOutput.WriteJson(Listing.Of(client), ListingJson.Default.ClientListing);
            }
            else
            {
                Console.Error.WriteLine(say(client.ClientId));
            }
        });
        return command;
    }

    private static void Print(ClientInUse shown, DateTimeOffset now)
    {
        foreach (var (member, value) in shown.Members)
        {
            Console.Out.WriteLine($"{member,-31} {value}");
        }

        WriteTable(["SECRET", "EXPIRES", "REGISTERED BY", "LAST USED"], [.. shown.Secrets.Select(entry => (string[])
        [
            entry.Secret.Id,
            Listing.Time(entry.Secret.ExpiresAt, "never") + (entry.Secret.IsLive(now) ? "" : " (expired)"),
            Listing.Word(entry.Secret.Origin),
            Listing.Time(entry.LastUsedAt, "never"),
        ])]);
        WriteTable(["KEY", "ALGORITHM", "LAST USED"], [.. shown.Keys.Select(entry => (string[])
        [
            Printable.Escape(entry.Id),
            string.Join(' ', entry.Algorithms ?? []),
            Listing.Time(entry.LastUsedAt, "never"),
        ])]);
    }

    private static void WriteTable(string[] head, string[][] rows)
    {
        if (rows.Length > 0)
        {
            Console.Out.WriteLine();
            CommandOutput.WriteTable(head, rows);
        }
    }
}
