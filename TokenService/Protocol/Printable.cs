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
        var quoted = new StringBuilder("\"", MaxLength + 8);
        foreach (var c in text.AsSpan(0, Math.Min(text.Length, MaxLength)))
        {
            if (c is >= ' ' and <= '~' and not '"' and not '\\')
            {
                quoted.Append(c);
            }
            else
            {
                quoted.Append(CultureInfo.InvariantCulture, $"\\u{(int)c:X4}");
            }
        }

        quoted.Append('"');
        return text.Length > MaxLength
            ? quoted.Append(CultureInfo.InvariantCulture, $"… ({text.Length} characters)").ToString()
            : quoted.ToString();
    }
}
