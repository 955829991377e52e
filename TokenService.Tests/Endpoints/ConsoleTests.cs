using System;
using System.Globalization;
using System.Linq;
using System.Net.Http;
using System.Text.Json;
using System.Text.RegularExpressions;
using System.Threading.Tasks;
using FluentAssertions;
using Microsoft.Extensions.Time.Testing;
using TokenService.Tests.Support;
using Xunit;
using static TokenService.Tests.Support.ConsoleVisitor;

namespace TokenService.Tests.Endpoints;

/// <summary>The console over HTTP: who sees it, who does not and what that one is told, and what is on its pages.</summary>
public sealed class ConsoleTests(ConsoleTests.Fixture fixture) : IClassFixture<ConsoleTests.Fixture>
{
    private const string Policy =
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

    private static readonly string[] s_pages = ["", "/clients", $"/client?id={Sample.Job}", "/keys", "/refusals", "/token", "/activity.json"];

    private readonly ConsoleVisitor _console = fixture.Console!;

    private RunningService Service => _console.Service;

    [Fact]
    public async Task In_Development_it_is_open_on_this_machine()
    {
        foreach (var host in (string[])[_console.Url.Authority, $"localhost:{_console.Url.Port}", "LOCALHOST", "[::1]", "127.1.2.3"])
        {
            (await _console.Get("/console", ("Host", host))).Status.Should().Be(200, host);
        }

        var root = await _console.Get("/");
        (root.Status, root.Response.Headers.Location!.ToString()).Should().Be((303, "/console"));
    }

    [Theory]
    [InlineData("Host", Away)]
    [InlineData("Host", "localhost.example.com")]
    [InlineData("Host", "127.0.0.1.example.com")]
    [InlineData("Host", "10.0.0.1")]
    [InlineData("Forwarded", "for=192.0.2.1")]
    [InlineData("Via", "1.1 proxy")]
    [InlineData("X-Forwarded-For", "127.0.0.1")]
    [InlineData("X-Forwarded-Host", "localhost")]
    [InlineData("X-Forwarded-Proto", "https")]
    [InlineData("X-Real-IP", "127.0.0.1")]
    public async Task Elsewhere_than_on_this_machine_it_asks_for_a_token(string header, string value)
    {
        foreach (var page in s_pages)
        {
            var answer = await _console.Get("/console" + page, (header, value));

            (answer.Status, Challenge(answer)).Should().Be((401, "Bearer realm=\"TokenService\", scope=\"tokenservice.console\""), page);
        }

        (await _console.Get("/metrics", (header, value))).Status.Should().Be(200, "Prometheus has no token");
    }

    [Fact]
    public async Task Elsewhere_than_in_Development_it_asks_for_a_token_on_this_machine_too()
    {
        await using var console = await ConsoleVisitor.Start("--environment=Production", "--TokenService:Issuer=https://auth.example.com");

        (await console.Get("/console")).Status.Should().Be(401);
        (await console.Get("/console", Bearer(await console.Service.GetToken(Operator)))).Status.Should().Be(200);
    }

    [Fact]
    public async Task The_page_of_a_refusal_tells_how_to_get_a_token_and_has_a_form_for_it()
    {
        var answer = await _console.GetAway("/console");

        HasTheHeaders(answer);
        answer.Body.Should().Contain("TokenService resources add urn:tokenservice:console --scope tokenservice.console")
            .And.Contain($"scope=tokenservice.console {Service.Url.GetLeftPart(UriPartial.Authority)}/oauth2/token")
            .And.Contain("<form class=\"card\" method=\"post\" action=\"/console/login\"")
            .And.NotContain("href=\"/console/clients\"");
    }

    [Fact]
    public async Task A_token_with_the_scope_opens_each_page_by_header_and_by_cookie()
    {
        var token = await Service.GetToken(Operator);

        foreach (var page in s_pages)
        {
            foreach (var credential in ((string, string)[])[Bearer(token), ("Authorization", $"bearer {token}"), Cookie(token)])
            {
                var answer = await _console.GetAway("/console" + page, credential);

                answer.Status.Should().Be(200, page);
                answer.Response.Headers.CacheControl!.NoStore.Should().BeTrue();
                HasTheHeaders(answer);
            }
        }
    }

    [Fact]
    public async Task A_token_for_the_console_and_another_resource_opens_it()
        => (await _console.GetAway("/console", Bearer(await Service.GetToken(Both)))).Status.Should().Be(200);

