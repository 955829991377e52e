using System;
using System.Buffers;
using System.Diagnostics;
using System.Globalization;
using System.Linq;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using System.Threading.Tasks;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using TokenService.Protocol;

namespace TokenService.Endpoints;

/// <summary>Writes answers and refusals: the only place that sets status, headers and <c>trace_id</c>.</summary>
/// <remarks>This room speaks HTTP and nothing else does: one file for each endpoint.</remarks>
public static class OAuthResults
{
    private const string Realm = "Basic realm=\"TokenService\"";

    /// <summary>
    /// 32 hexadecimal digits: the W3C trace id of the request, so that logs and traces have the same. That of the header <c>traceparent</c>,
    /// where the caller sent one, or a new one. Only for a request that somebody is told of.
    /// </summary>
    public static string TraceId(HttpContext http)
    {
        if (Activity.Current is { } activity)
        {
            return activity.TraceId.ToHexString();
        }

        return (ActivityContext.TryParse(http.Request.Headers.TraceParent, null, out var sent) ? sent.TraceId : ActivityTraceId.CreateRandom()).ToHexString();
    }

    /// <summary>Writes a token (RFC 6749 §5.1).</summary>
    public static Task Write(HttpContext http, TokenResponse token)
    {
        NoStore(http.Response);
        token.Write(JsonBuffer.Begin());
        var json = JsonBuffer.End();
        Head(http.Response, 200, json.Length);

        // Into the memory of the response itself: the buffer is this thread's, and the next request's.
        http.Response.BodyWriter.Write(json);
        return Flush(http);
    }

    /// <summary>Writes what there is to know of a token (RFC 7662 §2.2).</summary>
    public static Task Write(HttpContext http, IntrospectionResponse answer)
    {
        NoStore(http.Response);
        return Write(http, 200, answer, ProtocolJson.Default.IntrospectionResponse);
    }

    /// <summary>Has the answer bring the nonce for the next DPoP proof (RFC 9449 §8).</summary>
    public static void SetNonce(HttpContext http, string nonce) => http.Response.Headers["DPoP-Nonce"] = nonce;

    /// <summary>Answers that all is well, with nothing more to say (RFC 7009 §2.2).</summary>
    public static void WriteNothing(HttpContext http)
    {
        NoStore(http.Response);
        http.Response.StatusCode = 200;
        http.Response.ContentLength = 0;
    }

    /// <summary>Writes a refusal (RFC 6749 §5.2).</summary>
    public static Task Write(HttpContext http, OAuthError error, string traceId)
    {
        NoStore(http.Response);
        if (error.Status == 401)
        {
            http.Response.Headers.WWWAuthenticate = Realm;
        }

        if (error.Allow is not null)
        {
            http.Response.Headers.Allow = error.Allow;
        }

        if (error.RetryAfter is { } wait)
        {
            http.Response.Headers.RetryAfter = Math.Ceiling(wait.TotalSeconds).ToString(CultureInfo.InvariantCulture);
        }

        var answer = new ErrorResponse { Error = error.Code, ErrorDescription = error.Description, TraceId = traceId };
        return Write(http, error.Status, answer, ProtocolJson.Default.ErrorResponse);
    }

    /// <summary>Writes JSON.</summary>
    public static Task Write<T>(HttpContext http, int status, T value, JsonTypeInfo<T> type)
        => Write(http, status, JsonSerializer.SerializeToUtf8Bytes(value, type));

    /// <summary>Writes JSON that is already encoded.</summary>
    public static async Task Write(HttpContext http, int status, ReadOnlyMemory<byte> json)
    {
        Head(http.Response, status, json.Length);
        await http.Response.BodyWriter.WriteAsync(json, http.RequestAborted);
    }

    /// <summary>Writes the state of the service in a line, and what it fails in.</summary>
    public static Task Write(HttpContext http, HealthReport health)
    {
        NoStore(http.Response);
        http.Response.ContentType = "text/plain";
        var reasons = health.Entries.Values.Select(entry => entry.Description).Where(reason => reason is not null);
        return http.Response.WriteAsync(string.Join(": ", [$"{health.Status}", .. reasons]), http.RequestAborted);
    }

    private static async Task Flush(HttpContext http) => await http.Response.BodyWriter.FlushAsync(http.RequestAborted);

    private static void Head(HttpResponse response, int status, int length)
    {
        response.StatusCode = status;
        response.ContentType = "application/json";
        response.ContentLength = length;
    }

    private static void NoStore(HttpResponse response)
    {
        response.Headers.CacheControl = "no-store";
        response.Headers.Pragma = "no-cache";
    }
}
