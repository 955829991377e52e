using System;
using TokenService.Protocol;

namespace TokenService.Operations;

/// <summary>A refusal as it is kept for the operator, who asks for it by the trace id. Every text in it is printable and shortened.</summary>
public sealed record Refusal
{
    /// <summary>32 hexadecimal digits, as in the answer and in the log. A caller may have chosen it, so several refusals may share one.</summary>
    public required string TraceId { get; init; }

    /// <summary>When it was refused, to the millisecond.</summary>
    public required DateTimeOffset Time { get; init; }

    /// <summary>The path of the endpoint.</summary>
    public required string Endpoint { get; init; }

    /// <summary>The source address.</summary>
    public required string Address { get; init; }

    /// <summary>The client id that was sent, where one was and could be read.</summary>
    public required string? ClientId { get; init; }

    /// <summary>The <c>error</c> of the answer.</summary>
    public required string Error { get; init; }

    /// <summary>The check that failed.</summary>
    public required FailedCheck Failed { get; init; }
}
