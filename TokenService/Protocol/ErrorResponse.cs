namespace TokenService.Protocol;

/// <summary>A refusal on the wire (RFC 6749 §5.2), with the trace id under which the operator finds the reason.</summary>
public sealed record ErrorResponse
{
    /// <summary>The error code.</summary>
    public required string Error { get; init; }

    /// <summary>What to mend, for a developer to read.</summary>
    public required string ErrorDescription { get; init; }

    /// <summary>32 hexadecimal digits: the W3C trace id, the same as in the log.</summary>
    public required string TraceId { get; init; }
}