    [Theory]
    [InlineData(Both, "&scope=catalog.read")]
    [InlineData($"{Sample.Job}:{Sample.JobSecret}", "")]
    public async Task A_token_without_the_scope_is_refused(string client, string extra)
    {
        var answer = await _console.GetAway("/console", Bearer(await Service.GetToken(client, extra)));

        (answer.Status, Challenge(answer)).Should().Be((
            403,
            "Bearer realm=\"TokenService\", error=\"insufficient_scope\", error_description=\"The token is good, but it lacks the scope tokenservice.console.\", scope=\"tokenservice.console\""));
        answer.Body.Should().Contain("it lacks the scope tokenservice.console");
    }

    [Theory]
    [InlineData("garbage", "token")]
    [InlineData("a.b.c", "token")]
    public async Task What_is_no_token_is_refused(string sent, string check) => Invalid(await _console.GetAway("/console", ("Authorization", $"Bearer {sent} ")), check);

    [Fact]
    public async Task A_token_is_refused_that_this_service_has_not_signed_as_it_is()
    {
        var token = await Service.GetToken(Operator);

        Invalid(await _console.GetAway("/console", Bearer(TokenDraft.Of(token).With("exp", 4_000_000_000).Unsigned())), "signature");
        Invalid(await _console.GetAway("/console", Bearer(TokenDraft.Of(token).Signed(_ => new byte[256]))), "signature");
        Invalid(await _console.GetAway("/console", Bearer(TokenDraft.Of(token).WithHeader("alg", "none").Signed(_ => [1]))), "alg");
        Invalid(await _console.GetAway("/console", Bearer(TokenDraft.Of(token).WithHeader("kid", "other").Unsigned())), "kid");
        Invalid(await _console.GetAway("/console", Bearer(TokenDraft.Of(token).WithHeader("typ", "JWT").Unsigned())), "typ");
    }

    [Theory]
    [InlineData("iss", "\"https://other.example.com\"", 401, "iss")]
    [InlineData("iat", "4000000000", 401, "iat")]
    [InlineData("exp", "1000000000", 401, "exp")]
    [InlineData("jti", "7", 401, "claims")]
    [InlineData("client_id", "\"stranger\"", 401, "claims")]
    [InlineData("scope", "\"tokenservice.console.more\"", 403, null)]
    [InlineData("aud", "\"https://catalog.example.com\"", 403, null)]
    [Trait("Host", "InProcess")]
    public async Task A_token_is_refused_with_a_claim_that_is_wrong_whoever_signed_it(string claim, string value, int status, string? check)
    {
        var token = TokenDraft.Of(await Service.GetToken(Operator)).With(claim, System.Text.Json.Nodes.JsonNode.Parse(value))
            .SignedBy(Service.Store.Current.Keys.SigningAt(DateTimeOffset.UtcNow));

        var answer = await _console.GetAway("/console", Bearer(token));

        answer.Status.Should().Be(status);
        Challenge(answer).Should().Contain(check is null ? "error=\"insufficient_scope\"" : $"good no more: {check} is not what it must be");
    }

    [Fact]
    public async Task A_token_that_is_bound_to_a_key_is_refused()
    {
        var key = ClientKeyPair.For("ES256");
        var proof = Service.Draft(key, DateTimeOffset.UtcNow, await Service.Nonce()).SignedBy(key);
        var bound = (await Service.TokenWith(Bound, "grant_type=client_credentials", proof)).AccessToken;

        foreach (var scheme in (string[])["Bearer", "DPoP"])
        {
            var answer = await _console.GetAway("/console", ("Authorization", $"{scheme} {bound}"));

            answer.Status.Should().Be(401);
            Challenge(answer).Should().Contain(scheme == "Bearer" ? "The token is bound to a key, which cannot be proved here." : "Bearer realm=\"TokenService\", scope");
        }

        (await _console.Post("/console/login", $"token={bound}")).Status.Should().Be(401);
    }

    [Fact]
    public async Task A_token_that_was_revoked_closes_the_console_at_once_and_its_cookie_is_taken_away()
    {
        var token = await Service.GetToken(Operator);
        (await _console.GetAway("/console/keys", Cookie(token))).Status.Should().Be(200);

        await Service.Revoke(token, Operator);

        var answer = await _console.GetAway("/console/keys", Cookie(token));
        Invalid(answer, "jti");
        SetCookie(answer).Should().Be("tokenservice-console=; expires=Thu, 01 Jan 1970 00:00:00 GMT; path=/console; samesite=strict; httponly");
        (await _console.Get("/console/keys", Cookie(token))).Status.Should().Be(200, "on this machine an old cookie locks nobody out");
        Invalid(await _console.Get("/console/keys", Bearer(token)), "jti");
    }

