using System;
using System.Buffers;
using System.Buffers.Text;
using System.Collections.Immutable;
using System.Security.Cryptography;
using System.Text;
using TokenService.Protocol;

namespace TokenService.Clients;

/// <summary>A client secret as it is kept: its SHA-256 and when it ends.</summary>
/// <param name="Hash">SHA-256 of the secret's UTF-8, 32 bytes.</param>
/// <param name="ExpiresAt">The first moment at which it no longer counts; none for never.</param>
/// <param name="Origin">Who gave it.</param>
/// <remarks>
/// One fast hash is enough, because a secret here is long and random: the service makes 256 bits, and registration refuses short ones
/// outside Development. Stretching (bcrypt and the like) protects passwords that people choose; for machine secrets it only makes each
/// token a hundred times dearer. What is compared are digests of equal length, in constant time, all of a client's, without an early
/// exit; a client that does not exist or has no secret costs a comparison too, so that time tells nothing.
/// </remarks>
public sealed record ClientSecret(ImmutableArray<byte> Hash, DateTimeOffset? ExpiresAt, Origin Origin)
{
    /// <summary>The longest secret in bytes of UTF-8; nobody can make the service hash more.</summary>
    public const int MaxBytes = 1024;

    /// <summary>How many a declarative file may give one client: each request of the client is compared with all of them.</summary>
    public const int MaxCount = 16;

    /// <summary>The shortest secret, in characters, that is accepted outside Development.</summary>
    public const int MinLength = 32;

    /// <summary>
    /// The secret itself, for a client registered for <c>client_secret_jwt</c>; the store keeps it encrypted. Absent for all others, and
    /// where the secrets of the store were not opened.
    /// </summary>
    public Secret? Recoverable { get; init; }

    /// <summary>
    /// Where <c>rotate-secret</c> has made a successor: the moment from which on it no longer counts, whatever a declarative file says of it;
    /// <see cref="ExpiresAt"/> is never later.
    /// </summary>
    public DateTimeOffset? OverlapEndsAt { get; init; }

    /// <summary>Its name among all credentials of the client: <c>secret:</c> and <see cref="Id"/>.</summary>
    public string Credential { get; } = CredentialPrefix + Convert.ToHexStringLower(Hash.AsSpan()[..6]);

    /// <summary>Its name for people: the first 12 hexadecimal digits of the hash, which say nothing of the secret.</summary>
    public string Id => Credential[CredentialPrefix.Length..];

    private const string CredentialPrefix = "secret:";
    private const string HashPrefix = "sha256:";

    private static readonly ImmutableArray<ClientSecret> s_decoy = [new([.. RandomNumberGenerator.GetBytes(32)], null, Origin.Command)];

    /// <summary>Whether it still counts.</summary>
    /// <param name="now">The time of the request.</param>
    public bool IsLive(DateTimeOffset now) => ExpiresAt is null || now < ExpiresAt;

    /// <summary>The same secret with an end: the earlier one, where it has one already.</summary>
    /// <param name="overlapEnd">As in <see cref="OverlapEndsAt"/>.</param>
    public ClientSecret EndedAt(DateTimeOffset overlapEnd)
    {
        var end = OverlapEndsAt < overlapEnd ? OverlapEndsAt.Value : overlapEnd;
        return this with { OverlapEndsAt = end, ExpiresAt = ExpiresAt < end ? ExpiresAt : end };
    }

    /// <summary>
    /// A new secret of 256 random bits, in characters that form-encoding leaves as they are (base64url); for an HMAC of 384, which makes 64
    /// characters, the length that RFC 7518 §3.2 wants of a key for HS512.
    /// </summary>
    /// <param name="method">The method that it is for, one of <see cref="AuthenticationMethods"/>.</param>
    public static Secret Generate(string method)
        => new(Base64Url.EncodeToString(RandomNumberGenerator.GetBytes(method == AuthenticationMethods.ClientSecretJwt ? 48 : 32)));

    /// <summary>Whether a text may be a secret that <see cref="Generate"/> made.</summary>
    public static bool IsOfAFormThatIsGenerated(string text) => text.Length is 43 or 64 && StrictBase64Url.Decode(text) is not null;

    /// <summary>The digest that is stored and compared.</summary>
    /// <exception cref="ArgumentException">The secret is longer than <see cref="MaxBytes"/>.</exception>
    public static ImmutableArray<byte> Digest(Secret secret)
    {
        Span<byte> digest = stackalloc byte[SHA256.HashSizeInBytes];
        return TryDigest(secret, digest)
            ? [.. digest]
            : throw new ArgumentException($"A client secret has at most {MaxBytes} bytes.");
    }

    /// <summary>Reads <c>client_secret_hash</c>: <c>sha256:</c> and 32 bytes in base64url without padding.</summary>
    /// <returns>The digest, or <see langword="null"/> where the text is of another form.</returns>
    public static ImmutableArray<byte>? ParseHash(string text)
    {
        if (!text.StartsWith(HashPrefix, StringComparison.Ordinal) || text.Length != HashPrefix.Length + 43)
        {
            return null;
        }

        Span<byte> digest = stackalloc byte[SHA256.HashSizeInBytes];
        return Base64Url.DecodeFromChars(text.AsSpan(HashPrefix.Length), digest, out _, out var written) == OperationStatus.Done
            && written == digest.Length
            ? [.. digest]
            : null;
    }

    /// <summary>Compares what was sent with every secret there is.</summary>
    /// <param name="sent">The secret that came with the request.</param>
    /// <param name="secrets">The client's secrets; empty where there is no such client or it has none.</param>
    /// <param name="now">The time of the request.</param>
    /// <param name="matched">The secret that it is, where the answer is <see cref="SecretMatch.Valid"/>.</param>
    public static SecretMatch Match(Secret sent, ImmutableArray<ClientSecret> secrets, DateTimeOffset now, out ClientSecret? matched)
    {
        matched = null;
        Span<byte> digest = stackalloc byte[SHA256.HashSizeInBytes];
        var hashed = TryDigest(sent, digest);
        var (valid, expired) = (false, false);
        foreach (var secret in secrets.IsEmpty ? s_decoy : secrets)
        {
            var equal = CryptographicOperations.FixedTimeEquals(digest, secret.Hash.AsSpan());
            var live = secret.IsLive(now);
            valid |= equal & live;
            expired |= equal & !live;
            matched = equal & live ? secret : matched;
        }

        return (hashed && !secrets.IsEmpty, valid, expired) switch
        {
            (true, true, _) => SecretMatch.Valid,
            (true, _, true) => SecretMatch.Expired,
            _ => SecretMatch.None,
        };
    }

    private static bool TryDigest(Secret secret, Span<byte> digest)
    {
        Span<byte> utf8 = stackalloc byte[MaxBytes];
        var complete = Encoding.UTF8.TryGetBytes(secret.Reveal(), utf8, out var written);
        SHA256.HashData(complete ? utf8[..written] : utf8, digest);
        CryptographicOperations.ZeroMemory(utf8);
        return complete;
    }
}

/// <summary>What came of comparing a secret with those of a client.</summary>
public enum SecretMatch
{
    /// <summary>It is none of them.</summary>
    None,

    /// <summary>It is one of them that has ended, and none that is good.</summary>
    Expired,

    /// <summary>It is one of them, and good.</summary>
    Valid,
}
