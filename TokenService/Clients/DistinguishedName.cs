using System;
using System.Collections.Generic;
using System.Collections.Immutable;
using System.Formats.Asn1;
using System.Linq;
using System.Text;

namespace TokenService.Clients;

/// <summary>A distinguished name taken apart: of a certificate (X.501), or as a text (RFC 4514). Two with the same parts are equal, however they are written.</summary>
/// <remarks>
/// The order of the parts counts; within one that has several attributes (<c>CN=a+OU=b</c>) it does not. Values are compared character by character, whatever
/// kind of string a certificate has them in: a name that differs in case is another one.
/// </remarks>
public sealed class DistinguishedName : IEquatable<DistinguishedName>
{
    private const string Special = " \"#+,;<=>\\";

    private static readonly UTF8Encoding s_strict = new(false, throwOnInvalidBytes: true);

    // RFC 4514 §3, and what openssl prints besides (-nameopt RFC2253).
    private static readonly Dictionary<string, string> s_types = new(StringComparer.OrdinalIgnoreCase)
    {
        ["CN"] = "2.5.4.3",
        ["SN"] = "2.5.4.4",
        ["serialNumber"] = "2.5.4.5",
        ["C"] = "2.5.4.6",
        ["L"] = "2.5.4.7",
        ["ST"] = "2.5.4.8",
        ["STREET"] = "2.5.4.9",
        ["O"] = "2.5.4.10",
        ["OU"] = "2.5.4.11",
        ["title"] = "2.5.4.12",
        ["GN"] = "2.5.4.42",
        ["organizationIdentifier"] = "2.5.4.97",
        ["DC"] = "0.9.2342.19200300.100.1.25",
        ["UID"] = "0.9.2342.19200300.100.1.1",
        ["emailAddress"] = "1.2.840.113549.1.9.1",
    };

    // In the order of the certificate, which is the reverse of that in the text. A value that is no string is its DER in hexadecimal digits.
    private readonly ImmutableArray<ImmutableArray<(string Type, bool IsText, string Value)>> _parts;

    private DistinguishedName(IEnumerable<IEnumerable<(string, bool, string)>> parts) => _parts = [.. parts.Select(part => part.Order().ToImmutableArray())];

    /// <summary>Reads the text of RFC 4514 §3. Spaces around the parts do not count.</summary>
    /// <returns>The name, or <see langword="null"/> where it is none, has no part, or has an attribute of an unknown name.</returns>
    public static DistinguishedName? Parse(string text)
    {
        var parts = new List<List<(string, bool, string)>> { new() };
        var at = 0;
        while (true)
        {
            if (ReadAttribute(text, ref at) is not { } attribute)
            {
                return null;
            }

            parts[^1].Add(attribute);
            if (at == text.Length)
            {
                parts.Reverse();
                return new DistinguishedName(parts);
            }

            if (text[at++] == ',')
            {
                parts.Add([]);
            }
        }
    }

    /// <summary>Reads the name of a certificate.</summary>
    /// <param name="der">The name in DER.</param>
    /// <returns>The name, or <see langword="null"/> where it is malformed.</returns>
    public static DistinguishedName? Read(ReadOnlyMemory<byte> der)
    {
        try
        {
            var parts = new List<List<(string, bool, string)>>();
            var name = new AsnReader(der, AsnEncodingRules.DER).ReadSequence();
            while (name.HasData)
            {
                parts.Add([]);
                var part = name.ReadSetOf(skipSortOrderValidation: true);
                while (part.HasData)
                {
                    var attribute = part.ReadSequence();
                    var type = attribute.ReadObjectIdentifier();
                    var (isText, value) = Value(attribute.ReadEncodedValue().Span);
                    parts[^1].Add((type, isText, value));
                }
            }

            return new DistinguishedName(parts);
        }
        catch (AsnContentException)
        {
            return null;
        }
    }

