using System;
using System.Buffers;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Text;
using System.Text.Json;
using System.Threading;
using System.Threading.Tasks;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;
using TokenService.Administration;
using TokenService.Operations;
using TokenService.Protocol;
using TokenService.Storage;
using TokenService.Tokens;

namespace TokenService.Endpoints;

/// <summary>What the console shows, and where it has that from.</summary>
/// <param name="Watch">The clients, the keys, and whether the store answers.</param>
/// <param name="Liveness">Tells what a live token is.</param>
/// <param name="Issuer">The issuer, known once the service listens.</param>
/// <param name="Uses">When credentials were last used.</param>
/// <param name="Refusals">The last refusals, so many at most.</param>
/// <param name="Explain">The refusals with a trace id.</param>
/// <param name="Activity">What happened at the token endpoint.</param>
/// <param name="Rotation">How old the signing key becomes before the next one signs.</param>
/// <param name="Development">Whether this is the Development environment.</param>
/// <param name="Clock">The clock.</param>
public sealed record ConsoleSources(
    StoreWatch Watch,
    TokenLiveness Liveness,
    Func<string> Issuer,
    Func<IReadOnlyList<CredentialUse>> Uses,
    Func<int, IReadOnlyList<Refusal>> Refusals,
    Func<string, IReadOnlyList<Refusal>> Explain,
    TokenActivity Activity,
    TimeSpan Rotation,
    bool Development,
    TimeProvider Clock);

/// <summary>The console: pages for operators on the management listener, read-only.</summary>
/// <remarks>
/// Each request is let in by <see cref="ConsoleAccess"/> before anything is read for it; what comes back is made by <see cref="ConsolePages"/>. A token
/// is taken in a form, a header or the cookie, never from an address, and is written nowhere but into that cookie.
/// </remarks>
/// <param name="sources">What it shows.</param>
/// <param name="logger">Told who signs in, and who is refused.</param>
public sealed class ConsoleEndpoint(ConsoleSources sources, ILogger logger)
{
    private const int MostRefusals = 50;
    private const int MostRefusalsAtFirst = 5;
    private const int MostText = 256;

    private static readonly byte[] s_style = Resource("console.css");
    private static readonly byte[] s_script = Resource("console.js");

    // All of them are read at once, which takes a moment where there are a hundred thousand clients.
    private static readonly TimeSpan s_usesAreGoodFor = TimeSpan.FromSeconds(2);

    private readonly ConsoleAccess _access = new(sources.Watch, sources.Liveness, sources.Issuer, sources.Development, sources.Clock);
    private readonly Lock _reading = new();
    private ILookup<string, CredentialUse>? _uses;
    private long? _usesReadAt;

    /// <summary>Whether a request is to the console.</summary>
    public static bool Has(PathString path) => path.StartsWithSegments(ConsolePages.Root, StringComparison.Ordinal);

    /// <summary>Answers one request.</summary>
    public async Task Handle(HttpContext http)
    {
        var (request, path) = (http.Request, http.Request.Path.Value![ConsolePages.Root.Length..].TrimEnd('/'));
        SetHeaders(http.Response);
        var isPost = HttpMethods.IsPost(request.Method);
        var allowed = path switch
        {
            "/login" or "/logout" => "POST",
            "/token" => "GET, HEAD, POST",
            _ => "GET, HEAD",
        };
        if (!allowed.Split(", ").Contains(request.Method))
        {
            http.Response.Headers.Allow = allowed;
            await Write(http, 405, ConsolePages.Message(Frame(null), "Not allowed", $"This address takes {allowed} and nothing else."));
        }
        else if (path is "/console.css" or "/console.js")
        {
            // What the sign-in needs too; there is nothing in them to keep from anybody.
            await Write(http, 200, path == "/console.css" ? "text/css; charset=utf-8" : "text/javascript; charset=utf-8", path == "/console.css" ? s_style : s_script);
        }
        else if (isPost && !ConsoleAccess.IsOfThisOrigin(request))
        {
            await Write(http, 403, ConsolePages.Message(Frame(null), "Not from here", "A page of another origin has sent this form; nothing was done. Use the console's own pages."));
        }
        else if (path == "/login")
        {
            await SignIn(http);
        }
        else if (path == "/logout")
        {
            DropCookie(http);
            Redirect(http, ConsolePages.Root);
        }
        else
        {
            var visit = _access.Of(request);
            await (visit.Refusal is { } refusal ? Refuse(http, refusal, path) : isPost ? Decode(http, visit) : Show(http, visit, path));
        }
    }

    /// <summary>Leads to the console.</summary>
    public static void Redirect(HttpContext http, string path)
    {
        http.Response.StatusCode = StatusCodes.Status303SeeOther;
        http.Response.Headers.Location = path;
    }

