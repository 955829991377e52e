using System;
using System.Globalization;
using System.Text;

namespace TokenService.Protocol;

/// <summary>Turns what a caller sent into something that may stand in a log line or on a terminal.</summary>
public static class Printable
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

    /// <summary>The same without quotes, for a name.</summary>
    /// <param name="text">The text.</param>
    /// <param name="maxLength">After how many characters it is cut off.</param>
    public static string Escape(string text, int maxLength = MaxLength)
    {
        var escaped = new StringBuilder(MaxLength);
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
}