    /// <inheritdoc/>
    public bool Equals(DistinguishedName? other) => other is not null && _parts.Length == other._parts.Length
        && _parts.Zip(other._parts).All(pair => pair.First.SequenceEqual(pair.Second));

    /// <inheritdoc/>
    public override bool Equals(object? obj) => Equals(obj as DistinguishedName);

    /// <inheritdoc/>
    public override int GetHashCode() => _parts.Length;

    // One type and value, up to the separator after it.
    private static (string, bool, string)? ReadAttribute(string text, ref int at)
    {
        var equals = text.IndexOf('=', at);
        if (equals < 0)
        {
            return null;
        }

        var name = text[at..equals].Trim(' ');
        at = equals + 1;
        while (at < text.Length && text[at] == ' ')
        {
            at++;
        }

        var value = at < text.Length && text[at] == '#' ? ReadHex(text, ref at) : ReadText(text, ref at);
        return TypeOf(name) is { } type && value is { } read ? (type, read.IsText, read.Value) : null;
    }

    private static string? TypeOf(string name) => s_types.TryGetValue(name, out var type) ? type
        : name.Contains('.') && name.Split('.').All(arc => arc.Length > 0 && arc.All(char.IsAsciiDigit)) ? name
        : null;

    private static (bool IsText, string Value)? ReadHex(string text, ref int at)
    {
        var end = text.AsSpan(at).IndexOfAny(',', '+');
        var digits = text.AsSpan(at + 1, (end < 0 ? text.Length - at : end) - 1).Trim(' ');
        at = end < 0 ? text.Length : at + end;
        try
        {
            return digits.IsEmpty ? null : Value(Convert.FromHexString(digits));
        }
        catch (Exception fault) when (fault is FormatException or AsnContentException)
        {
            return null;
        }
    }

    private static (bool IsText, string Value)? ReadText(string text, ref int at)
    {
        var (bytes, ends) = (new List<byte>(), 0);
        Span<byte> utf8 = stackalloc byte[4];
        while (at < text.Length && text[at] is not (',' or '+'))
        {
            var c = text[at++];
            if (c is '"' or ';' or '<' or '>' or '\0')
            {
                return null;
            }

            if (c != '\\')
            {
                // Both halves of a pair, where it is one; half of one alone is no text.
                var length = char.IsHighSurrogate(c) ? 2 : 1;
                if (!Rune.TryGetRuneAt(text, at - 1, out var rune))
                {
                    return null;
                }

                bytes.AddRange(utf8[..rune.EncodeToUtf8(utf8)]);
                at += length - 1;
                ends = c == ' ' ? ends : bytes.Count;
                continue;
            }

            if (at < text.Length && Special.Contains(text[at]))
            {
                bytes.Add((byte)text[at++]);
            }
            else if (at + 1 < text.Length && char.IsAsciiHexDigit(text[at]) && char.IsAsciiHexDigit(text[at + 1]))
            {
                bytes.Add(Convert.FromHexString(text.AsSpan(at, 2))[0]);
                at += 2;
            }
            else
            {
                return null;
            }

            ends = bytes.Count;
        }

        try
        {
            return (true, s_strict.GetString([.. bytes.Take(ends)]));
        }
        catch (DecoderFallbackException)
        {
            return null;
        }
    }

    private static (bool IsText, string Value) Value(ReadOnlySpan<byte> der)
    {
        var tag = Asn1Tag.Decode(der, out _);
        var isText = tag is { TagClass: TagClass.Universal, IsConstructed: false } && (UniversalTagNumber)tag.TagValue
            is UniversalTagNumber.UTF8String or UniversalTagNumber.PrintableString or UniversalTagNumber.IA5String or UniversalTagNumber.BMPString
            or UniversalTagNumber.NumericString or UniversalTagNumber.T61String;
        return isText
            ? (true, AsnDecoder.ReadCharacterString(der, AsnEncodingRules.DER, (UniversalTagNumber)tag.TagValue, out _))
            : (false, Convert.ToHexString(der));
    }
}
