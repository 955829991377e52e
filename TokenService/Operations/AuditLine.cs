using System;
using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using TokenService.Clients;
using TokenService.Protocol;

namespace TokenService.Operations;

/// <summary>A record of the audit log as it stands in a line, read back.</summary>
/// <param name="Sequence"><c>seq</c>: one more than that of the record before.</param>
/// <param name="Previous"><c>prev</c>: the hash of the record before; <see langword="null"/> in the first one of a chain.</param>
/// <param name="Event"><c>event</c>.</param>
/// <param name="Hash"><c>hash</c>, as the line says.</param>
/// <param name="IsWhole">Whether that is the hash of all that stands before it in the line.</param>
public sealed record AuditLine(long Sequence, string? Previous, string Event, string Hash, bool IsWhole)
{
    /// <summary>The longest line that is read, in bytes. Ids, URIs and scopes are bounded by what a request may bring.</summary>
    public const int MaxBytes = 1024 * 1024;

    private const string SignedText = "TokenService audit checkpoint";

    /// <summary><c>kid</c>, where the record is signed.</summary>
    public string? Kid { get; private init; }

    /// <summary><c>alg</c>, where the record is signed.</summary>
    public string? Algorithm { get; private init; }

    /// <summary><c>signature</c>, where the record is signed.</summary>
    public byte[]? Signature { get; private init; }

    /// <summary><c>time</c>, as it is written.</summary>
    public string? Time { get; private init; }

    /// <summary>Whether the record is one of those that are signed.</summary>
    public bool IsCheckpoint => Event is AuditEvents.Checkpoint or AuditEvents.End;

    /// <summary>Whether a chain begins with it.</summary>
    public bool BeginsChain => this is { Sequence: 1, Previous: null, Event: AuditEvents.Start };

    /// <summary>Whether the record has a signature, and this key made it.</summary>
    public bool IsSignedBy(ClientKey key) => Algorithm is not null && Signature is not null && key.Algorithms.Contains(Algorithm)
        && key.Verifies(Algorithm, SignedContent(Hash), Signature);

    /// <summary>What the signature of a record with this hash is made of. It can be taken for no JWT: those have no spaces.</summary>
    public static byte[] SignedContent(string hash) => Encoding.ASCII.GetBytes($"{SignedText}\n{hash}\n");

    /// <summary>SHA-256 in base64url, which is what hashes are here.</summary>
    public static string HashOf(ReadOnlySpan<byte> content)
    {
        Span<byte> digest = stackalloc byte[SHA256.HashSizeInBytes];
        SHA256.HashData(content, digest);
        return Base64Url.EncodeToString(digest);
    }

    /// <summary>Reads a line.</summary>
    /// <param name="line">The line without its end.</param>
    /// <returns>The record, whose hash may be wrong; <see langword="null"/> where the line is none.</returns>
    public static AuditLine? Read(ReadOnlySpan<byte> line)
    {
        var hashAt = line.LastIndexOf(",\"hash\":\""u8);
        if (line.Length > MaxBytes || hashAt < 0 || !line.StartsWith("{\"audit\":1,"u8) || StrictJson.ReadObject(line) is not { } members
            || Text(members, "hash") is not { } hash || Text(members, "event") is not { } name
            || !members.TryGetProperty("seq", out var seq) || seq.ValueKind != JsonValueKind.Number || !seq.TryGetInt64(out var sequence)
            || !members.TryGetProperty("prev", out var prev) || prev.ValueKind is not (JsonValueKind.String or JsonValueKind.Null))
        {
            return null;
        }

        // Nothing may stand behind what the hash is of, but the hash and the signature.
        var signature = Text(members, "signature");
        var end = signature is null ? $",\"hash\":\"{hash}\"}}" : $",\"hash\":\"{hash}\",\"signature\":\"{signature}\"}}";
        if (!line[hashAt..].SequenceEqual(Encoding.UTF8.GetBytes(end)))
        {
            return null;
        }

        return new AuditLine(sequence, prev.GetString(), name, hash, HashOf(line[..hashAt]) == hash)
        {
            Kid = Text(members, "kid"),
            Algorithm = Text(members, "alg"),
            Signature = signature is null ? null : StrictBase64Url.Decode(signature),
            Time = Text(members, "time"),
        };
    }

    private static string? Text(JsonElement members, string name)
        => members.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.String ? value.GetString() : null;
}
