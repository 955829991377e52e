using System;
using System.Buffers;
using System.Globalization;
using System.Text;

namespace TokenService.Protocol;

/// <summary>Turns what a caller sent into something that may stand in a log line or on a terminal.</summary>
public static class Printable
{
    private const int MaxLength = 64;

    // Behind what was shortened; and so many characters of a secret before that are too many.
    private const string Cut = "\"… (";
    private const int LeastOfSecret = 8;

    // A header with an alg, in base64url.
    private const int ShortestHeader = 12;

    // What follows the backslash.
    private const int EscapeLength = 5;

    private const string Base64Url = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

    private static readonly SearchValues<char> s_base64Url = SearchValues.Create(Base64Url);
    private static readonly SearchValues<char> s_hexadecimal = SearchValues.Create("0123456789ABCDEF");
    private static readonly SearchValues<char> s_jwt = SearchValues.Create(Base64Url + ".");

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
    /// The text with <c>***</c> for each part that may be a generated secret (43 or 64 characters of base64url), the beginning of one that <see cref="Quote"/> has cut off,
    /// or a JWT: callers send them in wrong places. In time linear to its length.
    /// </summary>
    public static string Withhold(string text)
    {
        StringBuilder? shown = null;
        var (kept, at) = (0, 0);
        while (text.AsSpan(at).IndexOfAny(s_base64Url) is >= 0 and var before)
        {
            var start = at + before;
            at = EndOf(text, start, s_base64Url);

            // What stands for another character ends in letters and digits: they are none of what comes behind.
            var from = start > 0 && text[start - 1] == '\\' && IsEscape(text.AsSpan(start, at - start)) ? start + EscapeLength : start;
            var isJwt = IsJwt(text.AsSpan(from, at - from), text.AsSpan(at));
            if (isJwt || at - from is 43 or 64 || (at - from >= LeastOfSecret && text.AsSpan(at).StartsWith(Cut, StringComparison.Ordinal)))
            {
                at = isJwt ? EndOf(text, at, s_jwt) : at;
                (shown ??= new StringBuilder()).Append(text, kept, from - kept).Append("***");
                kept = at;
            }
        }

        return shown is null ? text : shown.Append(text, kept, text.Length - kept).ToString();
    }

    // Every JWT begins so. In the middle of a word it is one only with a header before the dot, and claims behind it: "keyJob" is a name.
    private static bool IsJwt(ReadOnlySpan<char> run, ReadOnlySpan<char> rest)
    {
        var at = run.IndexOf("eyJ", StringComparison.Ordinal);
        return at == 0 || (at > 0 && run.Length - at >= ShortestHeader && rest.StartsWith(".e", StringComparison.Ordinal));
    }

    private static bool IsEscape(ReadOnlySpan<char> run)
        => run.Length >= EscapeLength && run[0] == 'u' && !run[1..EscapeLength].ContainsAnyExcept(s_hexadecimal);

    private static int EndOf(string text, int start, SearchValues<char> characters)
        => text.AsSpan(start).IndexOfAnyExcept(characters) is >= 0 and var length ? start + length : text.Length;
}