    [Fact]
    public async Task A_token_of_a_client_that_was_disabled_or_removed_closes_it()
    {
        await using var console = await ConsoleVisitor.Start();
        await console.Run("clients", "add", "--id", "leaving", "--scope", Scope);
        var (operators, secret) = (await console.Service.GetToken(Operator), (await RotateSecret(console, "leaving")).Trim());
        var leaving = await console.Service.GetToken($"leaving:{secret}");
        (await console.GetAway("/console", Bearer(leaving))).Status.Should().Be(200);

        await console.Run("clients", "disable", "operator");
        await console.Run("clients", "remove", "leaving");

        Invalid(await console.GetAway("/console", Bearer(operators)), "client_id");
        Invalid(await console.GetAway("/console", Bearer(leaving)), "client_id");
    }

    [Fact]
    [Trait("Host", "InProcess")]
    public async Task A_token_closes_it_at_its_end()
    {
        var clock = new FakeTimeProvider(DateTimeOffset.UtcNow);
        await using var console = await ConsoleVisitor.With(clock, File);
        var token = await console.Service.GetToken(Operator);
        clock.Advance(TimeSpan.FromSeconds(3599));
        (await console.GetAway("/console", Cookie(token))).Status.Should().Be(200);

        clock.Advance(TimeSpan.FromSeconds(1));

        Invalid(await console.GetAway("/console", Cookie(token)), "exp");
    }

    [Fact]
    public async Task A_resource_that_is_gone_takes_the_scope_with_it()
    {
        await using var console = await ConsoleVisitor.With(null, Sample.File);
        await console.Run("resources", "add", "urn:operators", "--scope", Scope);
        await console.Run("clients", "add", "--id", "own", "--scope", Scope);
        var token = await console.Service.GetToken($"own:{(await RotateSecret(console, "own")).Trim()}");
        (await console.GetAway("/console", Bearer(token))).Status.Should().Be(200, "the resource may have any name");

        await console.Run("clients", "remove", "own");
        await console.Run("resources", "remove", "urn:operators");

        (await console.GetAway("/console", Bearer(token))).Status.Should().Be(401);
    }

    [Fact]
    [Trait("Host", "InProcess")]
    [Trait("Storage", "Sqlite")]
    public async Task While_the_store_does_not_answer_a_token_may_have_been_revoked_and_on_this_machine_the_pages_say_so()
    {
        await using var console = await ConsoleVisitor.Start();
        var token = await console.Service.GetToken(Operator);
        System.IO.File.Move(console.Service.Folder.File("token-service.db"), console.Service.Folder.File("away.db"));
        console.Service.Store.Refresh();

        var answer = await console.GetAway("/console", Bearer(token));
        (answer.Status, answer.Response.Headers.RetryAfter!.ToString()).Should().Be((503, "1"));
        foreach (var page in s_pages.Where(page => !page.EndsWith(".json", StringComparison.Ordinal)))
        {
            var here = await console.Get("/console" + page);
            here.Status.Should().Be(200, page);
            here.Body.Should().Contain("The store has not answered for ");
        }

        (await console.Get("/console/clients")).Body.Should().Contain("when clients were last used is not known");
        (await console.Get("/console/refusals")).Body.Should().Contain("what was refused is in the log");
    }

    [Fact]
    [Trait("Host", "OwnProgram")]
    [Trait("Storage", "Sqlite")]
    public async Task A_store_that_does_not_answer_is_not_asked_again_for_each_page()
    {
        using var folder = new TemporaryFolder();
        var (port, management) = (RunningProgram.FreePort(), RunningProgram.FreePort());
        folder.Write("clients.json", Sample.File);
        await using var program = await new Cli(folder, "Development").Serve(
            port, "--TokenService:ApplyFile=clients.json", $"--TokenService:Management:Url=http://127.0.0.1:{management}");
        using var http = new HttpClient { BaseAddress = new Uri($"http://127.0.0.1:{management}") };
        System.IO.File.Move(folder.File("token-service.db"), folder.File("away.db"));
        await StoreFile.Until(() => Clients().GetAwaiter().GetResult().Contains("when clients were last used is not known", StringComparison.Ordinal));

        var before = await Faults();
        for (var i = 0; i < 100; i++)
        {
            await Clients();
        }

        // The service itself looks each second.
        (await Faults() - before).Should().BeLessThan(50);

        Task<string> Clients() => http.GetStringAsync("/console/clients");

        async Task<double> Faults() => (await PrometheusText.Ask(http, new(http.BaseAddress!, "/metrics"))).Sum("db_client_operation_duration_seconds_count", "error_type=");
    }

