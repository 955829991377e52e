using System;
using System.Collections.Immutable;
using System.Diagnostics;
using System.Globalization;
using System.Linq;
using System.Threading;
using System.Threading.Tasks;

namespace Fuzz;

/// <summary>Throws inputs at all that reads what strangers send, in this process.</summary>
/// <remarks>
/// Nothing may throw but with the reader's own result, nothing may take longer than 5 ms, and what must hold of each reader must hold. The machine may be shared: an input that
/// took longer is tried again, up to a hundred times, and counts where none of these is short enough.
/// </remarks>
internal static class InProcess
{
#if DEBUG
    /// <summary>How long an input of up to 64 KiB may take: five times as long where nothing is optimized.</summary>
    public static readonly TimeSpan Longest = TimeSpan.FromMilliseconds(25);
#else
    /// <summary>How long an input of up to 64 KiB may take.</summary>
    public static readonly TimeSpan Longest = TimeSpan.FromMilliseconds(5);
#endif

    // Enough that the code was compiled with optimization in between.
    private const int Again = 100;
    private const int WarmUp = 400;
    private const int AtOnce = 1_000;

    /// <summary>Tries so many inputs.</summary>
    /// <param name="count">How many.</param>
    /// <param name="seed">What they follow from.</param>
    /// <param name="tell">Told now and then how many were tried.</param>
    public static Report Run(long count, ulong seed, Action<long>? tell = null)
    {
        using var targets = new Targets();
        var turns = Turns(targets.All);
        var notes = new Notes();

        // Compiled by then: the first times are not the input's.
        for (var i = 0; i < WarmUp * turns.Length; i++)
        {
            Try(turns[i % turns.Length], new Dice(~seed, (ulong)i), notes: null, ~seed, i);
        }

        foreach (var target in targets.All)
        {
            var taken = target.Seeds.Count(target.Reads);
            notes.Count(string.Create(CultureInfo.InvariantCulture, $"{target.Name}: {taken} of {target.Seeds.Length} seeds are accepted"));
        }

        var since = Stopwatch.StartNew();
        long begun = 0;
        Parallel.For(0, Environment.ProcessorCount, _ =>
        {
            for (var from = Interlocked.Add(ref begun, AtOnce) - AtOnce; from < count; from = Interlocked.Add(ref begun, AtOnce) - AtOnce)
            {
                for (var i = from; i < Math.Min(count, from + AtOnce); i++)
                {
                    Try(turns[(int)(i % turns.Length)], new Dice(seed, (ulong)i), notes, seed, i);
                }

                if (from % (AtOnce * 1_000) == 0)
                {
                    tell?.Invoke(from);
                }
            }
        });
        return notes.End(count, since.Elapsed);
    }

    /// <summary>Makes one input again.</summary>
    /// <returns>Who reads it, and the input.</returns>
    public static (Target Target, byte[] Input) Make(Targets targets, ulong seed, long index)
    {
        var turns = Turns(targets.All);
        var target = turns[(int)(index % turns.Length)];
        return (target, target.Make(new Dice(seed, (ulong)index)));
    }

    private static Target[] Turns(ImmutableArray<Target> targets) => [.. targets.SelectMany(target => Enumerable.Repeat(target, target.Share))];

    private static void Try(Target target, Dice dice, Notes? notes, ulong seed, long index)
    {
        var input = target.Make(dice);
        try
        {
            var since = Stopwatch.GetTimestamp();
            var taken = target.Reads(input);
            var took = Stopwatch.GetElapsedTime(since);
            notes?.Count(taken ? $"{target.Name}: accepted" : $"{target.Name}: refused");
            if (notes is not null && took > Longest)
            {
                notes.Count("too long once");
                if (ShortestOf(target, input) is var shortest && shortest > Longest)
                {
                    notes.Find($"{target.Name} takes too long", string.Create(CultureInfo.InvariantCulture, $"{shortest.TotalMilliseconds:0.0} ms for {input.Length} bytes, seed {seed} index {index}"));
                }
            }
        }
        catch (Exception fault)
        {
            var where = fault.StackTrace?.Split('\n').FirstOrDefault(line => line.Contains("TokenService.", StringComparison.Ordinal))?.Trim() ?? "";
            notes?.Find(
                $"{target.Name} throws {fault.GetType().Name} {where}",
                string.Create(CultureInfo.InvariantCulture, $"{fault.Message} (seed {seed} index {index}; {Convert.ToBase64String(input.AsSpan(0, Math.Min(input.Length, 600)))})"));
        }
    }

    private static TimeSpan ShortestOf(Target target, byte[] input)
    {
        var shortest = TimeSpan.MaxValue;
        for (var i = 0; i < Again && shortest > Longest; i++)
        {
            // Waits between them: what has had the core for long is interrupted sooner.
            Thread.Sleep(1);
            var since = Stopwatch.GetTimestamp();
            target.Reads(input);
            var took = Stopwatch.GetElapsedTime(since);
            shortest = took < shortest ? took : shortest;
        }

        return shortest;
    }
}
