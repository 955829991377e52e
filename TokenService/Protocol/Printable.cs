using System;
using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;

namespace TokenService.Protocol;

/// <summary>Turns what a caller sent into something that may stand in a log line or on a terminal.</summary>
public static partial class Printable
{
    private const int MaxLength = 64;

    /// <summary>
    /// The text in double quotes, shortened to 64 characters; whatever is not printable ASCII, and <c>"</c> and <c>\</c>, as
    /// <c>\uXXXX</c>: no line break, terminal escape or look-alike gets through.
    /// </summary>
    public static string Quote(string text)
    {
        var escaped = $"\"{Escape(text)}\"";
        return text.Length > MaxLength ? string.Create(CultureInfo.InvariantCulture, $"{escaped}… ({text.Length} characters)") : escaped;
    }

    /// <summary>The same without quotes, for a name or a message.</summary>
    /// <param name="text">The text.</param>
    /// <param name="maxLength">How much of it is kept, in characters.</param>
    public static string Escape(string text, int maxLength = MaxLength)
    {
        var escaped = new StringBuilder(Math.Min(text.Length, maxLength));
        foreach (var c in text.AsSpan(0, Math.Min(text.Length, maxLength)))
        {
            if (c is >= ' ' and <= '~' and not '"' and not '\\')
            {
                escaped.Append(c);
            }
            else
            {
                escaped.Append(CultureInfo.InvariantCulture, $"\\u{(int)c:X4}");
            }
        }

        return escaped.ToString();
    }

    /// <summary>
    /// The text with <c>***</c> for each part that may be a generated secret, the beginning of one that <see cref="Quote"/> has cut off, or a JWT: callers send them in wrong places.
    /// </summary>
    public static string Withhold(string text) => Secrets().Replace(text, "***");

    // 43 or 64 characters of base64url as they are generated here, behind another character or what stands for one; a few of them before the end of what was shortened; or
    // whatever begins as every JWT does, wherever.
    [GeneratedRegex("(?:(?<![A-Za-z0-9_-])|(?<=\\\\u[0-9A-F]{4}))(?:[A-Za-z0-9_-]{43}|[A-Za-z0-9_-]{64}|[A-Za-z0-9_-]{8,}(?=\"… \\())(?![A-Za-z0-9_-])|eyJ[A-Za-z0-9_.-]*")]
    private static partial Regex Secrets();
}
