using System;
using System.Collections.Immutable;
using System.Globalization;
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

    /// <summary><see cref="Time"/> in UTC, to the millisecond (RFC 3339).</summary>
    public string Timestamp => Time.UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss.fff'Z'", CultureInfo.InvariantCulture);

    /// <summary>What <c>explain</c> and the console tell of it, line by line.</summary>
    public ImmutableArray<(string Name, string Value)> Lines =>
    [
        ("trace_id", TraceId),
        ("time", Timestamp),
        ("endpoint", Endpoint),
        ("address", Address),
        ("client_id", ClientId ?? "(none)"),
        ("error", Error),
        ("check", Failed.Name),
        ("expected", Failed.Expected),
        ("came", Failed.Came),
    ];
}
