using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Unicode;

namespace Fuzz;

/// <summary>Changes an input that is right in one to four places: bytes of any kind, members of JSON, parts of a JWT.</summary>
internal static class Mutation
{
    /// <summary>The longest input, that of a request's body.</summary>
    public const int MaxBytes = 64 * 1024;

    private static readonly byte[] s_interesting =
        [0, 1, 9, 10, 13, 0x1B, (byte)' ', (byte)'"', (byte)'%', (byte)'&', (byte)'+', (byte)',', (byte)'.', (byte)':', (byte)'=', (byte)'\\', (byte)'{', 0x7F, 0x80, 0xBF, 0xC0, 0xED, 0xF4, 0xFF];

    private static readonly byte[][] s_words =
    [
        .. ((string[])
        [
            "%", "%0", "%00", "%0d%0a", "%ff", "%ED%A0%80", "%C0%80", "%zz", "+", "&", "&&", "=", "==", ";", "\r\n", "\r\n\r\n", "\0", "\u001b[31m", "\uFEFF", "\u202E", "ö", "😀",
            "{", "}", "[", "]", "[[[[[[[[[[[[[[[[[[", "{\"a\":", "\"", "\\u0000", "\\ud800", "\\u0061", "null", "true", "1e400", "1e-400", "-0", "-1", "0.1", "253402300799",
            "253402300800", "9223372036854775807", "9223372036854775808", "1e308", "..", ".", "eyJ", "eyJhbGciOiJub25lIn0", "none", "HS256", "RS256", "ES256", "PS512", "crit", "b64", "zip",
            "alg", "kid", "iss", "sub", "aud", "exp", "jti", "client_id=", "client_secret=", "client_assertion=", "grant_type=", "scope=", "resource=", "token=", "Basic ", "Bearer ",
            "=,", "#", "#04", "CN=", "1.3.6.1", "/", "//", "@", "127.0.0.1", "[::1]", "[::ffff:169.254.169.254]", "xn--", "file:", "http:", "https://", "urn:", "spiffe://", "*", ":", "::",
            "s", "m", "h", "d", "-", "99999999999", "--", "--urls=", "--TokenService:Issuer=",
        ]).Select(Encoding.UTF8.GetBytes),
    ];

    private static readonly string[] s_values =
    [
        "null", "true", "false", "0", "-1", "1", "1.5", "-0.0", "1e400", "1e-400", "1e308", "253402300799", "253402300799.9", "253402300800", "9223372036854775807", "9223372036854775808",
        "1800000000", "1800000029.999", "1800000030", "1800000030.001", "1799999970", "1799999970.001", "1800000630", "1800000630.001", "1800000600", "1799913600", "1.8e9",
        "\"\"", "\" \"", "\"a\"", "\"none\"", "\"None\"", "\"HS256\"", "\"RS256\"", "\"ES256\"", "\"PS256\"", "\"RS1\"", "\"JWT\"", "\"jwt\"", "\"at+jwt\"", "\"JOSE\"", "\"dpop+jwt\"", "\"1\"", "\"2\"",
        "\"https://auth.example.com\"", "\"https://auth.example.com/\"", "\"HTTPS://AUTH.EXAMPLE.COM\"", "\"https://other.example.com\"", "\"key-job\"", "\"mac-job\"", "\"nobody\"", "\"AQAB\"", "\"Aw\"", "\"P-256\"",
        "\"P-521\"", "\"\\u0000\"", "\"\\ud83d\\ude00\"", "\"\\r\\n\"", "\"client_secret_basic\"", "\"private_key_jwt\"", "\"spiffe://a/b\"", "\"http://[::1]/\"", "\"http://169.254.169.254/\"",
        "[]", "{}", "[[]]", "[\"a\"]", "[\"https://auth.example.com\"]", "[\"https://auth.example.com\",\"https://auth.example.com\"]", "[\"https://auth.example.com\",\"x\"]", "[1]", "[null]",
        "{\"a\":1}", "[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]",
    ];

    private static readonly string[] s_names =
    [
        "alg", "kid", "typ", "crit", "b64", "zip", "enc", "jwk", "jku", "x5u", "x5c", "iss", "sub", "aud", "exp", "iat", "nbf", "jti", "htm", "htu", "nonce", "ath", "cnf", "act", "kty", "n", "e",
        "crv", "x", "y", "d", "k", "use", "key_ops", "keys", "clients", "resources", "issuers", "client_id", "scope", "jwks", "jwks_uri", "federation", "claims", "introspection", "a", "",
    ];