    [Theory]
    [InlineData("Basic dXNlcjpwYXNz")]
    [InlineData("Bearer")]
    [InlineData("Token x")]
    public async Task Another_scheme_is_refused_on_this_machine_too(string header)
    {
        var answer = await _console.Get("/console", ("Authorization", header));

        (answer.Status, Challenge(answer)).Should().Be((401, "Bearer realm=\"TokenService\", scope=\"tokenservice.console\""));
    }

    [Fact]
    public async Task Two_Authorization_headers_are_refused()
    {
        var token = await Service.GetToken(Operator);
        var answer = await RawHttp.Send(
            _console.Url, $"GET /console HTTP/1.1\r\nHost: {Away}\r\nAuthorization: Bearer {token}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n");

        answer.Should().StartWith("HTTP/1.1 401 ");
    }

    [Theory]
    [InlineData("http://operators.example.com", "")]
    [InlineData("https://operators.example.com", "secure; ")]
    [InlineData(null, "")]
    public async Task Signing_in_sets_a_cookie_that_no_script_and_no_other_site_gets_and_that_ends_with_the_token(string? origin, string secure)
    {
        var token = await Service.GetToken(Operator);

        var answer = await _console.Post(
            "/console/login", $"token={token[..20]}%0A++{token[20..]}", [("Host", Away), .. origin is null ? ((string, string)[])[] : [("Origin", origin)]]);

        (answer.Status, answer.Response.Headers.Location!.ToString(), answer.Body).Should().Be((303, "/console", ""));
        var cookie = Regex.Match(SetCookie(answer), "^tokenservice-console=(.*); max-age=([0-9]+); path=/console; (.*)$");
        (cookie.Groups[1].Value, cookie.Groups[3].Value).Should().Be((token, $"{secure}samesite=strict; httponly"));
        int.Parse(cookie.Groups[2].Value, CultureInfo.InvariantCulture).Should().BeInRange(3590, 3600);
        HasTheHeaders(answer);
    }

    [Fact]
    public async Task Signing_in_with_what_is_not_good_sets_no_cookie()
    {
        var here = await _console.Post("/console/login", "token=garbage");
        Invalid(here, "token");
        here.Response.Headers.Contains("Set-Cookie").Should().BeFalse();
        here.Body.Should().NotContain("garbage");

        (await _console.Post("/console/login", $"token={await Service.GetToken()}")).Status.Should().Be(403);
        var tooLong = await _console.Post("/console/login", $"token={new string('x', 3801)}");
        (tooLong.Status, tooLong.Body.Contains("too long for a cookie", StringComparison.Ordinal)).Should().Be((400, true));
    }

    [Theory]
    [InlineData("/console/login")]
    [InlineData("/console/token")]
    public async Task A_form_without_one_token_is_refused(string path)
    {
        foreach (var form in (string[])["", "token=", "token=+%0A", "token=a&token=b", "other=a", "token=%zz"])
        {
            var answer = await _console.Post(path, form);

            answer.Status.Should().Be(400, form);
            HasTheHeaders(answer);
        }

        (await _console.Post(path, "token=" + new string('x', 70_000))).Status.Should().Be(413);
        (await _console.Send(new HttpRequestMessage(HttpMethod.Post, path) { Content = new StringContent("{}") })).Status.Should().Be(400);
    }

    [Fact]
    public async Task Signing_out_takes_the_cookie_away()
    {
        var answer = await _console.Post("/console/logout", "", ("Host", Away), Cookie(await Service.GetToken(Operator)));

        (answer.Status, answer.Response.Headers.Location!.ToString()).Should().Be((303, "/console"));
        SetCookie(answer).Should().StartWith("tokenservice-console=; expires=Thu, 01 Jan 1970");
    }

    [Theory]
    [InlineData("Sec-Fetch-Site", "cross-site")]
    [InlineData("Sec-Fetch-Site", "same-site")]
    [InlineData("Origin", "null")]
    [InlineData("Origin", "https://evil.example.com")]
    [InlineData("Origin", "http://operators.example.com:8080")]
    public async Task A_form_of_another_origin_is_refused(string header, string value)
    {
        var token = await Service.GetToken(Operator);
        foreach (var path in (string[])["/console/login", "/console/logout", "/console/token"])
        {
            var answer = await _console.Post(path, $"token={token}", ("Host", Away), Cookie(token), (header, value));

            answer.Status.Should().Be(403, path);
            answer.Response.Headers.Contains("Set-Cookie").Should().BeFalse(path);
            answer.Body.Should().Contain("A page of another origin has sent this form");
        }
    }

