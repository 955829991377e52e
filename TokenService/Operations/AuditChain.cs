using System;
using System.Buffers;
using System.Buffers.Text;
using System.Text;
using TokenService.Keys;
using TokenService.Protocol;

namespace TokenService.Operations;

/// <summary>Makes the lines of the audit log: each has a number and the hash of the one before, so that none can be changed, dropped or moved alone.</summary>
/// <remarks>
/// A line is one JSON object: <c>{"audit":1,"seq":2,"prev":"…",…,"hash":"…"}</c>. The hash is of all that stands before it in the line. Who changes a
/// line and makes its hash anew must make all that follow anew; and cannot sign the next checkpoint.
/// </remarks>
public sealed class AuditChain
{
    /// <summary>Goes on behind a record.</summary>
    /// <param name="sequence">The number of the last record; 0 where there is none.</param>
    /// <param name="hash">Its hash; <see langword="null"/> where there is none.</param>
    public AuditChain(long sequence, string? hash)
        => (Sequence, Hash) = (sequence, hash);

    /// <summary>The number of the last record.</summary>
    public long Sequence { get; private set; }

    /// <summary>The hash of the last record.</summary>
    public string? Hash { get; private set; }

    /// <summary>Adds a record.</summary>
    /// <param name="to">Takes the line, with its end.</param>
    /// <param name="record">The record.</param>
    /// <param name="key">Signs it, where it is to be signed.</param>
    public void Append(IBufferWriter<byte> to, AuditRecord record, SigningKey? key = null)
    {
        var json = JsonBuffer.Begin();
        json.WriteStartObject();
        json.WriteNumber("audit"u8, 1);
        json.WriteNumber("seq"u8, Sequence + 1);
        json.WriteString("prev"u8, Hash);
        (key is null ? record : record with { Kid = key.Kid, Algorithm = key.Algorithm }).Write(json);
        var line = JsonBuffer.End();

        var hash = AuditLine.HashOf(line);
        to.Write(line);
        to.Write(Encoding.ASCII.GetBytes($",\"hash\":\"{hash}\"{(key is null ? "" : $",\"signature\":\"{Sign(hash, key)}\"")}}}\n"));
        (Sequence, Hash) = (Sequence + 1, hash);
    }

    private static string Sign(string hash, SigningKey key)
    {
        Span<byte> signature = stackalloc byte[key.SignatureLength];
        key.Sign(AuditLine.SignedContent(hash), signature);
        return Base64Url.EncodeToString(signature);
    }
}
