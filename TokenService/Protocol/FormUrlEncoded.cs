using System;
using System.Buffers;
using System.Collections.Generic;
using System.Diagnostics.CodeAnalysis;
using System.Text;
using System.Text.Unicode;

namespace TokenService.Protocol;

/// <summary>
/// Reads <c>application/x-www-form-urlencoded</c> as RFC 6749 appendix B has it, strictly: a <c>%</c> without two hexadecimal
/// digits, bytes that are not UTF-8, and bare control characters are faults. The lenient readers of web frameworks guess there, and
/// two programs that guess differently read two different requests.
/// </summary>
public static class FormUrlEncoded
{
    /// <summary>The most fields that a form may have.</summary>
    public const int MaxFields = 64;

    /// <summary>Reads a whole form, in time linear to its length.</summary>
    /// <param name="form">The bytes of the form.</param>
    /// <param name="fields">Names and values in the order they came in, where the answer is <see langword="true"/>.</param>
    /// <param name="fault">What is wrong, without repeating any of it, where the answer is <see langword="false"/>.</param>
    public static bool TryParse(
        ReadOnlySpan<byte> form,
        [NotNullWhen(true)] out List<KeyValuePair<string, string>>? fields,
        [NotNullWhen(false)] out string? fault)
    {
        fields = [];
        foreach (var range in form.Split((byte)'&'))
        {
            var pair = form[range];
            if (pair.IsEmpty)
            {
                continue;
            }

            if (fields.Count == MaxFields)
            {
                fault = $"The form has more than {MaxFields} parameters.";
                return false;
            }

            var equals = pair.IndexOf((byte)'=');
            var name = Decode(equals < 0 ? pair : pair[..equals]);
            var value = equals < 0 ? "" : Decode(pair[(equals + 1)..]);
            if (name is null || value is null)
            {
                fault = "The form is malformed: a '%' without two hexadecimal digits, bytes that are not UTF-8, or a bare control character.";
                return false;
            }

            fields.Add(new(name, value));
        }

        fault = null;
        return true;
    }

    /// <summary>Reads one name or value.</summary>
    /// <returns>The text, or <see langword="null"/> where it is malformed.</returns>
    public static string? Decode(ReadOnlySpan<byte> encoded)
    {
        var rented = ArrayPool<byte>.Shared.Rent(encoded.Length);
        try
        {
            var length = 0;
            for (var i = 0; i < encoded.Length; i++)
            {
                var b = encoded[i];
                if (b == '%')
                {
                    if (i + 2 >= encoded.Length
                        || Convert.FromHexString(encoded.Slice(i + 1, 2), rented.AsSpan(length, 1), out _, out _) != OperationStatus.Done)
                    {
                        return null;
                    }

                    i += 2;
                }
                else if (b is < 0x20 or 0x7F)
                {
                    return null;
                }
                else
                {
                    rented[length] = b == '+' ? (byte)' ' : b;
                }

                length++;
            }

            var decoded = rented.AsSpan(0, length);
            return Utf8.IsValid(decoded) ? Encoding.UTF8.GetString(decoded) : null;
        }
        finally
        {
            // It may have held a secret.
            ArrayPool<byte>.Shared.Return(rented, clearArray: true);
        }
    }
}
