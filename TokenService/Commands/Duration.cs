using System;
using System.CommandLine.Parsing;
using System.Globalization;

namespace TokenService.Commands;

/// <summary>A DURATION on the command line: <c>30s</c>, <c>15m</c>, <c>24h</c>, <c>7d</c> or <c>hh:mm:ss</c>.</summary>
internal static class Duration
{
    private static readonly TimeSpan s_longest = TimeSpan.FromDays(36_500);

    /// <summary>Reads one.</summary>
    /// <returns>The duration, or <see langword="null"/> where the text is none or longer than a hundred years.</returns>
    public static TimeSpan? Parse(string text)
    {
        if (text.Contains(':', StringComparison.Ordinal))
        {
            return TimeSpan.TryParseExact(text, ["hh\\:mm\\:ss", "d\\.hh\\:mm\\:ss"], CultureInfo.InvariantCulture, out var exact) && exact <= s_longest
                ? exact
                : null;
        }

        if (text.Length < 2 || !int.TryParse(text.AsSpan(0, text.Length - 1), NumberStyles.None, CultureInfo.InvariantCulture, out var count))
        {
            return null;
        }

        TimeSpan? unit = text[^1] switch
        {
            's' => TimeSpan.FromSeconds(1),
            'm' => TimeSpan.FromMinutes(1),
            'h' => TimeSpan.FromHours(1),
            'd' => TimeSpan.FromDays(1),
            _ => null,
        };
        return unit is { } one && count <= s_longest / one ? count * one : null;
    }

    /// <summary>Reads one for an option; a wrong one is wrong usage.</summary>
    public static TimeSpan Parse(ArgumentResult argument)
    {
        var text = argument.Tokens[0].Value;
        if (Parse(text) is { } duration)
        {
            return duration;
        }

        argument.AddError($"'{text}' is no duration: accepted are 30s, 15m, 24h, 7d or hh:mm:ss.");
        return default;
    }
}
