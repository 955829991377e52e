using System;
using System.Buffers;
using System.Globalization;
using System.Text;

namespace TokenService.Protocol;

/// <summary>Turns what a caller sent into something that may stand in a log line or on a terminal.</summary>
public static class Printable
{
    private const int MaxLength = 64;
    private const int MostRecorded = 256;

    // Behind what was shortened; and so many characters of a secret before that are too many.
    private const string Cut = "\"… (";
    private const int LeastOfSecret = 8;

    // A header with an alg, in base64url.
    private const int ShortestHeader = 12;

    // What follows the backslash.
    private const int EscapeLength = 5;

    // How every JWT begins.
    private const string BeginOfJwt = "eyJ";

    private const string Withheld = "***";
    private const int LeastOfKey = 38;

    // The least that an operator may choose, where it is not for Development alone, is 32.
    private const int LeastOfChosen = 16;

    private const string Base64Url = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

    private static readonly SearchValues<char> s_base64Url = SearchValues.Create(Base64Url);
    private static readonly SearchValues<char> s_betweenWords = SearchValues.Create(" \"");

    // Of a URI, or of something like credentials; and where another character is written as an escape.
    private static readonly SearchValues<char> s_betweenParts = SearchValues.Create(" \"/?#&=:,;@\\");

    // What stands in a text for the operator is ASCII, but for the mark of what was cut off.
    private static readonly SearchValues<char> s_betweenKeys = SearchValues.Create(" !\"#$%&'()*,.:;<=>?@[\\]^`{|}~…\r\n\t");
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
    /// The text with <c>***</c> for each part that is, or may be, a secret, a JWT or a private key: callers send them in wrong places. In doubt it is one. In time
    /// linear to its length.
    /// </summary>
    /// <param name="text">What a caller sent, as it came or as <see cref="Quote"/> gives it.</param>
    /// <param name="isSecret">Whether a text is somebody's secret; asked for the text itself, its words and their parts of 16 characters and more.</param>
    public static string Withhold(string text, Func<string, bool> isSecret)
    {
        if (text.Contains("PRIVATE KEY", StringComparison.Ordinal) || isSecret(text) || (text.Contains('\\', StringComparison.Ordinal) && isSecret(Unescaped(text.AsSpan().Trim('"')))))
        {
            return Withheld;
        }

        text = WithholdGenerated(text);
        text = WithholdBetween(text, s_betweenKeys, LeastOfKey, static (run, _) => IsMixed(run));
        text = WithholdBetween(
            text, s_betweenWords, LeastOfChosen, (word, rest) => IsCut(word, rest) || isSecret(word.ToString()) || (word.Contains('\\') && isSecret(Unescaped(word))));
        return WithholdBetween(
            text, s_betweenParts, LeastOfChosen, (part, _) => isSecret(part.ToString()) || (IsEscape(part) && isSecret(part[EscapeLength..].ToString())));
    }

    /// <summary>
    /// What a caller asked for, as it may be recorded: printable, and up to 256 characters of it. It is <c>***</c> where any part is, or may be, a secret, a
    /// JWT or a private key.
    /// </summary>
    /// <param name="text">What was sent.</param>
    /// <param name="isSecret">Whether a text is somebody's secret.</param>
    public static string Record(string text, Func<string, bool> isSecret)
    {
        // By whole words: a part of a secret would not be known for one.
        var kept = text.Length > MostRecorded ? text[..Math.Max(0, text.LastIndexOf(' ', MostRecorded))] : text;
        var escaped = Escape(kept, MostRecorded);
        return isSecret(text) || Withhold(escaped, isSecret) != escaped ? Withheld
            : kept.Length == text.Length ? escaped
            : string.Create(CultureInfo.InvariantCulture, $"{escaped}… ({text.Length} characters)");
    }

