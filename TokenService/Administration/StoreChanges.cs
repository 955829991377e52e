using System;
using System.Collections.Generic;
using System.Linq;
using TokenService.Keys;
using TokenService.Operations;
using TokenService.Storage;

namespace TokenService.Administration;

/// <summary>What differs between two states of the store, as records for the audit log. Pure.</summary>
/// <remarks>
/// Who changed it, nobody knows here: commands run in processes of their own, and so do other replicas. Two changes of the same entry between two
/// looks at the store are one.
/// </remarks>
public static class StoreChanges
{
    /// <summary>The changes; at least one, where the store counted one.</summary>
    /// <param name="before">The older state.</param>
    /// <param name="after">The newer one.</param>
    /// <param name="now">When the change was seen.</param>
    public static IEnumerable<AuditRecord> Between(StoreSnapshot before, StoreSnapshot after, DateTimeOffset now)
    {
        var records = Of(ApplyPlan.Differences(before.Registry, after.Registry), now).Concat(Of(before.Keys.Schedule, after.Keys.Schedule, now)).ToList();
        if (records.Count == 0 && after.Version != before.Version)
        {
            records.Add(new AuditRecord(AuditEvents.StoreChanged, now));
        }

        return records.Select(record => record with { StoreVersion = after.Version });
    }

    /// <summary>What an <c>apply</c> did.</summary>
    /// <param name="changes">Its changes.</param>
    /// <param name="now">When.</param>
    public static IEnumerable<AuditRecord> Of(IEnumerable<PlannedChange> changes, DateTimeOffset now)
        => changes.Select(change => new AuditRecord($"{change.Entry}_{change.Kind}", now) { Id = change.Id, Members = change.Members });

    private static IEnumerable<AuditRecord> Of(KeySchedule before, KeySchedule after, DateTimeOffset now)
    {
        foreach (var key in after.Keys)
        {
            var old = before.Keys.FirstOrDefault(other => other.Kid == key.Kid);
            if (old != key)
            {
                yield return new AuditRecord(old is null ? AuditEvents.KeyAdded : AuditEvents.KeyChanged, now)
                {
                    Id = key.Kid,
                    Algorithm = key.Algorithm,
                    SignsFrom = key.SignsFrom,
                };
            }
        }

        foreach (var gone in before.Keys.Where(key => !after.Keys.Any(other => other.Kid == key.Kid)))
        {
            yield return new AuditRecord(AuditEvents.KeyRemoved, now) { Id = gone.Kid, Algorithm = gone.Algorithm };
        }
    }
}