    private static byte[] Resource(string name)
    {
        using var stream = typeof(ConsoleEndpoint).Assembly.GetManifestResourceStream($"console/{name}")!;
        using var copy = new MemoryStream();
        stream.CopyTo(copy);
        return copy.ToArray();
    }

    private static void SetHeaders(HttpResponse response)
    {
        response.Headers.CacheControl = "no-store";
        response.Headers.ContentSecurityPolicy =
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
        response.Headers.XContentTypeOptions = "nosniff";

        // To this origin alone. With no-referrer, browsers would send "Origin: null" with the console's own forms.
        response.Headers["Referrer-Policy"] = "same-origin";
        response.Headers["Cross-Origin-Resource-Policy"] = "same-origin";
    }

    private static Task Write(HttpContext http, int status, Html page) => Write(http, status, "text/html; charset=utf-8", Encoding.UTF8.GetBytes(page.ToString()));

    private static async Task Write(HttpContext http, int status, string type, ReadOnlyMemory<byte> body)
    {
        http.Response.StatusCode = status;
        http.Response.ContentType = type;
        http.Response.ContentLength = body.Length;
        await http.Response.BodyWriter.WriteAsync(body, http.RequestAborted);
    }

    private static string Query(HttpRequest request, string name) => request.Query[name].ToString() is var text && text.Length > MostText ? text[..MostText] : text;

    private async Task Show(HttpContext http, ConsoleVisit visit, string path)
    {
        var (frame, snapshot) = (Frame(visit), sources.Watch.Current);
        switch (path)
        {
            case "":
                await Write(http, 200, ConsolePages.Overview(frame, new(
                    ClientSelection.Of(snapshot.Registry, Uses(), "", ClientKind.All, 1, frame.Now),
                    snapshot.Registry.Resources.Count,
                    snapshot.Keys.Schedule.At(frame.Now),
                    sources.Activity.Read(),
                    Asked(() => sources.Refusals(MostRefusalsAtFirst)))));
                break;
            case "/activity.json":
                await OAuthResults.Write(http, 200, Activity());
                break;
            case "/clients":
                _ = int.TryParse(Query(http.Request, "page"), out var page);
                await Write(http, 200, ConsolePages.Clients(frame, ClientSelection.Of(
                    snapshot.Registry, Uses(), Query(http.Request, "q").Trim(), ConsolePages.Kind(Query(http.Request, "show")), page, frame.Now)));
                break;
            case "/client" when snapshot.Registry.FindClient(Query(http.Request, "id")) is { } client:
                var uses = Uses();
                var shown = new ClientInUse(client, uses is null ? [] : [.. uses[client.ClientId]]);
                await Write(http, 200, ConsolePages.Client(frame, shown, ClientMarks.Of(shown, uses is not null, frame.Now), uses is not null));
                break;
            case "/keys":
                await Write(http, 200, ConsolePages.Keys(frame, new(snapshot.Keys.Schedule.At(frame.Now), sources.Rotation)));
                break;
            case "/refusals":
                var traceId = Query(http.Request, "trace_id").Trim();
                await Write(http, 200, ConsolePages.Refusals(frame, new(
                    traceId, Asked(() => traceId.Length == 0 ? sources.Refusals(MostRefusals) : sources.Explain(traceId.ToLowerInvariant())))));
                break;
            case "/token":
                await Write(http, 200, ConsolePages.Token(frame, null));
                break;
            default:
                await Write(http, 404, ConsolePages.Message(
                    frame, "Not found", path == "/client" ? "There is no such client: it was removed, or never registered." : "There is no such page."));
                break;
        }
    }

    private async Task Decode(HttpContext http, ConsoleVisit visit)
    {
        var (frame, snapshot) = (Frame(visit), sources.Watch.Current);
        if ((await ReadToken(http)).Refused(out var error, out var text))
        {
            await Write(http, error.Status, ConsolePages.Message(frame, "Not readable", error.Description));
            return;
        }

        var inspected = AccessTokenReader.Inspect(text, sources.Issuer(), snapshot.Keys, frame.Now);
        var against = inspected.Token is { } token ? sources.Liveness.Against(token, snapshot.Registry) : null;
        await Write(http, 200, ConsolePages.Token(frame, new(inspected, against is null ? inspected.Faults : [against])));
    }

