using System.Text.Json.Serialization;

namespace TokenService.Protocol;

/// <summary>How the documents of the protocol are written: names in snake case, as the RFCs have them, and no empty members.</summary>
[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(ErrorResponse))]
[JsonSerializable(typeof(IntrospectionResponse))]
[JsonSerializable(typeof(AuthorizationServerMetadata))]
[JsonSerializable(typeof(Jwks))]
public sealed partial class ProtocolJson : JsonSerializerContext;
