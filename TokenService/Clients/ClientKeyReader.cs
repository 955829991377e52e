using System;
using System.Collections.Generic;
using System.Collections.Immutable;
using System.Linq;
using System.Numerics;
using System.Text.Json;
using Microsoft.IdentityModel.Tokens;
using TokenService.Protocol;

namespace TokenService.Clients;

/// <summary>What was read from a JWK Set.</summary>
/// <param name="Keys">The keys that are fit to verify assertions with.</param>
/// <param name="Faults">What is wrong, and the place of it, such as <c>keys[0].n</c>; empty where nothing is.</param>
public sealed record ClientKeysRead(ImmutableArray<ClientKey> Keys, ImmutableArray<(string Place, string Message)> Faults)
{
    /// <summary>The faults as texts, each with its place.</summary>
    public IEnumerable<string> FaultTexts => Faults.Select(fault => $"{fault.Place} {fault.Message}".TrimStart());
}

/// <summary>
/// Reads a client's JWK Set (RFC 7517 §5). Registration refuses a set with any fault; of a fetched one, keys of other kinds are passed
/// over, as RFC 7517 §5 says.
/// </summary>
public static class ClientKeyReader
{
    /// <summary>How many keys a set may have; each may have to be tried for an assertion without <c>kid</c>.</summary>
    public const int MaxKeys = 32;

    /// <summary>The longest <c>kid</c> in characters.</summary>
    public const int MaxKidLength = 256;

    // A longer modulus or exponent makes each verification dear for the service, and a client no safer.
    private const int MinRsaBits = 2048;
    private const int MaxRsaBits = 4096;
    private const int MaxExponentBytes = 4;

    private static readonly string[] s_privateMembers = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

    /// <summary>Reads a set.</summary>
    /// <param name="set">The JSON; its texts must be Unicode (<see cref="StrictJson"/>).</param>
    public static ClientKeysRead Read(JsonElement set) => Read(set, use => use is null or "sig", "must be \"sig\", or left out");

    /// <summary>Reads a SPIFFE trust bundle: its keys for JWT-SVIDs, which say so (SPIFFE JWT-SVID §6); all others are faults.</summary>
    /// <param name="bundle">The JSON; its texts must be Unicode (<see cref="StrictJson"/>).</param>
    public static ClientKeysRead ReadSpiffeBundle(JsonElement bundle) => Read(bundle, use => use == "jwt-svid", "must be \"jwt-svid\"");

    private static ClientKeysRead Read(JsonElement set, Func<string?, bool> isUse, string uses)
    {
        if (set.ValueKind != JsonValueKind.Object || !set.TryGetProperty("keys", out var array) || array.ValueKind != JsonValueKind.Array)
        {
            return Faulty("", "must be a JWK Set: an object with an array \"keys\"");
        }

        if (array.GetArrayLength() is 0 or > MaxKeys)
        {
            return Faulty("keys", $"must have 1 to {MaxKeys} keys");
        }

        var keys = ImmutableArray.CreateBuilder<ClientKey>();
        var faults = ImmutableArray.CreateBuilder<(string, string)>();
        foreach (var (index, item) in array.EnumerateArray().Index())
        {
            var at = $"keys[{index}]";
            if (ReadKey(item, isUse, uses, out var key) is { } fault)
            {
                faults.Add((fault.Member.Length == 0 ? at : $"{at}.{fault.Member}", fault.Message));
            }
            else if (key!.Jwk.Kid is { } kid && keys.Any(other => other.Jwk.Kid == kid))
            {
                faults.Add(($"{at}.kid", "stands already at another key"));
            }
            else
            {
                keys.Add(key);
            }
        }

        return new ClientKeysRead(keys.ToImmutable(), faults.ToImmutable());
    }

    /// <summary>Reads one key that stands alone, as in the header of a DPoP proof (RFC 9449 §4.2).</summary>
    /// <param name="jwk">The JSON.</param>
    /// <param name="key">The key, where the answer is <see langword="null"/>.</param>
    /// <returns>What is wrong with it, or <see langword="null"/>.</returns>
    public static string? ReadOne(JsonElement jwk, out ClientKey? key)
        => ReadKey(jwk, use => use is null or "sig", "must be \"sig\", or left out", out key) is { } fault ? $"{fault.Member} {fault.Message}".TrimStart() : null;

    /// <summary>Whether the set holds a private or secret key: it is then known to too many, and no key of it may be used.</summary>
    public static bool HasPrivateKey(JsonElement set)
        => set.ValueKind == JsonValueKind.Object && set.TryGetProperty("keys", out var array) && array.ValueKind == JsonValueKind.Array
            && array.EnumerateArray().Any(IsPrivate);