    /// <summary>Changes bytes.</summary>
    /// <param name="dice">What decides.</param>
    /// <param name="seed">The input.</param>
    /// <param name="others">Others of its kind.</param>
    public static byte[] Bytes(Dice dice, byte[] seed, IReadOnlyList<byte[]> others)
    {
        List<byte> bytes = [.. seed];
        for (var changes = 1 + dice.Below(4); changes > 0; changes--)
        {
            Change(dice, bytes, others);
        }

        return bytes.Count <= MaxBytes ? [.. bytes] : [.. bytes.Take(MaxBytes)];
    }

    /// <summary>Bytes of text: what is no UTF-8 becomes what stands for it. Of 64 KiB of that the library's decoder makes text in 5 ms.</summary>
    public static byte[] Text(byte[] bytes)
    {
        var text = Utf8.IsValid(bytes) ? bytes : Encoding.UTF8.GetBytes(Encoding.UTF8.GetString(bytes));
        return text.Length <= MaxBytes ? text : text[..MaxBytes];
    }

    /// <summary>Changes JSON, member by member; as bytes, where it is none or now and then.</summary>
    public static byte[] Json(Dice dice, byte[] seed, IReadOnlyList<byte[]> others)
    {
        if (dice.OneIn(5) || Parse(seed) is not { } root)
        {
            return Bytes(dice, seed, others);
        }

        var changes = 1 + dice.Below(3);
        while (changes-- > 0 && root is not null)
        {
            root = ChangeMember(dice, root);
        }

        var text = root?.ToJsonString() ?? "null";
        if (dice.OneIn(8) && text.StartsWith('{') && text.Length > 2)
        {
            // Twice, which no tree can say.
            text = $"{{\"{dice.Of<string>(s_names)}\":{dice.Of<string>(s_values)},{text[1..]}";
        }

        return Encoding.UTF8.GetBytes(text);
    }

    /// <summary>Changes a JWT: its text, or header and claims, signed again or not.</summary>
    /// <param name="dice">What decides.</param>
    /// <param name="seed">The JWT.</param>
    /// <param name="others">Others of its kind.</param>
    /// <param name="sign">Signs content by an <c>alg</c>.</param>
    public static byte[] Jwt(Dice dice, byte[] seed, IReadOnlyList<byte[]> others, Func<string, byte[], byte[]> sign)
    {
        var parts = Encoding.ASCII.GetString(seed).Split('.');
        if (dice.OneIn(5) || parts.Length != 3)
        {
            return Bytes(dice, seed, others);
        }

        var (header, claims) = (Decode(parts[0]), Decode(parts[1]));
        var which = dice.Below(4);
        header = which is 0 or 3 ? Json(dice, header, [claims]) : header;
        claims = which is 1 or 2 or 3 ? Json(dice, claims, [header]) : claims;
        var content = $"{Encode(header)}.{Encode(claims)}";
        var signature = dice.Below(8) switch
        {
            0 => parts[2],
            1 => Encode(Bytes(dice, Decode(parts[2]), others)),
            _ => Encode(sign(AlgorithmOf(header), Encoding.ASCII.GetBytes(content))),
        };
        var token = Encoding.ASCII.GetBytes($"{content}.{signature}");
        return token.Length <= MaxBytes ? token : token[..MaxBytes];
    }

    /// <summary>The <c>alg</c> of a header, or an empty text.</summary>
    public static string AlgorithmOf(byte[] header)
    {
        try
        {
            return Parse(header) is JsonObject root && root["alg"] is JsonValue value && value.TryGetValue(out string? algorithm) ? algorithm! : "";
        }
        catch (Exception fault) when (fault is InvalidOperationException or ArgumentException)
        {
            // A text that is no Unicode, or a member that is there twice.
            return "";
        }
    }

    /// <summary>Base64url without padding.</summary>
    public static string Encode(byte[] bytes) => System.Buffers.Text.Base64Url.EncodeToString(bytes);

    private static byte[] Decode(string part) => System.Buffers.Text.Base64Url.DecodeFromChars(part);

    private static JsonNode? Parse(byte[] utf8)
    {
        try
        {
            return JsonNode.Parse(utf8, new JsonNodeOptions(), new JsonDocumentOptions { AllowDuplicateProperties = false });
        }
        catch (Exception fault) when (fault is JsonException or InvalidOperationException)
        {
            return null;
        }
    }