    // 43 or 64 characters of base64url as secrets are generated here, the beginning of one that Quote has cut off, or a JWT.
    private static string WithholdGenerated(string text)
    {
        StringBuilder? shown = null;
        var shortest = text.Contains(BeginOfJwt, StringComparison.Ordinal) ? BeginOfJwt.Length : LeastOfSecret;
        var (kept, at) = (0, 0);
        while (at + shortest <= text.Length)
        {
            // What ends within so many characters is too short, and so is all before.
            if (text.AsSpan(at, shortest).LastIndexOfAnyExcept(s_base64Url) is >= 0 and var last)
            {
                at += last + 1;
                continue;
            }

            var start = at;
            at = EndOf(text, start, s_base64Url);

            // What stands for another character ends in letters and digits: they are none of what comes behind.
            var from = start > 0 && text[start - 1] == '\\' && IsEscape(text.AsSpan(start, at - start)) ? start + EscapeLength : start;
            var isJwt = IsJwt(text.AsSpan(from, at - from), text.AsSpan(at));
            if (isJwt || at - from is 43 or 64 || (at - from >= LeastOfSecret && text.AsSpan(at).StartsWith(Cut, StringComparison.Ordinal)))
            {
                at = isJwt ? EndOf(text, at, s_jwt) : at;
                (shown ??= new StringBuilder()).Append(text, kept, from - kept).Append(Withheld);
                kept = at;
            }
        }

        return shown is null ? text : shown.Append(text, kept, text.Length - kept).ToString();
    }

    private static string WithholdBetween(string text, SearchValues<char> separators, int shortest, Func<ReadOnlySpan<char>, ReadOnlySpan<char>, bool> isWithheld)
    {
        StringBuilder? shown = null;
        var (kept, at) = (0, 0);
        while (at + shortest <= text.Length)
        {
            // What ends within so many characters is too short, and so is all before.
            if (text.AsSpan(at, shortest).LastIndexOfAny(separators) is >= 0 and var last)
            {
                at += last + 1;
                continue;
            }

            var start = at;
            at = text.AsSpan(start).IndexOfAny(separators) is >= 0 and var length ? start + length : text.Length;
            if (isWithheld(text.AsSpan(start, at - start), text.AsSpan(at)))
            {
                (shown ??= new StringBuilder()).Append(text, kept, start - kept).Append(Withheld);
                kept = at;
            }
        }

        return shown is null ? text : shown.Append(text, kept, text.Length - kept).ToString();
    }

    // As a generated secret is of which a character was lost or added, and as keys in base64 are.
    private static bool IsMixed(ReadOnlySpan<char> run)
        => run.ContainsAnyInRange('A', 'Z') && run.ContainsAnyInRange('a', 'z') && run.ContainsAnyInRange('0', '9');

    // What Quote has shortened is no longer to be known again. A URI may be that long.
    private static bool IsCut(ReadOnlySpan<char> word, ReadOnlySpan<char> rest)
        => rest.StartsWith(Cut, StringComparison.Ordinal) && word.Length >= MaxLength && !word.Contains("://", StringComparison.Ordinal);

    // In the middle of a word it is one only with a header before the dot, and claims behind it: "keyJob" is a name.
    private static bool IsJwt(ReadOnlySpan<char> run, ReadOnlySpan<char> rest)
    {
        var at = run.IndexOf(BeginOfJwt, StringComparison.Ordinal);
        return at == 0 || (at > 0 && run.Length - at >= ShortestHeader && rest.StartsWith(".e", StringComparison.Ordinal));
    }

    // What Quote has made of it, undone: a secret that somebody has chosen may have a quotation mark in it. Control characters around it are none of it.
    private static string Unescaped(ReadOnlySpan<char> word)
    {
        var text = new StringBuilder(word.Length);
        while (word.IndexOf('\\') is >= 0 and var at)
        {
            text.Append(word[..at]);
            var isEscape = IsEscape(word[(at + 1)..]);
            text.Append(isEscape ? (char)ushort.Parse(word.Slice(at + 2, EscapeLength - 1), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture) : '\\');
            word = word[(at + 1 + (isEscape ? EscapeLength : 0))..];
        }

        var whole = text.Append(word).ToString().AsSpan();
        while (whole is [var first, ..] && (char.IsControl(first) || char.IsWhiteSpace(first)))
        {
            whole = whole[1..];
        }

        while (whole is [.., var last] && (char.IsControl(last) || char.IsWhiteSpace(last)))
        {
            whole = whole[..^1];
        }

        return whole.ToString();
    }

    private static bool IsEscape(ReadOnlySpan<char> run)
        => run.Length >= EscapeLength && run[0] == 'u' && !run[1..EscapeLength].ContainsAnyExcept(s_hexadecimal);

    private static int EndOf(string text, int start, SearchValues<char> characters)
        => text.AsSpan(start).IndexOfAnyExcept(characters) is >= 0 and var length ? start + length : text.Length;
}
