using System;
using System.Collections.Immutable;
using System.Linq;
using System.Threading;

namespace TokenService.Operations;

/// <summary>What happened at the token endpoint in one period.</summary>
/// <param name="Issued">How many tokens were given, those included that were given again.</param>
/// <param name="Refused">How many requests were refused.</param>
public readonly record struct ActivityPeriod(long Issued, long Refused);

/// <summary>How many tokens were issued and refused in the last hours, in memory, for the chart of the console: 72 periods, whatever comes.</summary>
/// <remarks>Counting is one look at the clock and one addition, without a lock. Time is monotonic: a clock that is set moves nothing.</remarks>
/// <param name="clock">The clock.</param>
public sealed class TokenActivity(TimeProvider clock)
{
    /// <summary>How many periods are kept, the one under way included.</summary>
    public const int Periods = 72;

    /// <summary>How long each is.</summary>
    public static readonly TimeSpan Period = TimeSpan.FromMinutes(5);

    private readonly Count?[] _counts = new Count?[Periods];
    private readonly long _began = clock.GetTimestamp();

    private long Current => (long)(clock.GetElapsedTime(_began) / Period);

    /// <summary>A token was given.</summary>
    public void CountIssued() => Interlocked.Increment(ref Now().Issued);

    /// <summary>A request for one was refused.</summary>
    public void CountRefused() => Interlocked.Increment(ref Now().Refused);

    /// <summary>The periods, the oldest first; the last is the one under way.</summary>
    public ImmutableArray<ActivityPeriod> Read()
    {
        var current = Current;
        return
        [
            .. Enumerable.Range(0, Periods).Select(i => current - Periods + 1 + i).Select(period =>
                period >= 0 && Volatile.Read(ref _counts[period % Periods]) is { } count && count.Period == period
                    ? new ActivityPeriod(Volatile.Read(ref count.Issued), Volatile.Read(ref count.Refused))
                    : default),
        ];
    }

    private Count Now()
    {
        var period = Current;
        ref var place = ref _counts[period % Periods];
        var count = Volatile.Read(ref place);
        while (count is null || count.Period < period)
        {
            // Whoever comes first in a period begins it; the others find it begun.
            var begun = new Count(period);
            count = Interlocked.CompareExchange(ref place, begun, count) == count ? begun : Volatile.Read(ref place);
        }

        return count;
    }

    private sealed class Count(long period)
    {
        public readonly long Period = period;
        public long Issued;
        public long Refused;
    }
}