    private static JsonNode? ChangeMember(Dice dice, JsonNode root)
    {
        List<JsonNode> holders = [];
        Collect(root, holders);
        if (holders.Count == 0)
        {
            return Parse(Encoding.UTF8.GetBytes(dice.Of<string>(s_values)));
        }

        var value = Parse(Encoding.UTF8.GetBytes(dice.Of<string>(s_values)));
        switch (holders[dice.Below(holders.Count)])
        {
            case JsonObject { Count: > 0 } members when !dice.OneIn(4):
                var name = members.ElementAt(dice.Below(members.Count)).Key;
                if (dice.OneIn(4))
                {
                    members.Remove(name);
                }
                else
                {
                    members[name] = dice.OneIn(3) ? Nudged(dice, members[name]) : value;
                }

                break;
            case JsonObject members:
                members[dice.Of<string>(s_names)] = value;
                break;
            case JsonArray { Count: > 0 } items when !dice.OneIn(4):
                items[dice.Below(items.Count)] = value;
                break;
            case JsonArray items:
                for (var count = dice.OneIn(4) ? 40 : 1; count > 0; count--)
                {
                    items.Add(value?.DeepClone());
                }

                break;
        }

        return root;
    }

    // A little more or less, longer or with another character.
    private static JsonNode? Nudged(Dice dice, JsonNode? node)
    {
        if (node is not JsonValue value)
        {
            return node is null ? null : new JsonArray(node.DeepClone(), node.DeepClone());
        }

        if (value.TryGetValue(out double number) && double.IsFinite(number))
        {
            return JsonValue.Create(number + (dice.Below(2_000) - 1_000) + (dice.OneIn(2) ? 0.5 : 0));
        }

        if (!value.TryGetValue(out string? text))
        {
            return value.DeepClone();
        }

        return JsonValue.Create(dice.Below(6) switch
        {
            0 => text + text,
            1 => text.ToUpperInvariant(),
            2 => $" {text}",
            3 => text + (char)(0x20 + dice.Below(0x300)),
            4 => string.Concat(Enumerable.Repeat(text.Length == 0 ? "x" : text, 300 / Math.Max(1, text.Length))),
            _ => text.Length == 0 ? "x" : text.Remove(dice.Below(text.Length), 1),
        });
    }

    private static void Collect(JsonNode? node, List<JsonNode> holders)
    {
        if (holders.Count > 500)
        {
            return;
        }

        if (node is JsonObject members)
        {
            holders.Add(node);
            foreach (var (_, value) in members)
            {
                Collect(value, holders);
            }
        }
        else if (node is JsonArray items)
        {
            holders.Add(node);
            foreach (var item in items)
            {
                Collect(item, holders);
            }
        }
    }

    private static void Change(Dice dice, List<byte> bytes, IReadOnlyList<byte[]> others)
    {
        var at = dice.Below(bytes.Count + 1);
        var length = Math.Min(bytes.Count - at, 1 + dice.Below(dice.OneIn(4) ? 64 : 6));
        switch (dice.Below(13))
        {
            case 0 when at < bytes.Count:
                bytes[at] ^= (byte)(1 << dice.Below(8));
                break;
            case 1 when at < bytes.Count:
                bytes[at] = dice.Of<byte>(s_interesting);
                break;
            case 2:
                bytes.RemoveRange(at, length);
                break;
            case 3:
                bytes.InsertRange(at, dice.Bytes(1 + dice.Below(8)));
                break;
            case 4:
                bytes.InsertRange(at, bytes.GetRange(at, length));
                break;
            case 5 or 6 or 7:
                bytes.InsertRange(at, dice.Of<byte[]>(s_words));
                break;
            case 8:
                bytes.RemoveRange(at, length);
                bytes.InsertRange(at, dice.Of<byte[]>(s_words));
                break;
            case 9 when others.Count > 0:
                // The beginning of this and the end of another.
                var other = others[dice.Below(others.Count)];
                bytes.RemoveRange(at, bytes.Count - at);
                bytes.AddRange(other.AsSpan(dice.Below(other.Length + 1)));
                break;
            case 10 when dice.OneIn(3):
                bytes.RemoveRange(at, bytes.Count - at);
                break;
            case 11 when dice.OneIn(12) && bytes.Count < MaxBytes:
                // As large as it may be, of one part or one word.
                var part = dice.OneIn(2) && length > 0 ? [.. bytes.GetRange(at, length)] : dice.Of<byte[]>(s_words);
                var count = (dice.OneIn(2) ? MaxBytes - bytes.Count : dice.Below(2_000)) / part.Length;
                var parts = new byte[count * part.Length];
                for (var i = 0; i < parts.Length; i += part.Length)
                {
                    part.CopyTo(parts, i);
                }

                bytes.InsertRange(at, parts);
                break;
            case 12:
                // Digits, which count something.
                var digits = Encoding.ASCII.GetBytes(((long)(dice.Next() >> dice.Below(63))).ToString(CultureInfo.InvariantCulture));
                bytes.InsertRange(at, digits);
                break;
        }
    }
}
