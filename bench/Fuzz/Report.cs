using System;
using System.Collections.Concurrent;
using System.Collections.Immutable;
using System.Globalization;
using System.Linq;

namespace Fuzz;

/// <summary>What a run came to.</summary>
/// <param name="Inputs">How many inputs were tried.</param>
/// <param name="Took">How long it took.</param>
/// <param name="Counts">How often each thing happened that is worth a number.</param>
/// <param name="Findings">What should not have happened, each kind once with how to make it again; empty where all is well.</param>
internal sealed record Report(long Inputs, TimeSpan Took, ImmutableSortedDictionary<string, long> Counts, ImmutableArray<string> Findings)
{
    /// <summary>The report in lines.</summary>
    public override string ToString() => string.Join('\n', (string[])
    [
        string.Create(CultureInfo.InvariantCulture, $"{Inputs} inputs in {Took.TotalSeconds:0.0} s"),
        .. Counts.Select(count => string.Create(CultureInfo.InvariantCulture, $"  {count.Value,12}  {count.Key}")),
        .. Findings.Select(finding => $"FOUND {finding}"),
    ]);
}

/// <summary>Notes what happens in a run, from several threads.</summary>
internal sealed class Notes
{
    private readonly ConcurrentDictionary<string, long> _counts = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, string> _findings = new(StringComparer.Ordinal);

    /// <summary>Counts something.</summary>
    /// <param name="what">What.</param>
    /// <param name="times">How often.</param>
    public void Count(string what, long times = 1) => _counts.AddOrUpdate(what, times, (_, before) => before + times);

    /// <summary>Notes a finding; of each kind the first is told, the others are counted.</summary>
    public void Find(string kind, string detail)
    {
        _findings.TryAdd(kind, detail);
        Count($"FOUND {kind}");
    }

    /// <summary>What it came to.</summary>
    public Report End(long inputs, TimeSpan took) => new(
        inputs, took, _counts.ToImmutableSortedDictionary(StringComparer.Ordinal), [.. _findings.OrderBy(pair => pair.Key).Select(pair => $"{pair.Key}: {pair.Value}")]);
}
