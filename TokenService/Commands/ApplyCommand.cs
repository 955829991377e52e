using System;
using System.CommandLine;
using System.IO;
using TokenService.Administration;
using TokenService.Operations;
using TokenService.Storage;

namespace TokenService.Commands;

/// <summary><c>apply FILE</c>: makes the store agree with a declarative file, wholly or not at all.</summary>
internal static class ApplyCommand
{
    public static Command Create(Func<Settings> settings)
    {
        var file = new Argument<string>("FILE") { Description = "The declarative file (JSON)." };
        var dryRun = new Option<bool>("--dry-run") { Description = "Print what would be done, and do nothing." };
        var command = new Command("apply", "Makes the store agree with a declarative file; prints what it added, changed and removed.")
        {
            file,
            dryRun,
        };
        command.SetAction(parsed =>
        {
            var current = settings();
            using var store = Store.Open(current);
            var content = DeclarativeFile.Load(Path.GetFullPath(parsed.GetRequiredValue(file)), current.Development);
            var plan = ApplyFile.Once(content, store.Registry, parsed.GetValue(dryRun));
            if (parsed.GetValue(CommandLine.Json))
            {
                CommandOutput.WriteJson(Listing.Of(plan, parsed.GetValue(dryRun)), ListingJson.Default.PlanListing);
            }
            else
            {
                Print(plan, parsed.GetValue(dryRun));
            }
        });
        return command;
    }

    private static void Print(ApplyPlan plan, bool dryRun)
    {
        foreach (var change in plan.Changes)
        {
            var members = change.Members.IsEmpty ? "" : $" ({string.Join(", ", change.Members)})";
            Console.Out.WriteLine($"{change.Kind} {change.Entry} {change.Id}{members}");
        }

        Console.Out.WriteLine(plan.Changes.IsEmpty ? "Nothing to change." : dryRun ? "Nothing was done (--dry-run)." : "Done.");
    }
}
