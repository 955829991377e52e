using System;
using System.Collections.Immutable;
using System.Linq;
using System.Threading.Tasks;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;
using TokenService.Operations;
using TokenService.Protocol;
using TokenService.Storage;

namespace TokenService.Endpoints;

/// <summary>What happens with a refusal, the same at each endpoint that clients authenticate at: it is counted, told, kept and answered, once.</summary>
/// <param name="limiter">Slows down failed authentications.</param>
/// <param name="admission">Says when a refusal for too much load is answered.</param>
/// <param name="isSecret">Whether a text is the secret of a client.</param>
/// <param name="kept">Keeps each refusal for <c>explain</c>.</param>
/// <param name="audit">Records each refusal; <see langword="null"/> where no record is kept.</param>
/// <param name="telemetry">Counts them.</param>
/// <param name="clock">The clock.</param>
/// <param name="logger">Told of each refusal.</param>
public sealed class Refusals(
    FailureLimiter limiter, Admission admission, Func<string, bool> isSecret, RefusalStore kept, AuditLog? audit, Telemetry telemetry, TimeProvider clock,
    ILogger logger)
{
    // The longest that can be registered.
    private const int MaxClientIdLength = 256;
    private const int MostResources = 4;

    /// <summary>Answers a refused request.</summary>
    public Task Answer(HttpContext http, OAuthError error, string traceId)
        => ReferenceEquals(error, OAuthError.Overloaded) ? AnswerOverload(http, traceId) : AnswerOne(http, error, traceId);

    // Neither logged one by one nor kept: there are thousands of them a second, all alike.
    private async Task AnswerOverload(HttpContext http, string traceId)
    {
        await admission.PaceRefusal(http.RequestAborted).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        if (http.RequestAborted.IsCancellationRequested)
        {
            // Nobody is there to be answered.
            return;
        }

        telemetry.Refused(RequestSpans.Route(http)!, OAuthError.Overloaded);
        await OAuthResults.Write(http, OAuthError.Overloaded, traceId);
    }

    private Task AnswerOne(HttpContext http, OAuthError error, string traceId)
    {
        error = Slowed(error, http).Withheld(isSecret);
        telemetry.Refused(RequestSpans.Route(http)!, error);
        var (path, address) = (http.Request.Path, $"{http.Connection.RemoteIpAddress}");
        if (error.Code == "slow_down")
        {
            logger.SlowedDown(path, address, error.Reason, traceId);
        }
        else
        {
            logger.Refused(path, address, error.Code, error.Reason, traceId);
        }

        var (now, clientId) = (clock.GetUtcNow(), error.ClientId is { } sent ? Printable.Escape(sent, MaxClientIdLength) : null);
        kept.Keep(new Refusal
        {
            TraceId = traceId,
            Time = now,
            Endpoint = Printable.Escape(path),
            Address = address,
            ClientId = clientId,
            Error = error.Code,
            Failed = error.Failed,
        });
        var asked = error.Request as TokenRequest;
        audit?.Note(new AuditRecord(EventOf(path), now)
        {
            TraceId = traceId,
            Address = http.Connection.RemoteIpAddress,
            ClientId = clientId,
            Method = error.Method,
            Credential = error.Credential,
            GrantType = Recorded(asked?.GrantType),
            Scope = Recorded(asked?.Scope),
            Resources = Recorded(asked?.Resources ?? []),
            Outcome = error.Code,
            Status = error.Status,
            Check = error.Failed.Name,
            Reason = error.Reason,
        });
        return OAuthResults.Write(http, error, traceId);
    }

    private static string EventOf(PathString path)
        => path.Value!.EndsWith(EndpointPaths.Introspection, StringComparison.Ordinal) ? AuditEvents.IntrospectionRefused
            : path.Value.EndsWith(EndpointPaths.Revocation, StringComparison.Ordinal) ? AuditEvents.RevocationRefused
            : AuditEvents.TokenRefused;

    private string? Recorded(string? sent) => sent is null ? null : Printable.Record(sent, isSecret);

    private ImmutableArray<string> Recorded(ImmutableArray<string> sent)
    {
        ImmutableArray<string> recorded = [.. sent.Take(MostResources).Select(resource => Printable.Record(resource, isSecret))];
        return sent.Length > MostResources ? [.. recorded, $"… ({sent.Length} resources)"] : recorded;
    }

    private OAuthError Slowed(OAuthError error, HttpContext http)
        => error.Code == "invalid_client" && limiter.Count(http.Connection.RemoteIpAddress, error.ClientId ?? "") is { } wait
            ? OAuthError.SlowDown(wait, error)
            : error;
}
