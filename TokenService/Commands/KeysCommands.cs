using System;
using System.CommandLine;
using System.Globalization;
using System.IO;
using System.Linq;
using TokenService.Administration;
using TokenService.Operations;
using TokenService.Storage;

namespace TokenService.Commands;

/// <summary><c>keys list</c>, <c>keys rotate</c>, <c>keys retire</c> and <c>keys rewrap</c>.</summary>
internal static class KeysCommands
{
    public static Command Create(Func<Settings> settings) => new("keys", "Signing keys, and the master key that encrypts them.")
    {
        List(settings),
        Rotate(settings),
        Retire(settings),
        Rewrap(settings),
    };

    private static Command List(Func<Settings> settings)
    {
        var command = new Command("list", "Lists the signing keys: published (not signing yet), signing, retiring (its tokens may still live).");
        command.SetAction(parsed =>
        {
            using var store = Store.Open(settings());
            var keys = store.Keys.Read().At(TimeProvider.System.GetUtcNow());
            if (parsed.GetValue(CommandLine.Json))
            {
                CommandOutput.WriteJson([.. keys.Select(Listing.Of)], ListingJson.Default.KeyListingArray);
                return;
            }

            CommandOutput.WriteTable(
                ["KID", "ALGORITHM", "STATE", "CREATED", "SIGNS FROM", "GONE AT"],
                [.. keys.Select(key => (string[])
                [
                    key.Key.Kid,
                    key.Key.Algorithm,
                    Listing.Word(key.State),
                    Time(key.Key.CreatedAt),
                    Time(key.Key.SignsFrom),
                    key.GoneAt is { } goneAt ? Time(goneAt) : "",
                ])]);
        });
        return command;
    }

    private static Command Rotate(Func<Settings> settings)
    {
        var now = new Option<bool>("--now")
        {
            Description = "Sign with the new key at once. Verifiers that keep the JWKS do not know it yet, and may refuse its tokens until they fetch it again.",
        };
        var command = new Command("rotate", "Publishes a new signing key, which signs after TokenService:KeyPublishAhead.") { now };
        command.SetAction(parsed =>
        {
            var current = settings();
            using var store = Store.Open(current);
            var made = KeyRotation.Rotate(store.Keys, current, TimeProvider.System, parsed.GetValue(now));
            if (parsed.GetValue(CommandLine.Json))
            {
                var listed = store.Keys.Read().At(TimeProvider.System.GetUtcNow()).First(key => key.Key.Kid == made.Kid);
                CommandOutput.WriteJson(Listing.Of(listed), ListingJson.Default.KeyListing);
            }
            else
            {
                Console.Error.WriteLine($"Published the new signing key {made.Kid} for {made.Algorithm}; it signs from {Time(made.SignsFrom)}.");
            }
        });
        return command;
    }

    private static Command Retire(Func<Settings> settings)
    {
        var kid = new Argument<string>("KID") { Description = "The key identifier, as keys list shows it." };
        var command = new Command(
            "retire", "Takes a signing key that leaked out of the JWKS at once, for ever. Where it was the one that signs, another takes over.") { kid };
        command.SetAction(parsed =>
        {
            var current = settings();
            using var store = Store.Open(current);
            var retired = parsed.GetRequiredValue(kid);
            var signing = KeyRotation.Retire(store.Keys, current, TimeProvider.System, retired);
            if (parsed.GetValue(CommandLine.Json))
            {
                var listed = store.Keys.Read().At(TimeProvider.System.GetUtcNow()).First(key => key.Key.Kid == signing.Kid);
                CommandOutput.WriteJson(new RetiredListing(retired, Listing.Of(listed)), ListingJson.Default.RetiredListing);
            }
            else
            {
                Console.Error.WriteLine($"Retired the signing key {retired}. {signing.Kid} signs now.");
            }
        });
        return command;
    }

    private static Command Rewrap(Func<Settings> settings)
    {
        var file = new Option<string>("--new-master-key")
        {
            Description = "A file with the new master key: 32 random bytes in base64, as \"openssl rand -base64 32\" writes them.",
            Required = true,
            HelpName = "FILE",
        };
        var command = new Command("rewrap", "Encrypts all signing keys and kept client secrets under a new master key, and puts that one into use.") { file };
        command.SetAction(parsed =>
        {
            using var store = Store.Open(settings());
            var path = Path.GetFullPath(parsed.GetRequiredValue(file));
            var done = store.Rewrap(path);
            if (parsed.GetValue(CommandLine.Json))
            {
                CommandOutput.WriteJson(new RewrapListing(done.SigningKeys, done.ClientSecrets, done.MasterKeyFile, done.Previous), ListingJson.Default.RewrapListing);
                return;
            }

            Console.Error.WriteLine($"Encrypted under the new master key: signing keys {done.SigningKeys}, client secrets {done.ClientSecrets}.");
            Console.Error.WriteLine(done.Previous is null
                ? $"Now put {path} into the place of {done.MasterKeyFile}, or set TokenService:MasterKeyFile to it: the store does not open with the old one any more."
                : $"It is in {done.MasterKeyFile}. The one before is in {done.Previous}: backups of the store from before need it.");
        });
        return command;
    }

    private static string Time(DateTimeOffset time) => time.UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture);
}
