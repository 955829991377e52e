using System;
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

    /// <summary>32 hexadecimal digits: the W3C trace id of the request, so that logs and traces have the same.</summary>
    public static string TraceId()
        => (Activity.Current?.TraceId ?? ActivityTraceId.CreateRandom()).ToHexString();

    /// <summary>Writes a token (RFC 6749 §5.1).</summary>
    public static Task Write(HttpContext http, TokenResponse token)
    {
        NoStore(http.Response);
        return Write(http, 200, token, ProtocolJson.Default.TokenResponse);
    }

    /// <summary>Writes what there is to know of a token (RFC 7662 §2.2).</summary>
    public static Task Write(HttpContext http, IntrospectionResponse answer)
    {
        NoStore(http.Response);
        return Write(http, 200, answer, ProtocolJson.Default.IntrospectionResponse);
    }

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
        http.Response.StatusCode = status;
        http.Response.ContentType = "application/json";
        http.Response.ContentLength = json.Length;
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

    private static void NoStore(HttpResponse response)
    {
        response.Headers.CacheControl = "no-store";
        response.Headers.Pragma = "no-cache";
    }
}
