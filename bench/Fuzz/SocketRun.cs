using System;
using System.Collections.Concurrent;
using System.Collections.Frozen;
using System.Collections.Generic;
using System.Collections.Immutable;
using System.Diagnostics;
using System.Globalization;
using System.Linq;
using System.Net;
using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;
using System.Threading;
using System.Threading.Tasks;
using Microsoft.AspNetCore.WebUtilities;
using Microsoft.Extensions.Primitives;
using Microsoft.IdentityModel.JsonWebTokens;

namespace Fuzz;

/// <summary>Sends mutated requests to the real service, as raw HTTP.</summary>
/// <remarks>
/// No answer with 5xx, each within a second, each refusal JSON with <c>error</c> and <c>trace_id</c>, one answer for each request, and the service well to the end. A token, or
/// that one is live, only for who has sent what proves it: secrets as they are, or an assertion that the library takes too, once. What no two requests can share is made anew for
/// each; so the bytes of a request differ from run to run, and a finding shows them.
/// </remarks>
internal sealed class SocketRun
{
    // Many, since a fifth of them waits for an answer that never comes.
    private const int Connections = 32;
    private const int Rounds = 3;

    // A line may end without its carriage return (RFC 9112 §2.2).
    private static readonly Regex s_endOfHead = new("\n\r?\n", RegexOptions.CultureInvariant);

    private static readonly TimeSpan s_longest = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan s_renewal = TimeSpan.FromMinutes(1);
    private static readonly TimeSpan s_silence = TimeSpan.FromMilliseconds(30);

    // What the web server answers itself, before any of our code: the request is none of HTTP, too large, or of a version that it does not speak.
    private static readonly FrozenSet<int> s_webServers = new[] { 400, 408, 411, 413, 414, 431, 501, 505 }.ToFrozenSet();

    private static readonly FrozenDictionary<string, string> s_scopes = new Dictionary<string, string>
    {
        ["basic-job"] = "catalog.search catalog.read",
        ["a b:c%"] = "orders.read",
        ["post-job"] = "orders.read orders.write",
        ["key-job"] = "catalog.read",
        ["mac-job"] = "catalog.read",
        ["bound-job"] = "orders.read",
        ["exchange-job"] = "catalog.read orders.read",
    }.ToFrozenDictionary(StringComparer.Ordinal);

    private readonly Uri _url;
    private readonly string _issuer;
    private readonly ulong _seed;
    private readonly LibraryCheck _library;
    private readonly Notes _notes = new();

    // Each assertion that gave a token, and until when it may give none again.
    private readonly ConcurrentDictionary<string, DateTimeOffset> _usedAssertions = new(StringComparer.Ordinal);

    // Each token that may be live, and until when.
    private readonly ConcurrentDictionary<string, DateTimeOffset> _liveUntil = new(StringComparer.Ordinal);
    private volatile Tokens _tokens = new([], [], "");
    private volatile string _nonce = "";

    private SocketRun(Uri url, ulong seed)
    {
        (_url, _seed) = (url, seed);
        _issuer = url.GetLeftPart(UriPartial.Authority);
        _library = new LibraryCheck(_issuer);
    }

    /// <summary>Sends so many requests.</summary>
    /// <param name="url">Where the service listens, which is its issuer too. Its clients are the corpus's, and it counts no failures.</param>
    /// <param name="count">How many.</param>
    /// <param name="seed">What they follow from.</param>
    /// <param name="tell">Told now and then how many were sent.</param>
    public static async Task<Report> Run(Uri url, long count, ulong seed, Action<long>? tell = null)
    {
        var run = new SocketRun(url, seed);
        await run.Renew();
        using var ended = new CancellationTokenSource();
        var renewing = run.RenewUntil(ended.Token);
        var since = Stopwatch.StartNew();
        long begun = 0;
        await Task.WhenAll(Enumerable.Range(0, Connections).Select(_ => Task.Run(async () =>
        {
            RawConnection? connection = null;
            for (var index = Interlocked.Increment(ref begun) - 1; index < count; index = Interlocked.Increment(ref begun) - 1)
            {
                connection = await run.Try(connection, index);
                if (index % 50_000 == 0)
                {
                    tell?.Invoke(index);
                }
            }

            connection?.Dispose();
        })));
        var took = since.Elapsed;
        await ended.CancelAsync();
        await renewing;
        await run.IsWell();
        return run._notes.End(count, took);
    }