    [Theory]
    [InlineData("Sec-Fetch-Site", "same-origin")]
    [InlineData("Sec-Fetch-Site", "none")]
    [InlineData("Origin", "http://operators.example.com")]
    [InlineData("Origin", "https://OPERATORS.example.com")]
    public async Task A_form_of_its_own_is_taken(string header, string value)
        => (await _console.Post("/console/token", "token=x", ("Host", Away), Cookie(await Service.GetToken(Operator)), (header, value))).Status.Should().Be(200);

    [Theory]
    [InlineData("POST", "", "GET, HEAD")]
    [InlineData("DELETE", "/clients", "GET, HEAD")]
    [InlineData("POST", "/activity.json", "GET, HEAD")]
    [InlineData("PUT", "/token", "GET, HEAD, POST")]
    [InlineData("GET", "/login", "POST")]
    [InlineData("GET", "/logout", "POST")]
    public async Task It_takes_no_other_method_and_so_changes_nothing(string method, string path, string allowed)
    {
        var answer = await _console.Send(new HttpRequestMessage(new HttpMethod(method), "/console" + path));

        answer.Status.Should().Be(405);
        answer.Response.Content.Headers.Allow.Should().BeEquivalentTo(allowed.Split(", "));
    }

    [Theory]
    [InlineData("/console/nothing")]
    [InlineData("/console/client?id=nobody")]
    [InlineData("/console/client")]
    public async Task What_is_not_there_is_not_found(string path)
    {
        (await _console.Get(path)).Status.Should().Be(404);
        (await _console.GetAway(path)).Status.Should().Be(401, "who may not look is not told what there is");
    }

    [Fact]
    public async Task The_addresses_of_the_service_do_not_have_it()
    {
        foreach (var path in (string[])["/console", "/console/console.css", "/console/login"])
        {
            (await Service.Send(new HttpRequestMessage(HttpMethod.Get, path))).Status.Should().Be(404);
        }

        (await _console.Get("/consoles")).Status.Should().Be(404);
        (await _console.Get("/CONSOLE")).Status.Should().Be(404);
    }

    [Fact]
    public async Task Its_style_and_its_script_are_there_for_the_sign_in_too_and_no_page_has_any_other()
    {
        foreach (var (path, type) in ((string, string)[])[("/console/console.css", "text/css"), ("/console/console.js", "text/javascript")])
        {
            var answer = await _console.GetAway(path);
            (answer.Status, answer.Response.Content.Headers.ContentType!.MediaType).Should().Be((200, type));
            HasTheHeaders(answer);
        }

        foreach (var page in s_pages)
        {
            var body = (await _console.Get("/console" + page)).Body;
            Regex.Count(body, "<script").Should().Be(page.EndsWith(".json", StringComparison.Ordinal) ? 0 : 1);
            body.Should().NotContain("<style").And.NotContain(" style=").And.NotMatchRegex(" on[a-z]+=\"");
        }
    }

    [Fact]
    public async Task A_page_can_be_asked_for_without_its_body()
    {
        var answer = await _console.Send(new HttpRequestMessage(HttpMethod.Head, "/console/keys"));

        (answer.Status, answer.Body).Should().Be((200, ""));
        answer.Response.Content.Headers.ContentLength.Should().BePositive();
    }

    [Fact]
    public async Task The_clients_are_shown_with_scopes_methods_and_credentials_and_when_they_were_used()
    {
        await Service.GetToken(TokenQueries.Wide);
        var page = "";

        // The uses of all clients are not read for each request.
        await StoreFile.Until(() => (page = _console.Get($"/console/clients?q={Sample.Wide}").GetAwaiter().GetResult().Body).Contains(", used ", StringComparison.Ordinal));

        page.Should().Contain("1 client, page 1 of 1").And.Contain($"<a href=\"/console/client?id={Sample.Wide}\">{Sample.Wide}</a>")
            .And.Contain("<td>client_secret_basic</td>").And.Contain("<code>orders.read</code>")
            .And.MatchRegex("secret <code>[0-9a-f]{12}</code>, no end, used <time datetime=\"20[^\"]*\">")
            .And.NotContain(Sample.Job);
        var one = (await _console.Get($"/console/client?id={Sample.Wide}")).Body;
        one.Should().MatchRegex("<dt>last used</dt><dd><bdi>20").And.Contain("<dt>scope</dt><dd><bdi>orders.read catalog.read</bdi></dd>")
            .And.Contain("<caption id=\"secrets-caption\">Secrets</caption>");
        foreach (var secret in (string[])[Sample.WideSecret, Sample.JobSecret])
        {
            one.Should().NotContain(secret);
        }
    }

