using System;
using System.Buffers.Text;
using System.Security.Cryptography;

namespace TokenService.Tokens;

/// <summary>The <c>jti</c> of a token (RFC 7519 §4.1.7): 128 random bits, which no other token has.</summary>
internal static class TokenId
{
    /// <summary>Its length in characters.</summary>
    public const int Length = 22;

    private const int Bytes = 16;

    // The generator is asked for many at once: each call costs a tenth of a P-256 signature, however few bytes it gives.
    [ThreadStatic]
    private static byte[]? t_random;

    [ThreadStatic]
    private static int t_used;

    /// <summary>Makes one.</summary>
    /// <param name="text">Takes it, in base64url: <see cref="Length"/> bytes of ASCII.</param>
    public static void Write(Span<byte> text)
    {
        if (t_random is null || t_used == t_random.Length)
        {
            // Kept only once it is filled: where the generator fails, no later call may take the zeros for random.
            var random = t_random ?? new byte[64 * Bytes];
            RandomNumberGenerator.Fill(random);
            (t_random, t_used) = (random, 0);
        }

        Base64Url.EncodeToUtf8(t_random.AsSpan(t_used, Bytes), text);
        t_used += Bytes;
    }
}