    // The right request that is asked before all others and after them.
    private async Task<string> Token()
    {
        using var connection = await RawConnection.Open(_url);
        await connection.Send(Basic("basic-job", "/oauth2/token", "grant_type=client_credentials").ToBytes());
        var answer = await connection.Read(s_patience);
        return answer is { Status: 200 } && Member(answer.Body, "access_token") is { } token ? token : throw new InvalidOperationException($"A right request was answered {answer}.");
    }

    // A token lives for ten minutes, and a run may take hours.
    private async Task RenewUntil(CancellationToken ended)
    {
        try
        {
            using var timer = new PeriodicTimer(s_renewal);
            while (await timer.WaitForNextTickAsync(ended))
            {
                await Renew();
            }
        }
        catch (OperationCanceledException)
        {
            // The run has ended.
        }
        catch (Exception fault) when (fault is InvalidOperationException or System.Net.Sockets.SocketException)
        {
            _notes.Find("no token in between", fault.Message);
        }
    }

    private async Task Renew()
    {
        var tokens = await Task.WhenAll(Enumerable.Range(0, 17).Select(_ => Token()));
        foreach (var token in tokens.Skip(8))
        {
            _liveUntil[token] = new JsonWebToken(token).ValidTo + LibraryCheck.Skew;
        }

        _tokens = new Tokens([.. tokens.Skip(9)], [.. tokens.Take(8)], tokens[8]);
        Forget(_liveUntil);
        Forget(_usedAssertions);

        // What has ended long ago: an answer may still be on its way.
        static void Forget(ConcurrentDictionary<string, DateTimeOffset> notes)
        {
            foreach (var (key, until) in notes)
            {
                if (until < DateTimeOffset.UtcNow - s_renewal)
                {
                    notes.TryRemove(key, out _);
                }
            }
        }
    }

    private bool MayBeLive(string token) => _liveUntil.TryGetValue(token, out var until) && DateTimeOffset.UtcNow < until + s_longest;

    private async Task IsWell()
    {
        try
        {
            await Token();
            _notes.Count("well at the end");
        }
        catch (Exception fault) when (fault is InvalidOperationException or System.Net.Sockets.SocketException)
        {
            _notes.Find("the service is not well at the end", fault.Message);
        }
    }

    private async Task<RawConnection?> Try(RawConnection? connection, long index)
    {
        var dice = new Dice(_seed, (ulong)index);
        var request = Make(dice, out var kind);
        var place = dice.Below(20);
        if (place < 4)
        {
            await TryRaw(Mutation.Bytes(dice, request.ToBytes(), [Encoding.ASCII.GetBytes(_tokens.ToSplice)]), kind, index);
            return connection;
        }

        var changed = Change(dice, request, place);
        for (var round = 1; ; round++)
        {
            connection ??= await RawConnection.Open(_url);

            // An assertion may have been used by the request that was not answered in time.
            changed = changed with { IsRight = changed.IsRight && (round == 1 || changed.Assertion is null) };
            var since = Stopwatch.StartNew();
            await connection.Send(changed.ToBytes());
            var answer = await connection.Read(s_patience);
            var isLate = since.Elapsed > s_longest;
            var isBusy = answer is { Status: 503 } && answer.Header("Retry-After") is not null;
            if (answer is null || answer.Closes || connection.IsClosed || connection.HasRest)
            {
                if (connection.HasRest)
                {
                    Find("more than one answer", changed.ToBytes(), answer, index);
                }

                connection.Dispose();
                connection = null;
            }

            if ((answer is null || isLate || isBusy) && round < Rounds)
            {
                // The machine may stand still for a moment; and a connection may have ended after its last answer.
                _notes.Count(isBusy ? "again: too busy" : isLate ? "again: late" : "again: no answer");
                await Task.Delay(isBusy ? 1_000 : 0);
                continue;
            }

            if (isLate)
            {
                Find("takes over a second", changed.ToBytes(), answer, index);
            }
            else if (answer is null)
            {
                Find("no answer", changed.ToBytes(), answer, index);
            }
            else
            {
                Judge(changed, answer, kind, index);
            }

            return connection;
        }
    }

    private void Judge(Request request, RawAnswer answer, string kind, long index)
    {
        _notes.Count($"{kind}: {answer.Status}");
        var bytes = request.ToBytes();
        if (request.IsRight && answer.Status != 200)
        {
            Find("a right request is refused", bytes, answer, index);
        }

        if (answer.Header("DPoP-Nonce") is { } nonce)
        {
            _nonce = nonce;
        }

        JudgeForm(answer, bytes, isHttp: !request.MayBeNoHttp, index);
        JudgeTokens(answer, request.Authorization, request.Body, bytes, index);
    }