    [Theory]
    [InlineData("q=CATALOG.SEARCH", Sample.FormJob, "both")]
    [InlineData("q=nightly", Sample.Job, Sample.FormJob)]
    [InlineData("show=disabled", "", Sample.Job)]
    [InlineData("show=unused", "", Sample.Job)]
    [InlineData("show=whatever&page=-7", Sample.Job, "")]
    [InlineData("page=99999999999", Sample.Job, "")]
    public async Task Clients_are_found(string query, string found, string notFound)
    {
        var page = (await _console.Get("/console/clients?" + query)).Body;

        page.Contains($">{found}</a>", StringComparison.Ordinal).Should().Be(found.Length > 0);
        page.Contains($">{notFound}</a>", StringComparison.Ordinal).Should().BeFalse();
    }

    [Fact]
    [Trait("Host", "InProcess")]
    public async Task Unused_and_expiring_and_disabled_clients_are_marked()
    {
        var clock = new FakeTimeProvider(DateTimeOffset.UtcNow);
        await using var console = await ConsoleVisitor.With(clock, File.Replace("\"clients\": [", $$"""
            "clients": [
              { "client_id": "ends", "client_secret": "ends-secret-0123456789abcdef0123456789", "scope": "orders.read",
                "client_secret_expires_at": {{DateTimeOffset.UtcNow.AddDays(40).ToUnixTimeSeconds()}} },
            """, StringComparison.Ordinal));
        await console.Run("clients", "disable", Sample.FormJob);
        (await console.Get("/console/clients")).Body.Should().Contain(">disabled</span>").And.NotContain(">unused</span>").And.NotContain(">ends soon</span>");

        clock.Advance(TimeSpan.FromDays(31));
        await console.Service.GetToken(TokenQueries.Wide);
        clock.Advance(TimeSpan.FromSeconds(3));

        (await console.Get("/console/clients?show=expiring")).Body.Should().Contain(">ends</a>").And.Contain(">ends soon</span>").And.NotContain(Sample.Job);
        (await console.Get("/console/clients?show=unused")).Body.Should().Contain($">{Sample.Job}</a>").And.Contain(">unused</span>").And.NotContain(Sample.Wide);
        (await console.Get("/console/clients?show=disabled")).Body.Should().Contain($">{Sample.FormJob}</a>").And.NotContain(Sample.Wide);
        (await console.Get("/console")).Body.Should().Contain("<strong>1</strong> whose last secret ends within 14 days");

        clock.Advance(TimeSpan.FromDays(10));
        (await console.Get("/console/client?id=ends")).Body.Should().Contain(">no secret is good</span>").And.Contain("ended <time");
    }

    [Fact]
    public async Task What_others_have_named_is_text()
    {
        const string evil = "<script>alert(1)</script>";
        var text = $"\"><img src=x onerror=alert(1)>{new string('&', 20)}'";
        await using var console = await ConsoleVisitor.With(null, File.Replace("\"clients\": [", $$"""
            "clients": [ { "client_id": "{{evil}}", "client_name": {{JsonSerializer.Serialize(text)}}, "client_secret": "evil-secret-0123456789abcdef0123456789", "scope": "orders.read" },
            """, StringComparison.Ordinal));
        (await console.Service.Token("grant_type=client_credentials", $"{evil}:wrong")).Status.Should().Be(401);
        var token = await console.Service.GetToken();
        var forged = TokenDraft.Of(token).With(evil, text).WithHeader("kid", evil).Unsigned();
        await StoreFile.Until(() => console.Get("/console/refusals").GetAwaiter().GetResult().Body.Contains("alert(1)", StringComparison.Ordinal));

        string[] pages =
        [
            (await console.Get("/console")).Body,
            (await console.Get("/console/clients")).Body,
            (await console.Get($"/console/client?id={Uri.EscapeDataString(evil)}")).Body,
            (await console.Get($"/console/clients?q={Uri.EscapeDataString(text)}&show={Uri.EscapeDataString(evil)}")).Body,
            (await console.Get($"/console/refusals?trace_id={Uri.EscapeDataString(text)}")).Body,
            (await console.Get("/console/refusals")).Body,
            (await console.Post("/console/token", $"token={forged}")).Body,
        ];
        foreach (var page in pages)
        {
            page.Should().Contain("alert(1)").And.NotContain(evil).And.NotContain("<img");
            Regex.Count(page, "<script").Should().Be(1);
        }
    }

