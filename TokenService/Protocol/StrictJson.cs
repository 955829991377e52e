using System;
using System.Text.Json;
using System.Text.Unicode;

namespace TokenService.Protocol;

/// <summary>
/// Reads a JSON object that a stranger sent, so that it has one meaning only: UTF-8 without byte order mark, no member twice, no half
/// of a surrogate pair in any name or text, nesting within bounds.
/// </summary>
public static class StrictJson
{
    private static readonly JsonDocumentOptions s_options = new() { AllowDuplicateProperties = false, MaxDepth = 16 };

    /// <summary>Reads an object.</summary>
    /// <returns>The object, or <see langword="null"/> where the bytes are anything else.</returns>
    public static JsonElement? ReadObject(ReadOnlySpan<byte> utf8)
    {
        if (!Utf8.IsValid(utf8))
        {
            return null;
        }

        try
        {
            var element = JsonElement.Parse(utf8, s_options);
            ReadTexts(element);
            return element.ValueKind == JsonValueKind.Object ? element : null;
        }
        catch (Exception fault) when (fault is JsonException or InvalidOperationException)
        {
            // The second is how the library says that a text is not Unicode.
            return null;
        }
    }

    private static void ReadTexts(JsonElement element)
    {
        switch (element.ValueKind)
        {
            case JsonValueKind.String:
                _ = element.GetString();
                break;
            case JsonValueKind.Array:
                foreach (var item in element.EnumerateArray())
                {
                    ReadTexts(item);
                }

                break;
            case JsonValueKind.Object:
                foreach (var member in element.EnumerateObject())
                {
                    _ = member.Name;
                    ReadTexts(member.Value);
                }

                break;
        }
    }
}