    // Bytes that may be anything: what comes is read until nothing more does.
    private async Task TryRaw(byte[] bytes, string kind, long index)
    {
        for (var round = 1; ; round++)
        {
            using var connection = await RawConnection.Open(_url);
            var (isWhole, answers, isBusy) = (IsWhole(bytes), 0, false);
            var (isLate, late) = (false, (RawAnswer?)null);
            var since = Stopwatch.StartNew();
            await connection.Send(bytes);
            while (!connection.IsClosed && answers < 100)
            {
                var answer = await connection.Read(answers > 0 || !isWhole ? s_silence : s_patience);
                if (since.Elapsed > s_longest && (answer is not null || connection.IsClosed))
                {
                    (isLate, late) = (true, answer);
                }

                since.Restart();
                if (answer is null)
                {
                    break;
                }

                answers++;
                isBusy |= answer is { Status: 503 } && answer.Header("Retry-After") is not null;
                if (!isBusy)
                {
                    _notes.Count($"raw {kind}: {answer.Status}");
                    JudgeForm(answer, bytes, isHttp: false, index);
                    JudgeTokens(answer, null, null, bytes, index);
                }

                if (answer.Closes)
                {
                    break;
                }
            }

            if (round < Rounds && (isBusy || isLate || (isWhole && answers == 0)))
            {
                _notes.Count(isLate ? "again: raw, late" : "again: raw");
                await Task.Delay(isBusy ? 1_000 : 0);
                continue;
            }

            if (isLate)
            {
                Find("takes over a second", bytes, late, index);
            }

            if (answers == 0)
            {
                _notes.Count(isWhole ? "raw: closed without an answer" : "raw: a part of a request");
                if (isWhole && !connection.IsClosed)
                {
                    Find("no answer to a whole request", bytes, null, index);
                }
            }

            return;
        }
    }

    private void JudgeForm(RawAnswer answer, byte[] bytes, bool isHttp, long index)
    {
        if (answer.Status is >= 500 and not 505 and not 501)
        {
            Find($"status {answer.Status}", bytes, answer, index);
        }

        if (answer.Status < 400)
        {
            return;
        }

        if (answer.Header("Content-Type") == "application/json")
        {
            if (Member(answer.Body, "error") is not { Length: > 0 } || Member(answer.Body, "trace_id") is not { Length: 32 } || Member(answer.Body, "error_description") is not { Length: > 10 })
            {
                Find("a refusal without error, error_description or trace_id", bytes, answer, index);
            }

            if (answer.Header("Cache-Control") != "no-store" || (answer.Status == 401) != (answer.Header("WWW-Authenticate") is not null))
            {
                Find("a refusal with other headers", bytes, answer, index);
            }

            return;
        }

        // Nobody's address, another method at a document, or no HTTP.
        var isPlain = answer.Body.Length == 0
            && (answer.Status is 404 or 405 || (!isHttp && s_webServers.Contains(answer.Status) && answer.Closes));
        _notes.Count($"without JSON: {answer.Status}");
        if (!isPlain || isHttp)
        {
            Find($"a refusal {answer.Status} without JSON", bytes, answer, index);
        }
    }

