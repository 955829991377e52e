using System;
using System.Buffers;
using System.Buffers.Text;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using TokenService.Keys;

namespace TokenService.Operations;

/// <summary>Makes the lines of the audit log: each has a number and the hash of the one before, so that none can be changed, dropped or moved alone.</summary>
/// <remarks>
/// A line is one JSON object: <c>{"audit":1,"seq":2,"prev":"…",…,"hash":"…"}</c>. The hash is of all that stands before it in the line. Who changes a
/// line and makes its hash anew must make all that follow anew; and cannot sign the next checkpoint.
/// </remarks>
public sealed class AuditChain
{
    // None of these lines ends up in a page.
    private static readonly JsonWriterOptions s_options = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping, SkipValidation = true };

    private readonly ArrayBufferWriter<byte> _line = new(1024);
    private readonly Utf8JsonWriter _json;

    /// <summary>Goes on behind a record.</summary>
    /// <param name="sequence">The number of the last record; 0 where there is none.</param>
    /// <param name="hash">Its hash; <see langword="null"/> where there is none.</param>
    public AuditChain(long sequence, string? hash)
    {
        (Sequence, Hash) = (sequence, hash);
        _json = new Utf8JsonWriter(_line, s_options);
    }

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
        _line.ResetWrittenCount();
        _json.Reset();
        _json.WriteStartObject();
        _json.WriteNumber("audit"u8, 1);
        _json.WriteNumber("seq"u8, Sequence + 1);
        _json.WriteString("prev"u8, Hash);
        (key is null ? record : record with { Kid = key.Kid, Algorithm = key.Algorithm }).Write(_json);
        _json.Flush();

        var hash = AuditLine.HashOf(_line.WrittenSpan);
        to.Write(_line.WrittenSpan);
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