    [Fact]
    public async Task Many_clients_are_shown_page_by_page()
    {
        var many = string.Concat(Enumerable.Range(0, 101).Select(i => $$"""
            { "client_id": "job-{{i:000}}", "client_secret": "many-secret-0123456789abcdef-{{i:000}}-0123", "scope": "orders.read" },
            """));
        await using var console = await ConsoleVisitor.With(null, File.Replace("\"clients\": [", $"\"clients\": [{many}", StringComparison.Ordinal));

        var first = (await console.Get("/console/clients?q=job-&show=all")).Body;
        first.Should().Contain("101 clients, page 1 of 3").And.Contain("Next page").And.NotContain("Previous page");
        Regex.Count(first, "<th scope=\"row\">").Should().Be(50);
        (await console.Get("/console/clients?q=job-0&page=2")).Body.Should().Contain(">job-099</a>").And.Contain("Previous page").And.NotContain(">job-000</a>").And.NotContain("Next page");
    }

    [Fact]
    public async Task The_keys_are_on_a_time_line_with_their_states()
    {
        await using var console = await ConsoleVisitor.Start();
        await console.Run("keys", "rotate");
        var kids = JsonDocument.Parse((await new Cli(console.Service.Folder, "Development").Run("keys", "list", "--json")).Output)
            .RootElement.EnumerateArray().Select(key => key.GetProperty("kid").GetString()!).ToList();

        var page = (await console.Get("/console/keys")).Body;

        kids.Should().HaveCount(2).And.OnlyContain(kid => Regex.Count(page, kid) == 2);
        Regex.Count(page, "<svg class=\"life\"").Should().Be(2);
        page.Should().Contain("<rect class=\"published\"").And.Contain("<rect class=\"signing\"").And.Contain("<rect class=\"retiring\"")
            .And.Contain("<span class=\"mark signing\">signing</span>").And.Contain("<span class=\"mark published\">published</span>");
    }

    [Fact]
    public async Task The_last_refusals_are_told_as_explain_tells_them()
    {
        await using var console = await ConsoleVisitor.Start();
        var traceId = (await console.Service.Token("grant_type=client_credentials", $"{Sample.Job}:wrong")).Json.GetProperty("trace_id").GetString()!;
        await StoreFile.Until(() => console.Get("/console/refusals").GetAwaiter().GetResult().Body.Contains(traceId, StringComparison.Ordinal));
        var explained = await new Cli(console.Service.Folder, "Development").Run("explain", traceId);

        foreach (var query in (string[])["", $"?trace_id={traceId}", $"?trace_id=+{traceId.ToUpperInvariant()}"])
        {
            var page = (await console.Get("/console/refusals" + query)).Body;
            Regex.Matches(page, "<dt>(.*?)</dt><dd><bdi>(.*?)</bdi></dd>").Select(match => $"{match.Groups[1].Value,-11}{match.Groups[2].Value}")
                .Should().Equal(explained.Output.TrimEnd('\n').Split('\n'));
        }

        (await console.Get("/console/refusals?trace_id=00000000000000000000000000000000")).Body.Should().Contain("None is kept: only the last 10000 are");
        (await console.Get("/console")).Body.Should().Contain($"/console/refusals?trace_id={traceId}");
    }

    [Fact]
    public async Task What_was_issued_and_refused_is_counted_for_the_chart()
    {
        await using var console = await ConsoleVisitor.Start();
        for (var i = 0; i < 3; i++)
        {
            await console.Service.GetToken();
        }

        await console.Service.Token("grant_type=client_credentials", $"{Sample.Job}:wrong");
        await console.Service.Token("grant_type=password", TokenQueries.Job);
        await console.Service.Introspect("x", $"{Sample.Introspector}:wrong");

        var answer = await console.Get("/console/activity.json");
        var json = answer.Json;
        (answer.Response.Content.Headers.ContentType!.MediaType, json.GetProperty("period_seconds").GetInt32(), json.GetProperty("top").GetInt32())
            .Should().Be(("application/json", 300, 10));
        (json.GetProperty("issued").EnumerateArray().Sum(count => count.GetInt64()), json.GetProperty("refused").EnumerateArray().Sum(count => count.GetInt64()))
            .Should().Be((3, 2), "introspection is no token");
        json.GetProperty("issued").GetArrayLength().Should().Be(72);
        var page = (await console.Get("/console")).Body;
        page.Should().Contain("<strong data-sum=\"issued\">3</strong>").And.Contain("<strong data-sum=\"refused\">2</strong>").And.Contain("height=\"30\"");
    }

