using System;
using System.Buffers;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace TokenService.Protocol;

/// <summary>Where a thread writes one small JSON document after the other, without a new writer and a new buffer for each.</summary>
public static class JsonBuffer
{
    // None of these documents ends up in a page.
    private static readonly JsonWriterOptions s_options = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping, SkipValidation = true };

    [ThreadStatic]
    private static ArrayBufferWriter<byte>? t_buffer;

    [ThreadStatic]
    private static Utf8JsonWriter? t_json;

    /// <summary>Begins a document.</summary>
    /// <returns>What to write it with. Nobody else may begin one on this thread before <see cref="End"/>.</returns>
    public static Utf8JsonWriter Begin()
    {
        t_buffer ??= new(1024);
        t_buffer.ResetWrittenCount();
        t_json ??= new(t_buffer, s_options);
        t_json.Reset();
        return t_json;
    }

    /// <summary>Ends the document.</summary>
    /// <returns>The document in UTF-8, until this thread begins the next one.</returns>
    public static ReadOnlySpan<byte> End()
    {
        t_json!.Flush();
        return t_buffer!.WrittenSpan;
    }
}
