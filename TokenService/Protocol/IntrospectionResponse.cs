using System.Collections.Generic;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace TokenService.Protocol;

/// <summary>An answer of the introspection endpoint (RFC 7662 §2.2).</summary>
public sealed record IntrospectionResponse
{
    /// <summary>The answer about everything that is not a live token, which says nothing more.</summary>
    public static IntrospectionResponse Inactive { get; } = new() { Active = false };

    /// <summary>Whether it is a live token of this service.</summary>
    public required bool Active { get; init; }

    /// <summary>Of a live one: how it is used, <c>Bearer</c> (RFC 6750).</summary>
    public string? TokenType { get; init; }

    // The serializer takes no property of this kind that is init-only.

    /// <summary>Of a live one: its claims, under their own names.</summary>
    [JsonExtensionData]
    public IDictionary<string, JsonElement>? Claims { get; set; }
}
