using System;
using System.Buffers;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Text;
using System.Threading;
using System.Threading.Tasks;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Http;
using Microsoft.Net.Http.Headers;
using TokenService.Authentication;
using TokenService.Protocol;

namespace TokenService.Endpoints;

/// <summary>Reads the form of a request off the wire, once; nothing after it sees HTTP.</summary>
public static class RequestForm
{
    /// <summary>The largest body in bytes.</summary>
    public const int MaxBytes = 64 * 1024;

    private const string MediaType = "application/x-www-form-urlencoded";

    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(10);

    /// <summary>Reads the form, the Authorization header and the certificate of the client.</summary>
    /// <param name="http">The request.</param>
    /// <param name="certificates">Reads the certificate; <see langword="null"/> where none is looked for.</param>
    /// <param name="cancellation">Ends the wait for the body.</param>
    /// <returns>The parameters, or <c>invalid_request</c>.</returns>
    public static async ValueTask<Result<RequestParameters>> Read(HttpRequest http, ClientCertificates? certificates, CancellationToken cancellation)
    {
        if (!HttpMethods.IsPost(http.Method))
        {
            return OAuthError.MethodNotAllowed(HttpMethods.Post, http.Method);
        }

        if (RefuseType(http) is { } wrongType)
        {
            return wrongType;
        }

        if (http.Headers.Authorization.Count > 1)
        {
            return OAuthError.InvalidRequest(
                "The request has several Authorization headers.", new("Authorization", "one header", $"{http.Headers.Authorization.Count} headers"));
        }

        if (RefuseCredentialsInQuery(http.QueryString) is { } refusal)
        {
            return refusal;
        }

        if ((await ReadBody(http, cancellation)).Refused(out var error, out var fields))
        {
            return error;
        }

        ClientCertificate? certificate = null;
        var headerIgnored = false;
        return certificates?.Read(http.HttpContext, out certificate, out headerIgnored) is { } malformed
            ? malformed
            : RequestParameters.Of(fields, http.Headers.Authorization.ToString(), certificate, headerIgnored, Proof(http.Headers));
    }

    /// <summary>Reads the fields of a form alone.</summary>
    /// <param name="http">The request.</param>
    /// <param name="cancellation">Ends the wait for the body.</param>
    /// <returns>The fields in the order they came in, or <c>invalid_request</c>.</returns>
    public static async ValueTask<Result<List<KeyValuePair<string, string>>>> ReadFields(HttpRequest http, CancellationToken cancellation)
        => RefuseType(http) is { } wrongType ? wrongType : await ReadBody(http, cancellation);

    private static OAuthError? RefuseType(HttpRequest http) => IsForm(http.Headers.ContentType) ? null : OAuthError.InvalidRequest(
        "Content-Type must be application/x-www-form-urlencoded, in UTF-8.",
        new("Content-Type", $"{MediaType}, in UTF-8", ShownType(http.Headers.ContentType)));

    // An empty one counts: who sends it means to prove something.
    private static string? Proof(IHeaderDictionary headers)
        => headers.TryGetValue(DPoPRules.Header, out var sent) ? string.Join(',', sent.ToArray()) : null;

    private static bool IsForm(string? contentType)
        => contentType == MediaType
            || (MediaTypeHeaderValue.TryParse(contentType, out var type)
                && type.MediaType.Equals(MediaType, StringComparison.OrdinalIgnoreCase)
                && (!type.Charset.HasValue || HeaderUtilities.RemoveQuotes(type.Charset).Equals("utf-8", StringComparison.OrdinalIgnoreCase)));

    // What does not read as a media type may be anything, a secret too.
    private static string ShownType(string? contentType) => string.IsNullOrEmpty(contentType)
        ? "nothing"
        : MediaTypeHeaderValue.TryParse(contentType, out var type)
            ? Printable.Quote(type.Charset.HasValue ? $"{type.MediaType}; charset={type.Charset}" : type.MediaType.ToString())
            : "something that is no media type";

