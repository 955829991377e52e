using System.Collections.Immutable;
using System.Text.Json;
using TokenService.Protocol;

namespace TokenService.Tokens;

/// <summary>What somebody says is an access token of this service, taken apart: what it says, and what is wrong with it.</summary>
public sealed record InspectedToken
{
    /// <summary>The JOSE header, whoever wrote it; <see langword="null"/> where it cannot be read.</summary>
    public required JsonElement? Header { get; init; }

    /// <summary>The claims, whoever wrote them; <see langword="null"/> where they cannot be read.</summary>
    public required JsonElement? Claims { get; init; }

    /// <summary>All that is wrong with it by itself; what was revoked is not known here.</summary>
    public required ImmutableArray<FailedCheck> Faults { get; init; }

    /// <summary>The token, where nothing is.</summary>
    public AccessToken? Token { get; init; }
}