    private void JudgeTokens(RawAnswer answer, string? authorization, byte[]? body, byte[] bytes, long index)
    {
        if (answer.Status != 200 || answer.Header("Content-Type") != "application/json")
        {
            return;
        }

        if (body is null)
        {
            // Read as leniently as anybody might. Empty lines before a request are none of it (RFC 9112 §2.2).
            var text = Encoding.Latin1.GetString(bytes).TrimStart('\r', '\n');
            var end = s_endOfHead.Match(text);
            var head = end.Success ? text[..end.Index] : text;
            authorization = Header("Authorization:");
            body = Encoding.Latin1.GetBytes(end.Success ? text[(end.Index + end.Length)..] : "");

            // What stands behind the body is the next request.
            body = int.TryParse(Header("Content-Length:"), NumberStyles.None, CultureInfo.InvariantCulture, out var length) && length < body.Length ? body[..length] : body;

            string? Header(string name)
                => head.Split('\n').Where(line => line.StartsWith(name, StringComparison.OrdinalIgnoreCase)).Select(line => line[name.Length..].Trim()).LastOrDefault();
        }

        var form = QueryHelpers.ParseQuery(Encoding.UTF8.GetString(body));
        if (Member(answer.Body, "access_token") is { } access)
        {
            _notes.Count("tokens");
            var token = new JsonWebToken(access);
            var client = token.GetPayloadValue<string>("client_id");
            var scopes = token.GetPayloadValue<string>("scope").Split(' ');
            if (!IsProved(client, authorization, form))
            {
                Find("a token without what proves the client", bytes, answer, index);
            }

            if (!s_scopes.TryGetValue(client, out var registered) || scopes.Except(registered.Split(' ')).Any())
            {
                Find("a token with a scope that is not the client's", bytes, answer, index);
            }

            if (client == "bound-job" && !token.TryGetPayloadValue<JsonElement>("cnf", out _))
            {
                Find("a token that is bound to no key", bytes, answer, index);
            }

            if (token.TryGetPayloadValue<JsonElement>("act", out _) != (Value(form, "grant_type") == "urn:ietf:params:oauth:grant-type:token-exchange")
                || (token.TryGetPayloadValue<JsonElement>("act", out _) && !MayBeLive(Value(form, "subject_token"))))
            {
                Find("an exchanged token without the subject token", bytes, answer, index);
            }
        }
        else if (answer.Body.Contains("\"active\":true", StringComparison.Ordinal))
        {
            _notes.Count("live tokens");
            if (!MayBeLive(Value(form, "token")) || !IsProved("intro-job", authorization, form))
            {
                Find("a token that is live and should not be", bytes, answer, index);
            }
        }
    }

    private bool IsProved(string client, string? authorization, Dictionary<string, StringValues> form)
    {
        if (KnownSecrets.All.TryGetValue(client, out var known))
        {
            return known.Method == "client_secret_post"
                ? Value(form, "client_id") == client && Value(form, "client_secret") == known.Secret
                : authorization is not null && Pairs(authorization).Contains($"{client}:{known.Secret}", StringComparer.Ordinal);
        }

        // No two tokens for one assertion.
        var assertion = Value(form, "client_assertion");
        return _library.Refuses(assertion, DateTimeOffset.UtcNow, out var signer) is null && signer == client
            && IsFirstUse($"{client} {LibraryCheck.TokenId(assertion)}", LibraryCheck.Ends(assertion));
    }

    // A jti may serve again when the assertion that had it has ended (RFC 7523 §3). The service took this one before its answer came: where that was early enough, it should not have.
    private bool IsFirstUse(string assertion, DateTimeOffset until)
    {
        var isFirst = true;
        _usedAssertions.AddOrUpdate(
            assertion,
            until,
            (_, before) =>
            {
                isFirst = before < DateTimeOffset.UtcNow;
                return until > before ? until : before;
            });
        return isFirst;
    }

    private static string Value(Dictionary<string, StringValues> form, string name) => form.GetValueOrDefault(name).ToString();

    private static IEnumerable<string> Pairs(string authorization)
    {
        var bytes = new byte[authorization.Length];
        if (!authorization.StartsWith("Basic ", StringComparison.OrdinalIgnoreCase) || !Convert.TryFromBase64String(authorization[6..].Trim(), bytes, out var length))
        {
            return [];
        }

        var pair = Encoding.UTF8.GetString(bytes, 0, length);
        return [pair, WebUtility.UrlDecode(pair)];
    }

    private Request Make(Dice dice, out string kind)
    {
        const string Grant = "grant_type=client_credentials";
        kind = dice.Of<string>(["basic", "basic", "post", "odd", "key", "mac", "proof", "exchange", "introspect", "introspect", "revoke", "document"]);
        return kind switch
        {
            "basic" => Basic("basic-job", "/oauth2/token", dice.Of<string>([Grant, $"{Grant}&scope=catalog.search+catalog.read", $"{Grant}&resource=https%3A%2F%2Fcatalog.example.com"])),
            "post" => Post("/oauth2/token", $"{Grant}&client_id=post-job&client_secret={KnownSecrets.All["post-job"].Secret}&scope=orders.read"),
            "odd" => Post("/oauth2/token", $"{Grant}&client_id={WebUtility.UrlEncode("a b:c%")}&client_secret={WebUtility.UrlEncode(KnownSecrets.All["a b:c%"].Secret)}"),
            "key" => Asserting(Assertion(dice, "key-job", dice.Of<string>(["ES256", "ES256", "RS256", "PS256"]))),
            "mac" => Asserting(Assertion(dice, "mac-job", dice.Of<string>(["HS256", "HS512"]))),
            "proof" => Proving(Proof(dice)),
            "exchange" => Basic(
                "exchange-job",
                "/oauth2/token",
                $"grant_type={WebUtility.UrlEncode("urn:ietf:params:oauth:grant-type:token-exchange")}&subject_token_type={WebUtility.UrlEncode("urn:ietf:params:oauth:token-type:access_token")}"
                + $"&subject_token={dice.Of<string>(_tokens.Live.AsSpan())}"),
            "introspect" => Basic("intro-job", "/oauth2/introspect", $"token={dice.Of<string>(_tokens.Live.AsSpan())}&token_type_hint=access_token"),
            "revoke" => Basic("basic-job", "/oauth2/revoke", $"token={dice.Of<string>(_tokens.ToRevoke.AsSpan())}"),
            _ => new Request("GET", dice.Of<string>(["/.well-known/jwks.json", "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server", "/health/live"]), [], []),
        };
    }

