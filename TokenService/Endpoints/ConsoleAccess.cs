using System;
using System.Linq;
using System.Net;
using Microsoft.AspNetCore.Http;
using TokenService.Protocol;
using TokenService.Storage;
using TokenService.Tokens;

namespace TokenService.Endpoints;

/// <summary>Why somebody may not see the console (RFC 6750 §3.1).</summary>
/// <param name="Status">The status of the answer.</param>
/// <param name="Error">The <c>error</c> of the challenge; <see langword="null"/> where no token came.</param>
/// <param name="Text">What is wrong and what to do, in printable ASCII without quotation marks; nothing that was sent is in it.</param>
public sealed record ConsoleRefusal(int Status, string? Error, string Text);

/// <summary>Who sees the console, or why nobody does: exactly one of the three is there, but for loopback, where none is.</summary>
/// <param name="Refusal">Why not.</param>
/// <param name="Token">The token by which.</param>
/// <param name="ByCookie">Whether the token came in the cookie.</param>
public sealed record ConsoleVisit(ConsoleRefusal? Refusal, AccessToken? Token, bool ByCookie);

/// <summary>
/// Who may see the console: whoever sends a token of this service with the scope <c>tokenservice.console</c>, by header or by the cookie that the
/// sign-in sets, or, in Development, whoever is on this machine.
/// </summary>
/// <param name="watch">The clients, the keys, and whether the store answers.</param>
/// <param name="liveness">Tells what a live token is.</param>
/// <param name="issuer">The issuer, known once the service listens.</param>
/// <param name="development">Whether this is the Development environment.</param>
/// <param name="clock">The clock.</param>
public sealed class ConsoleAccess(StoreWatch watch, TokenLiveness liveness, Func<string> issuer, bool development, TimeProvider clock)
{
    /// <summary>The scope.</summary>
    public const string Scope = "tokenservice.console";

    /// <summary>The cookie that carries the token.</summary>
    public const string Cookie = "tokenservice-console";

    /// <summary>The longest token that fits into the cookie, in characters: browsers take 4096 bytes with its name and attributes.</summary>
    public const int MaxTokenLength = 3800;

    private const string Scheme = "Bearer ";

    // Whatever says that somebody else than the peer has sent the request.
    private static readonly string[] s_forwarding = ["Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP"];

    /// <summary>Decides on a request.</summary>
    public ConsoleVisit Of(HttpRequest request)
    {
        var headers = request.Headers.Authorization;
        if (headers.Count > 0)
        {
            // Whoever sends a token is judged by it, wherever he is.
            return headers.Count == 1 && headers.ToString() is var sent && sent.StartsWith(Scheme, StringComparison.OrdinalIgnoreCase)
                ? Of(sent[Scheme.Length..].Trim(), byCookie: false)
                : new(new(401, null, $"The Authorization header must be one, Bearer and a token with the scope {Scope}."), null, false);
        }

        var cookie = request.Cookies[Cookie];
        var visit = string.IsNullOrEmpty(cookie) ? null : Of(cookie, byCookie: true);
        return visit is { Refusal: null } ? visit
            : development && IsOnThisMachine(request) ? new(null, null, false)
            : visit ?? new(new(401, null, $"The console asks for a token of this service with the scope {Scope}."), null, false);
    }

    /// <summary>Decides on a token.</summary>
    /// <param name="text">What somebody says is a token.</param>
    /// <param name="byCookie">Whether it came in the cookie.</param>
    public ConsoleVisit Of(string text, bool byCookie)
    {
        var snapshot = watch.Current;
        var refusal = Judge(AccessTokenReader.Inspect(text, issuer(), snapshot.Keys, clock.GetUtcNow()), snapshot, out var token);
        return new(refusal, refusal is null ? token : null, byCookie);
    }

    /// <summary>
    /// Whether a request to this address cannot have been sent by a page of somebody else in the browser of an operator: from such pages browsers
    /// say where it comes from.
    /// </summary>
    public static bool IsOfThisOrigin(HttpRequest request)
    {
        if (request.Headers.TryGetValue("Sec-Fetch-Site", out var site))
        {
            return site.ToString() is "same-origin" or "none";
        }

        // A browser sends it with each POST; what is no browser sends what it is told by the operator alone.
        return !request.Headers.TryGetValue("Origin", out var origin)
            || (Uri.TryCreate(origin.ToString(), UriKind.Absolute, out var from) && string.Equals(from.Authority, Authority(request, from.Scheme), StringComparison.OrdinalIgnoreCase));
    }

    private static string Authority(HttpRequest request, string scheme)
        => Uri.TryCreate($"{scheme}://{request.Host.Value}", UriKind.Absolute, out var own) ? own.Authority : "";

    // A page of another host whose name leads to this machine (DNS rebinding) sends its own name as Host; a proxy on this machine says that it is one.
    private static bool IsOnThisMachine(HttpRequest request)
        => request.HttpContext.Connection.RemoteIpAddress is { } peer && IPAddress.IsLoopback(peer)
            && !s_forwarding.Any(request.Headers.ContainsKey)
            && (request.Host.Host.Equals("localhost", StringComparison.OrdinalIgnoreCase)
                || (IPAddress.TryParse(request.Host.Host, out var named) && IPAddress.IsLoopback(named)));

    private ConsoleRefusal? Judge(InspectedToken inspected, StoreSnapshot snapshot, out AccessToken? token)
    {
        token = inspected.Token;
        if (token is null)
        {
            return Invalid(inspected.Faults[0]);
        }

        if (liveness.Against(token, snapshot.Registry) is { } failed)
        {
            return liveness.Of(token, snapshot.Registry) == Liveness.Unknown
                ? new(503, "temporarily_unavailable", "The store does not answer, so nobody knows whether the token was revoked. Try again.")
                : Invalid(failed);
        }

        // RFC 8705 §3 and RFC 9449 §7: it is of no use to who does not prove the key, and nobody can do that here.
        if (token.Claims.TryGetProperty("cnf", out _))
        {
            return new(401, "invalid_token", "The token is bound to a key, which cannot be proved here. Ask for one that is not, by another client.");
        }

        // The scope belongs to one resource, and the token must be for that.
        return token.Scope.Split(' ').Contains(Scope) && snapshot.Registry.ResourceOf(Scope) is { } resource && token.Audience.Contains(resource)
            ? null
            : new(403, "insufficient_scope", $"The token is good, but it lacks the scope {Scope}.");
    }

    // Whoever asks here may not be an operator yet: what is told is the name of the check.
    private static ConsoleRefusal Invalid(FailedCheck failed)
        => new(401, "invalid_token", $"The token is none of this service, or good no more: {failed.Name} is not what it must be. Ask for a new one.");
}
