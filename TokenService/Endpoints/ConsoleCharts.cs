using System;
using System.Collections.Generic;
using System.Collections.Immutable;
using System.Linq;
using TokenService.Operations;

namespace TokenService.Endpoints;

/// <summary>The two pictures of the console, as SVG. Pure. No words are in them: those stand beside them, and do not shrink with the picture.</summary>
public static class ConsoleCharts
{
    private const int Height = 100;
    private const int Step = 10;
    private const int Bar = 8;
    private const int Line = 1000;

    /// <summary>The end of the scale for these periods: 10, 20, 50, 100 and so on, so that the highest fits.</summary>
    public static long Top(ImmutableArray<ActivityPeriod> periods)
    {
        var most = periods.Max(period => period.Issued + period.Refused);
        long[] marks = [1, 2, 5];
        for (var power = 10L; ; power *= 10)
        {
            if (marks.FirstOrDefault(mark => mark * power >= most) is > 0 and var mark)
            {
                return mark * power;
            }
        }
    }

    /// <summary>A bar for each period, what was refused on top of what was issued. The script finds the bars by their classes, in this order.</summary>
    public static Html Activity(ImmutableArray<ActivityPeriod> periods)
    {
        var top = (double)Top(periods);
        return Html.Of($"""
            <svg class="activity" viewBox="0 0 {periods.Length * Step} {Height}" preserveAspectRatio="none" role="img" aria-labelledby="activity-title activity-sum">
            <path class="grid" d="M0 0.5H{periods.Length * Step}M0 {Height / 2}H{periods.Length * Step}M0 99.5H{periods.Length * Step}"/>
            {periods.Select((period, i) => Html.Of($"""
                <rect class="issued" x="{(i * Step) + 1}" y="{Height - (Height * period.Issued / top)}" width="{Bar}" height="{Height * period.Issued / top}"/>
                <rect class="refused" x="{(i * Step) + 1}" y="{Height - (Height * (period.Issued + period.Refused) / top)}" width="{Bar}" height="{Height * period.Refused / top}"/>
                """))}
            </svg>
            """);
    }

    /// <summary>From where to where the time line of the keys goes.</summary>
    public static (DateTimeOffset From, DateTimeOffset To) Span(ConsoleKeys keys, DateTimeOffset now)
    {
        var from = keys.Keys.Min(key => key.Key.CreatedAt);
        var ends = keys.Keys.Select(key => key.GoneAt ?? key.Key.SignsFrom + keys.Rotation).Append(now + TimeSpan.FromHours(1));
        return (from < now ? from : now, ends.Max());
    }

    /// <summary>The life of one key: published, signing, retiring, and where now is.</summary>
    /// <param name="keys">All keys, in the order in which they sign.</param>
    /// <param name="place">Which of them.</param>
    /// <param name="now">The time.</param>
    public static Html Life(ConsoleKeys keys, int place, DateTimeOffset now)
    {
        var (from, to) = Span(keys, now);
        var key = keys.Keys[place];
        var signsTo = place + 1 < keys.Keys.Length ? keys.Keys[place + 1].Key.SignsFrom : key.Key.SignsFrom + keys.Rotation;
        IEnumerable<(string State, DateTimeOffset From, DateTimeOffset To)> parts =
        [
            ("published", key.Key.CreatedAt, key.Key.SignsFrom), ("signing", key.Key.SignsFrom, signsTo), ("retiring", signsTo, key.GoneAt ?? signsTo),
        ];
        return Html.Of($"""
            <svg class="life" viewBox="0 0 {Line} 20" preserveAspectRatio="none" aria-hidden="true">
            <rect class="ground" x="0" y="4" width="{Line}" height="12"/>
            {parts.Where(part => part.To > part.From).Select(part => Html.Of(
                $"""<rect class="{part.State}" x="{At(part.From)}" y="4" width="{Math.Max(4, At(part.To) - At(part.From))}" height="12"/>"""))}
            <path class="now" d="M{At(now)} 0V20"/>
            </svg>
            """);

        double At(DateTimeOffset time) => Line * Math.Clamp((time - from) / (to - from), 0, 1);
    }
}
