using System;
using System.Buffers;
using System.Collections.Generic;
using System.Linq;
using System.Text;
using System.Text.Json;

namespace Fuzz;

/// <summary>
/// An assertion, read as leniently as anybody might and by none of our readers: what is said of it here is what an excuse for a refusal of ours goes by.
/// </summary>
/// <param name="text">The assertion.</param>
internal sealed class SentAssertion(string text)
{
    private const int LongestText = 16 * 1024;
    private const int DeepestNesting = 16;

    private static readonly UTF8Encoding s_utf8 = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);
    private static readonly JsonDocumentOptions s_deep = new() { MaxDepth = Mutation.MaxBytes };
    private static readonly SearchValues<char> s_alphabet = SearchValues.Create("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_");

    private readonly string[] _parts = text.Split('.');

    /// <summary>Whether it is longer than 16 KiB, or is not written in the one way that there is to write it: in base64url or in the JSON of its header or claims.</summary>
    public bool IsOddlyWritten => text.Length > LongestText || _parts.Length != 3 || _parts.Any(part => !IsCanonical(part)) || _parts[..2].Any(part => IsOddJson(Bytes(part)!));

    /// <summary>A member of its header.</summary>
    /// <returns>The member, of the kind <see cref="JsonValueKind.Undefined"/> where it is not there.</returns>
    public JsonElement Header(string name) => Member(0, name);

    /// <summary>A claim, in the same way.</summary>
    public JsonElement Claim(string name) => Member(1, name);

    /// <summary>Whether a claim is there, and is not a time from one to another: in seconds, where fractions count.</summary>
    public bool IsOutside(string name, double from, double to) => Claim(name) is { ValueKind: not JsonValueKind.Undefined } claim && !(Number(claim) is { } time && time >= from && time <= to);

    /// <summary>A number, of any size.</summary>
    /// <returns>The number, or <see langword="null"/> where it is none.</returns>
    public static double? Number(JsonElement element) => element.ValueKind == JsonValueKind.Number && element.TryGetDouble(out var number) ? number : null;

    /// <summary>A text.</summary>
    /// <returns>The text, or <see langword="null"/> where it is none.</returns>
    public static string? Text(JsonElement element) => element.ValueKind == JsonValueKind.String ? element.GetString() : null;

    private static bool IsCanonical(string part) => !part.AsSpan().ContainsAnyExcept(s_alphabet) && Bytes(part) is { } bytes && Mutation.Encode(bytes) == part;

    // What is behind it is left out, and so are bits that are left over.
    private static byte[]? Bytes(string part)
    {
        var plain = part.Replace('-', '+').Replace('_', '/').TrimEnd('=');
        var bytes = new byte[plain.Length];
        return Convert.TryFromBase64String(plain + new string('=', (4 - (plain.Length % 4)) % 4), bytes, out var length) ? bytes[..length] : null;
    }

    private static bool IsOddJson(byte[] utf8)
    {
        try
        {
            _ = s_utf8.GetString(utf8);
            using var json = JsonDocument.Parse(utf8, s_deep);
            return IsOdd(json.RootElement, nesting: 1);
        }
        catch (Exception fault) when (fault is JsonException or InvalidOperationException or DecoderFallbackException)
        {
            // No JSON, which a byte order mark is not either, or half of a surrogate pair.
            return true;
        }
    }

    // A member twice, too deep, or a text that is not Unicode, at which the library throws.
    private static bool IsOdd(JsonElement element, int nesting) => element.ValueKind switch
    {
        JsonValueKind.String => element.GetString() is null,
        JsonValueKind.Array => nesting > DeepestNesting || element.EnumerateArray().Any(item => IsOdd(item, nesting + 1)),
        JsonValueKind.Object => nesting > DeepestNesting || IsOdd([.. element.EnumerateObject()], nesting),
        _ => false,
    };

    private static bool IsOdd(List<JsonProperty> members, int nesting)
        => members.DistinctBy(member => member.Name, StringComparer.Ordinal).Count() < members.Count || members.Exists(member => IsOdd(member.Value, nesting + 1));

    private JsonElement Member(int part, string name)
    {
        using var json = JsonDocument.Parse(Bytes(_parts[part])!, s_deep);
        return json.RootElement.ValueKind == JsonValueKind.Object && json.RootElement.TryGetProperty(name, out var value) ? value.Clone() : default;
    }
}