    // A URL ends up in logs and histories (RFC 6749 §2.3.1).
    private static OAuthError? RefuseCredentialsInQuery(QueryString query)
    {
        if (!query.HasValue)
        {
            return null;
        }

        if (!FormUrlEncoded.TryParse(Encoding.UTF8.GetBytes(query.Value![1..]), out var fields, out _))
        {
            return OAuthError.InvalidRequest(
                "The query of the URL is malformed. Send all parameters in the form.",
                new("query", "all parameters in the form, none in the URL", "a malformed query"));
        }

        var credential = fields.Find(field => field.Key
            is Parameters.ClientId or Parameters.ClientSecret or Parameters.ClientAssertion or Parameters.ClientAssertionType).Key;
        return credential is null
            ? null
            : OAuthError.InvalidRequest(
                "Credentials may not be sent in the URL: it ends up in logs. Replace them, and send them in the form or header.",
                new("query", "credentials in the form or header", $"{credential} in the URL"));
    }

    private static async ValueTask<Result<List<KeyValuePair<string, string>>>> ReadBody(HttpRequest http, CancellationToken cancellation)
    {
        if (http.ContentLength > MaxBytes)
        {
            return OAuthError.BodyTooLarge(MaxBytes);
        }

        CancellationTokenSource? deadline = null;
        try
        {
            while (true)
            {
                // Mostly it is there already, with the headers.
                if (!http.BodyReader.TryRead(out var read))
                {
                    read = await http.BodyReader.ReadAsync((deadline ??= Deadline(cancellation)).Token);
                }

                if (read.Buffer.Length > MaxBytes)
                {
                    http.BodyReader.AdvanceTo(read.Buffer.Start);
                    return OAuthError.BodyTooLarge(MaxBytes);
                }

                if (read.IsCompleted)
                {
                    var parsed = Parse(read.Buffer);
                    http.BodyReader.AdvanceTo(read.Buffer.End);
                    return parsed;
                }

                http.BodyReader.AdvanceTo(read.Buffer.Start, read.Buffer.End);
            }
        }
        catch (ConnectionResetException)
        {
            // Nobody is there to read an answer.
            http.HttpContext.Abort();
            return OAuthError.InvalidRequest("The connection was reset.", new("body", "a whole body", "a connection that was reset"));
        }
        catch (OperationCanceledException) when (!cancellation.IsCancellationRequested)
        {
            http.HttpContext.Response.Headers.Connection = "close";
            return OAuthError.InvalidRequest(
                $"The body did not arrive within {s_patience.TotalSeconds} seconds.",
                new("body", $"a body within {s_patience.TotalSeconds} seconds", "a part of it"));
        }
        catch (Exception fault) when (fault is IOException or InvalidOperationException)
        {
            // The web server throws one or the other, depending on what is wrong with the chunks and trailers; and so it does for a whole body behind which the caller
            // closed the connection, when the answer took too long. It closes it too, then.
            return OAuthError.InvalidRequest(
                "The body could not be read: it is shorter than announced, too slow, or badly chunked.",
                new("body", "a whole body", "one that is shorter than announced, too slow, or badly chunked; or the caller closed the connection before it was read"));
        }
        finally
        {
            deadline?.Dispose();
        }
    }

    private static CancellationTokenSource Deadline(CancellationToken cancellation)
    {
        var deadline = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        deadline.CancelAfter(s_patience);
        return deadline;
    }

    private static Result<List<KeyValuePair<string, string>>> Parse(ReadOnlySequence<byte> body)
        => FormUrlEncoded.TryParse(body.IsSingleSegment ? body.FirstSpan : body.ToArray(), out var fields, out var fault)
            ? fields
            : OAuthError.InvalidRequest(fault, new("form", $"a well-formed form of at most {FormUrlEncoded.MaxFields} parameters", fault.TrimEnd('.')));
}
