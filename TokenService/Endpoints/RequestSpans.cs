using System;
using System.Diagnostics;
using System.Threading.Tasks;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using TokenService.Operations;

namespace TokenService.Endpoints;

/// <summary>A span for each request, where somebody takes spans: of what the program calls its endpoints, and of nothing that a caller sent.</summary>
public static class RequestSpans
{
    /// <summary>Makes them, from here to the end of the request; its <c>trace_id</c> is then the span's.</summary>
    public static void UseRequestSpans(this IApplicationBuilder app, Telemetry telemetry) => app.Use(next => http
        => telemetry.TakesSpans && Route(http) is { } route && !route.StartsWith("/health/", StringComparison.Ordinal)
            ? Trace(http, route, next, telemetry)
            : next(http));

    /// <summary>The address of the endpoint that answers, as it is mapped and not as it was sent.</summary>
    /// <returns>The address; <see langword="null"/> where there is no endpoint.</returns>
    public static string? Route(HttpContext http) => (http.GetEndpoint() as RouteEndpoint)?.RoutePattern.RawText;

    private static async Task Trace(HttpContext http, string route, RequestDelegate next, Telemetry telemetry)
    {
        // Without its tracestate, which is text of any length, and would go out with each span.
        _ = ActivityContext.TryParse(http.Request.Headers.TraceParent, null, isRemote: true, out var caller);
        using var span = telemetry.Request(http.Request.Method, route, caller);
        await next(http);
        if (span is { IsAllDataRequested: true })
        {
            Telemetry.End(span, http.Response.StatusCode);
        }
    }
}