    private static bool IsPrivate(JsonElement jwk)
        => jwk.ValueKind == JsonValueKind.Object && Array.Exists(s_privateMembers, member => jwk.TryGetProperty(member, out _));

    private static (string Member, string Message)? ReadKey(JsonElement jwk, Func<string?, bool> isUse, string uses, out ClientKey? key)
    {
        key = null;
        if (jwk.ValueKind != JsonValueKind.Object)
        {
            return ("", "must be a JWK: an object");
        }

        if (IsPrivate(jwk))
        {
            return ("", "holds a private or secret key: register the public key only, and replace this one, since it has been shown");
        }

        var texts = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var member in (ReadOnlySpan<string>)["kty", "kid", "use", "alg", "n", "e", "crv", "x", "y"])
        {
            if (jwk.TryGetProperty(member, out var value))
            {
                if (value.ValueKind != JsonValueKind.String)
                {
                    return (member, "must be a string");
                }

                texts[member] = value.GetString()!;
            }
        }

        if (texts.TryGetValue("kid", out var kid) && kid.Length is 0 or > MaxKidLength)
        {
            return ("kid", $"must have 1 to {MaxKidLength} characters");
        }

        if (!isUse(texts.GetValueOrDefault("use")))
        {
            return ("use", uses);
        }

        if (jwk.TryGetProperty("key_ops", out var operations) && !(operations.ValueKind == JsonValueKind.Array
            && operations.EnumerateArray().Any(item => item.ValueKind == JsonValueKind.String && item.ValueEquals("verify"))))
        {
            return ("key_ops", "must have \"verify\", or be left out");
        }

        var read = new PublicJwk { Kid = kid, Kty = texts.GetValueOrDefault("kty", ""), Alg = texts.GetValueOrDefault("alg") };
        var fault = read.Kty switch
        {
            "RSA" => ReadRsa(texts, ref read),
            "EC" => ReadEc(texts, ref read),
            _ => ("kty", "must be \"RSA\" or \"EC\""),
        };
        if (fault is not null)
        {
            return fault;
        }

        var made = new ClientKey(read);
        if (made.Algorithms.IsEmpty)
        {
            return ("alg", $"does not go with the key; accepted: {string.Join(", ", new ClientKey(read with { Alg = null }).Algorithms)}");
        }

        if (!made.CanBeRead())
        {
            return ("", read.Kty == "EC" ? "is no key: x and y are no point on the curve" : "is no key: n and e do not make one");
        }

        key = made;
        return null;
    }

    private static (string Member, string Message)? ReadRsa(Dictionary<string, string> texts, ref PublicJwk jwk)
    {
        if (Integer(texts, "n") is not { } n || Integer(texts, "e") is not { } e)
        {
            return (Integer(texts, "n") is null ? "n" : "e", "must be an integer in base64url without padding");
        }

        if (((new BigInteger(n, isUnsigned: true, isBigEndian: true).GetBitLength()) is < MinRsaBits or > MaxRsaBits) || (n[^1] & 1) == 0)
        {
            return ("n", $"must be an RSA modulus of {MinRsaBits} to {MaxRsaBits} bits");
        }

        if (e.Length > MaxExponentBytes || (e[^1] & 1) == 0 || e is [1])
        {
            return ("e", "must be an odd public exponent from 3 to 2^32, such as AQAB");
        }

        jwk = jwk with { N = Base64UrlEncoder.Encode(n), E = Base64UrlEncoder.Encode(e) };
        return null;
    }

    private static (string Member, string Message)? ReadEc(Dictionary<string, string> texts, ref PublicJwk jwk)
    {
        var crv = texts.GetValueOrDefault("crv", "");
        var bytes = crv switch { "P-256" => 32, "P-384" => 48, "P-521" => 66, _ => 0 };
        if (bytes == 0)
        {
            return ("crv", "must be \"P-256\", \"P-384\" or \"P-521\"");
        }

        foreach (var member in (ReadOnlySpan<string>)["x", "y"])
        {
            if (!texts.TryGetValue(member, out var text) || StrictBase64Url.Decode(text)?.Length != bytes)
            {
                return (member, $"must be {bytes} bytes in base64url without padding");
            }
        }

        jwk = jwk with { Crv = crv, X = texts["x"], Y = texts["y"] };
        return null;
    }

    // Some libraries write the sign byte of a two's complement number in front; the shortest form is kept.
    private static byte[]? Integer(Dictionary<string, string> texts, string member)
        => texts.TryGetValue(member, out var text) && StrictBase64Url.Decode(text) is { } bytes && bytes.AsSpan().TrimStart((byte)0) is { IsEmpty: false } trimmed
            ? trimmed.ToArray()
            : null;

    private static ClientKeysRead Faulty(string place, string message) => new([], [(place, message)]);
}
