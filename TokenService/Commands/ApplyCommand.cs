using System;
using System.CommandLine;
using System.IO;
using System.Linq;
using TokenService.Administration;
using TokenService.Operations;
using TokenService.Protocol;
using TokenService.Storage;

namespace TokenService.Commands;

/// <summary><c>apply FILE</c>: makes the store agree with a declarative file, wholly or not at all.</summary>
internal static class ApplyCommand
{
    // Of which clients the output says that they are in use.
    private static readonly TimeSpan s_shownUses = TimeSpan.FromDays(7);

    public static Command Create(Func<Settings> settings)
    {
        var file = new Argument<string>("FILE") { Description = "The declarative file (JSON)." };
        var dryRun = new Option<bool>("--dry-run") { Description = "Print what would be done, and do nothing." };
        var failIfUsed = new Option<TimeSpan?>("--fail-if-used")
        {
            Description = "Do nothing where a client that would be changed or removed was used in this time: 7d.",
            HelpName = "DURATION",
            CustomParser = argument => Duration.Parse(argument),
        };
        var command = new Command("apply", "Makes the store agree with a declarative file; prints what it added, changed and removed.")
        {
            file,
            dryRun,
            failIfUsed,
        };
        command.SetAction(parsed =>
        {
            var current = settings();
            using var store = Store.Open(current);
            var content = DeclarativeFile.Load(Path.GetFullPath(parsed.GetRequiredValue(file)), current.Development, current.AccessTokenLifetime);
            var now = TimeProvider.System.GetUtcNow();
            var uses = CredentialUses.Read(store.DataSource);
            var plan = ApplyFile.Once(content, store.Registry, now, parsed.GetValue(dryRun), planned =>
            {
                if (parsed.GetValue(failIfUsed) is { } duration)
                {
                    RefuseUsed(planned.With(uses), now - duration);
                }
            }).With([.. uses.Where(use => use.LastUsedAt >= now - s_shownUses)]);
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

    private static void RefuseUsed(ApplyPlan plan, DateTimeOffset since)
    {
        var used = plan.Changes.Where(change => change.LastUsedAt >= since).ToList();
        if (used.Count > 0)
        {
            throw new OperatorFaultException($"In use, so nothing was applied: {string.Join(", ", used.Select(change =>
                $"client {Printable.Quote(change.Id)}, which would be {change.Kind}, was used at {Listing.Time(change.LastUsedAt, "")}"))}.");
        }
    }

    private static void Print(ApplyPlan plan, bool dryRun)
    {
        foreach (var change in plan.Changes)
        {
            var members = change.Members.IsEmpty ? "" : $" ({string.Join(", ", change.Members)})";
            var used = change.LastUsedAt is { } at ? $", last used {Listing.Time(at, "")}" : "";
            Console.Out.WriteLine($"{change.Kind} {change.Entry} {change.Id}{members}{used}");
        }

        Console.Out.WriteLine(plan.Changes.IsEmpty ? "Nothing to change." : dryRun ? "Nothing was done (--dry-run)." : "Done.");
    }
}