    [Fact]
    public async Task The_numbers_of_the_chart_are_refused_in_JSON()
    {
        var answer = await _console.GetAway("/console/activity.json", Cookie("garbage"));

        (answer.Status, answer.Error).Should().Be((401, "invalid_token"));
        HasTheHeaders(answer);
    }

    [Fact]
    public async Task A_token_is_decoded_and_verified()
    {
        var token = await Service.GetToken();

        var answer = await _console.Post("/console/token", $"token={token}");

        answer.Status.Should().Be(200);
        HasTheHeaders(answer);
        answer.Body.Should().Contain("<h2 id=\"verdict\">Good</h2>").And.Contain("<code>&quot;at&#x2B;jwt&quot;</code>")
            .And.Contain("<code>&quot;catalog.search catalog.read&quot;</code>").And.MatchRegex("<code>exp</code></th><td><code>[0-9]+</code> <time")
            .And.NotContain(token).And.NotContain(token.Split('.')[2]);
    }

    [Fact]
    public async Task A_token_that_is_not_good_is_shown_with_all_that_is_wrong()
    {
        var token = await Service.GetToken();
        var draft = TokenDraft.Of(token).With("iss", "https://other.example.com").With("exp", 1_700_000_000);

        var page = (await _console.Post("/console/token", $"token={draft.Unsigned()}")).Body;

        Faults(page).Should().Equal("signature", "iss", "exp");
        page.Should().Contain("<h2 id=\"verdict\">Not good</h2>").And.Contain("anybody&#x27;s words").And.Contain("https://other.example.com");
        Faults((await _console.Post("/console/token", "token=garbage")).Body).Should().Equal("token");
        await Service.Revoke(token);
        var revoked = (await _console.Post("/console/token", $"token={token}")).Body;
        Faults(revoked).Should().Equal("jti");
        revoked.Should().NotContain("anybody&#x27;s words");
    }

    [Fact]
    public async Task A_token_in_the_address_is_not_looked_at()
    {
        var answer = await _console.Get($"/console/token?token={await Service.GetToken()}");

        answer.Body.Should().NotContain("verdict");
    }

    private static string[] Faults(string page) => [.. Regex.Matches(
        Regex.Match(page, "<table class=\"faults\">(.*?)</table>", RegexOptions.Singleline).Value, "<th scope=\"row\"><code>(.*?)</code>").Select(match => match.Groups[1].Value)];

    private static async Task<string> RotateSecret(ConsoleVisitor console, string id)
    {
        var rotated = await new Cli(console.Service.Folder, "Development").Run("clients", "rotate-secret", id);
        await console.Service.Refresh();
        return rotated.Output;
    }

    private static void Invalid(Answer answer, string check) => (answer.Status, Challenge(answer)).Should().Be((
        401,
        $"Bearer realm=\"TokenService\", error=\"invalid_token\", error_description=\"The token is none of this service, or good no more: {check} is not what it must be. Ask for a new one.\", scope=\"tokenservice.console\""));

    private static string Challenge(Answer answer) => answer.Response.Headers.GetValues("WWW-Authenticate").Should().ContainSingle().Subject;

    private static string SetCookie(Answer answer) => answer.Response.Headers.GetValues("Set-Cookie").Should().ContainSingle().Subject;

    private static void HasTheHeaders(Answer answer)
    {
        answer.Response.Headers.GetValues("Content-Security-Policy").Should().Equal(Policy);
        answer.Response.Headers.GetValues("X-Content-Type-Options").Should().Equal("nosniff");
        answer.Response.Headers.GetValues("Referrer-Policy").Should().Equal("same-origin");
        answer.Response.Headers.GetValues("Cross-Origin-Resource-Policy").Should().Equal("same-origin");
        answer.Response.Headers.CacheControl!.NoStore.Should().BeTrue();
        answer.Response.Headers.Server.Should().BeEmpty();
    }

    public sealed class Fixture : IAsyncLifetime
    {
        internal ConsoleVisitor? Console { get; private set; }

        public async Task InitializeAsync() => Console = await ConsoleVisitor.Start();

        public async Task DisposeAsync() => await Console!.DisposeAsync();
    }
}