    private async Task SignIn(HttpContext http)
    {
        if ((await ReadToken(http)).Refused(out var error, out var text))
        {
            await Write(http, error.Status, ConsolePages.Message(Frame(null), "Not readable", error.Description));
            return;
        }

        var visit = text.Length > ConsoleAccess.MaxTokenLength
            ? new(new(400, "invalid_request", $"The token is too long for a cookie. Ask for one with the scope {ConsoleAccess.Scope} alone."), null, false)
            : _access.Of(text, byCookie: false);
        if (visit.Refusal is { } refusal)
        {
            logger.ConsoleRefused($"{http.Connection.RemoteIpAddress}", refusal.Text);
            await Refuse(http, refusal, "/login");
            return;
        }

        // A proxy in front may speak https to the browser: the browser says so in Origin.
        http.Response.Cookies.Append(ConsoleAccess.Cookie, text, new CookieOptions
        {
            HttpOnly = true,
            IsEssential = true,
            MaxAge = visit.Token!.ExpiresAt - sources.Clock.GetUtcNow(),
            Path = ConsolePages.Root,
            SameSite = SameSiteMode.Strict,
            Secure = http.Request.IsHttps || http.Request.Headers.Origin.ToString().StartsWith("https://", StringComparison.OrdinalIgnoreCase),
        });
        logger.ConsoleOpened($"{http.Connection.RemoteIpAddress}", visit.Token.ClientId);
        Redirect(http, ConsolePages.Root);
    }

    private async Task Refuse(HttpContext http, ConsoleRefusal refusal, string path)
    {
        if (refusal.Status is 401 or 403)
        {
            // RFC 6750 §3.
            http.Response.Headers.WWWAuthenticate = refusal.Error is null
                ? $"Bearer realm=\"TokenService\", scope=\"{ConsoleAccess.Scope}\""
                : $"Bearer realm=\"TokenService\", error=\"{refusal.Error}\", error_description=\"{refusal.Text}\", scope=\"{ConsoleAccess.Scope}\"";
        }

        if (refusal.Status == 503)
        {
            http.Response.Headers.RetryAfter = "1";
        }

        if (refusal.Status == 401 && http.Request.Cookies.ContainsKey(ConsoleAccess.Cookie))
        {
            DropCookie(http);
        }

        if (path.EndsWith(".json", StringComparison.Ordinal))
        {
            var answer = new ErrorResponse
            {
                Error = refusal.Error ?? "invalid_token",
                ErrorDescription = refusal.Text,
                TraceId = OAuthResults.TraceId(http),
            };
            await OAuthResults.Write(http, refusal.Status, answer, ProtocolJson.Default.ErrorResponse);
            return;
        }

        await Write(http, refusal.Status, ConsolePages.Closed(Frame(null), refusal));
    }

    private static void DropCookie(HttpContext http) => http.Response.Cookies.Delete(
        ConsoleAccess.Cookie, new CookieOptions { HttpOnly = true, Path = ConsolePages.Root, SameSite = SameSiteMode.Strict });

    private static async ValueTask<Result<string>> ReadToken(HttpContext http)
    {
        if ((await RequestForm.ReadFields(http.Request, http.RequestAborted)).Refused(out var error, out var fields))
        {
            return error;
        }

        // A terminal breaks what it shows into lines.
        var sent = fields.Where(field => field.Key == "token").Select(field => string.Concat(field.Value.Where(c => !char.IsWhiteSpace(c)))).ToList();
        return sent is [{ Length: > 0 } token]
            ? token
            : OAuthError.InvalidRequest("The form must have a token, once.", new("token", "one token", "none, or several"));
    }

    private ConsoleFrame Frame(ConsoleVisit? visit) => new(
        sources.Issuer(),
        sources.Clock.GetUtcNow(),
        visit?.Token?.ClientId,
        visit is not null,
        visit is { ByCookie: true },
        sources.Watch.Answers ? null : sources.Watch.Staleness);

    private byte[] Activity()
    {
        var periods = sources.Activity.Read();
        var buffer = new ArrayBufferWriter<byte>();
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            json.WriteNumber("period_seconds", (long)TokenActivity.Period.TotalSeconds);
            json.WriteNumber("top", ConsoleCharts.Top(periods));
            Write("issued", period => period.Issued);
            Write("refused", period => period.Refused);
            json.WriteEndObject();

            void Write(string name, Func<ActivityPeriod, long> count)
            {
                json.WriteStartArray(name);
                foreach (var period in periods)
                {
                    json.WriteNumberValue(count(period));
                }

                json.WriteEndArray();
            }
        }

        return buffer.WrittenSpan.ToArray();
    }

    private ILookup<string, CredentialUse>? Uses()
    {
        lock (_reading)
        {
            // What could not be read counts too: the others wait here as long as a store that does not answer takes.
            if (_usesReadAt is not { } at || sources.Clock.GetElapsedTime(at) > s_usesAreGoodFor)
            {
                _uses = Asked(() => sources.Uses().ToLookup(use => use.ClientId, StringComparer.Ordinal));
                _usesReadAt = sources.Clock.GetTimestamp();
            }

            return _uses;
        }
    }

    // The pages say what the store does not.
    private static T? Asked<T>(Func<T> ask)
        where T : class
    {
        try
        {
            return ask();
        }
        catch (StoreUnavailableException)
        {
            return null;
        }
    }
}
