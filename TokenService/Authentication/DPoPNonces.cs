using System;
using System.Buffers.Binary;
using System.Buffers.Text;
using System.Security.Cryptography;
using TokenService.Keys;
using TokenService.Protocol;

namespace TokenService.Authentication;

/// <summary>
/// The nonces that DPoP proofs must have (RFC 9449 §8): a proof that somebody has made in advance, or has found, is of no use a few minutes later.
/// </summary>
/// <remarks>A nonce is the time that it was made at, encrypted under the master key. So each replica takes those of all others, and nothing is kept.</remarks>
/// <param name="protector">What encrypts under the master key now: an operator may change that key.</param>
public sealed class DPoPNonces(Func<KeyProtector> protector)
{
    /// <summary>How long a nonce is good for. A new one is there after half of that.</summary>
    public static readonly TimeSpan Lifetime = TimeSpan.FromMinutes(2);

    private const string Table = "dpop";
    private const string Purpose = "nonce";

    private Nonce? _current;

    /// <summary>The nonce to hand out now, in base64url.</summary>
    /// <param name="now">The time.</param>
    public string At(DateTimeOffset now)
    {
        var by = protector();
        if (_current is { } current && current.By == by && current.MadeAt <= now && now - current.MadeAt < Lifetime / 2)
        {
            return current.Text;
        }

        // Two threads may make one each: both are good.
        Span<byte> time = stackalloc byte[sizeof(long)];
        BinaryPrimitives.WriteInt64BigEndian(time, now.ToUnixTimeMilliseconds());
        var made = new Nonce(Base64Url.EncodeToString(by.Protect(time, Table, "", Purpose)), now, by);
        _current = made;
        return made.Text;
    }

    /// <summary>Whether a nonce is one of ours, and still good. A replica whose clock is a little ahead may have made it.</summary>
    /// <param name="nonce">What was sent.</param>
    /// <param name="now">The time of the request.</param>
    public bool IsGood(string nonce, DateTimeOffset now)
    {
        if (nonce.Length > 256 || StrictBase64Url.Decode(nonce) is not { } bytes)
        {
            return false;
        }

        try
        {
            var madeAt = DateTimeOffset.FromUnixTimeMilliseconds(BinaryPrimitives.ReadInt64BigEndian(protector().Unprotect(bytes, Table, "", Purpose)));
            return madeAt <= now + AssertionRules.Skew && now - madeAt < Lifetime;
        }
        catch (CryptographicException)
        {
            // Not one of ours.
            return false;
        }
    }

    private sealed record Nonce(string Text, DateTimeOffset MadeAt, KeyProtector By);
}
