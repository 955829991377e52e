using System;
using System.Buffers;
using System.Buffers.Text;

namespace TokenService.Protocol;

/// <summary>
/// Reads base64url as RFC 7515 §2 has it: no padding, no white space, and the one spelling that each sequence of bytes has. Lenient
/// readers let a caller write the same JWT in several ways.
/// </summary>
public static class StrictBase64Url
{
    private static readonly SearchValues<char> s_alphabet = SearchValues.Create("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_");

    /// <summary>Reads a text.</summary>
    /// <returns>The bytes, or <see langword="null"/> where the text is of another form.</returns>
    public static byte[]? Decode(ReadOnlySpan<char> text)
    {
        if (text.ContainsAnyExcept(s_alphabet) || text.Length % 4 == 1)
        {
            return null;
        }

        // The library refuses bits that are left over and not zero.
        var bytes = new byte[Base64Url.GetMaxDecodedLength(text.Length)];
        return Base64Url.DecodeFromChars(text, bytes, out _, out var written) == OperationStatus.Done && written == bytes.Length ? bytes : null;
    }
}