    private static Request Change(Dice dice, Request request, int place)
    {
        if (place == 4)
        {
            // A proof may have an old nonce: the service wants a new one then.
            return request with { IsRight = request.Proof is null };
        }

        if (request.Assertion is { } assertion && place < 12)
        {
            return Asserting(Encoding.UTF8.GetString(Mutation.Jwt(dice, Encoding.ASCII.GetBytes(assertion), [], Corpus.Sign)));
        }

        if (request.Proof is { } proof && place < 12)
        {
            var changed = Mutation.Jwt(dice, Encoding.ASCII.GetBytes(proof), [], Corpus.Sign);
            return changed.Length > 8_000 || changed.AsSpan().ContainsAnyExceptInRange((byte)0x21, (byte)0x7E) ? request : Proving(Encoding.ASCII.GetString(changed));
        }

        if (request.Pair is { } pair && place < 9)
        {
            var inside = Mutation.Bytes(dice, Encoding.UTF8.GetBytes(pair), []);
            return request.With("Authorization", $"Basic {Convert.ToBase64String(inside.AsSpan(0, Math.Min(inside.Length, 4_000)))}");
        }

        if (place < 16)
        {
            return request with { Body = Mutation.Bytes(dice, request.Body, [Encoding.ASCII.GetBytes("&client_id=post-job&grant_type=client_credentials&scope=orders.write")]) };
        }

        if (place == 16)
        {
            return request with { Method = dice.Of<string>(["GET", "PUT", "POST", "DELETE", "OPTIONS", "PATCH", "TRACE", "post", "X"]), MayBeNoHttp = request.Method == "GET" };
        }

        if (place == 17)
        {
            var query = Encoding.ASCII.GetString(
                [.. Mutation.Bytes(dice, dice.Of<byte[]>(["a=b&client_id=basic-job"u8.ToArray(), "scope=%41"u8.ToArray()]), []).Where(b => b is > 0x20 and < 0x7F and not (byte)'#').Take(4_000)]);
            return request with { Path = $"{request.Path}?{query}" };
        }

        var (name, value) = dice.Of<(string, string)>(
        [
            ("Authorization", request.Authorization ?? "Bearer x"), ("Content-Type", "application/x-www-form-urlencoded; charset=utf-8"), ("DPoP", request.Proof ?? "x"),
            ("Client-Cert", ":AAAA:"), ("X-Forwarded-For", "127.0.0.1"), ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), ("If-None-Match", "\"a\""),
            ("Accept", "application/json"), ("Forwarded", "for=1.1.1.1"),
        ]);
        var bytes = Mutation.Bytes(dice, Encoding.ASCII.GetBytes(value), []).Where(b => b is not (0 or 10 or 13)).ToArray();
        return request.With(name, Encoding.Latin1.GetString(bytes)) with { MayBeNoHttp = bytes.Length > 8_000 || bytes.AsSpan().ContainsAnyExceptInRange((byte)' ', (byte)'~') };
    }

    private string Assertion(Dice dice, string client, string algorithm)
    {
        var now = DateTimeOffset.UtcNow.ToUnixTimeSeconds();
        var kid = algorithm == "ES256" ? ",\"kid\":\"2\"" : algorithm.StartsWith('H') ? "" : ",\"kid\":\"1\"";
        return Corpus.Jwt(
            Encoding.ASCII.GetBytes($$"""{"alg":"{{algorithm}}"{{kid}}}"""),
            Encoding.ASCII.GetBytes($$"""{"iss":"{{client}}","sub":"{{client}}","aud":"{{_issuer}}","iat":{{now}},"exp":{{now + 60}},"jti":"{{dice.Next()}}"}"""));
    }

    private string Proof(Dice dice) => Corpus.Jwt(
        Encoding.ASCII.GetBytes(Corpus.Lines("proof.txt")[0].Split('\t')[0]),
        Encoding.ASCII.GetBytes(
            $$"""{"htm":"POST","htu":"{{_issuer}}/oauth2/token","iat":{{DateTimeOffset.UtcNow.ToUnixTimeSeconds()}},"jti":"{{dice.Next()}}","nonce":"{{_nonce}}"}"""));

    private static Request Asserting(string assertion) => Post(
        "/oauth2/token",
        $"grant_type=client_credentials&client_assertion_type={WebUtility.UrlEncode("urn:ietf:params:oauth:client-assertion-type:jwt-bearer")}&client_assertion={WebUtility.UrlEncode(assertion)}") with
    {
        Assertion = assertion,
    };

    private static Request Proving(string proof)
        => Basic("bound-job", "/oauth2/token", "grant_type=client_credentials").With("DPoP", proof) with { Proof = proof };

    private static Request Basic(string client, string path, string form)
    {
        var pair = $"{client}:{KnownSecrets.All[client].Secret}";
        return Post(path, form).With("Authorization", $"Basic {Convert.ToBase64String(Encoding.UTF8.GetBytes(pair))}") with { Pair = pair };
    }

    private static Request Post(string path, string form)
        => new("POST", path, [("Content-Type", "application/x-www-form-urlencoded")], Encoding.ASCII.GetBytes(form));

    // Whether the bytes are a whole request: its headers end, and its body is there. Empty lines before it are none, and a line may end without its carriage return
    // (RFC 9112 §2.2).
    private static bool IsWhole(byte[] bytes)
    {
        var text = Encoding.Latin1.GetString(bytes).TrimStart('\r', '\n');
        var end = s_endOfHead.Match(text);
        if (!end.Success)
        {
            return false;
        }

        var lengths = text[..end.Index].Split('\n').Where(line => line.StartsWith("Content-Length:", StringComparison.OrdinalIgnoreCase)).ToList();
        return lengths.Count == 0
            || (long.TryParse(lengths[0].AsSpan(15).Trim(), NumberStyles.None, CultureInfo.InvariantCulture, out var length) && text.Length >= end.Index + end.Length + length);
    }

    private static string? Member(string body, string name)
    {
        try
        {
            using var json = JsonDocument.Parse(body);
            return json.RootElement.ValueKind == JsonValueKind.Object && json.RootElement.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.String ? value.GetString() : null;
        }
        catch (JsonException)
        {
            return null;
        }
    }

    private void Find(string kind, byte[] bytes, RawAnswer? answer, long index) => _notes.Find(kind, string.Create(
        CultureInfo.InvariantCulture,
        $"index {index}: {answer?.Status} {answer?.Head.ReplaceLineEndings(" | ")} {answer?.Body} to {Convert.ToBase64String(bytes.AsSpan(0, Math.Min(bytes.Length, 3_000)))}"));

    // Tokens of the last minute: those of right requests, which nothing may end; those that are revoked; and one for the middle of bytes, where any request may do anything with it.
    private sealed record Tokens(ImmutableArray<string> Live, ImmutableArray<string> ToRevoke, string ToSplice);

    private sealed record Request(string Method, string Path, ImmutableArray<(string Name, string Value)> Headers, byte[] Body)
    {
        public bool IsRight { get; init; }

        // Whether its headers are such that the web server may refuse it before our code sees it.
        public bool MayBeNoHttp { get; init; }

        public string? Pair { get; init; }

        public string? Assertion { get; init; }

        public string? Proof { get; init; }

        public string? Authorization => Headers.LastOrDefault(header => header.Name == "Authorization").Value;

        public Request With(string name, string value) => this with { Headers = [.. Headers.Where(header => header.Name != name), (name, value)] };

        public byte[] ToBytes()
        {
            var head = new StringBuilder($"{Method} {Path} HTTP/1.1\r\nHost: x\r\n");
            foreach (var (name, value) in Headers)
            {
                head.Append(CultureInfo.InvariantCulture, $"{name}: {value}\r\n");
            }

            if (Body.Length > 0 || Method == "POST")
            {
                head.Append(CultureInfo.InvariantCulture, $"Content-Length: {Body.Length}\r\n");
            }

            return [.. Encoding.Latin1.GetBytes(head.Append("\r\n").ToString()), .. Body];
        }
    }
}
