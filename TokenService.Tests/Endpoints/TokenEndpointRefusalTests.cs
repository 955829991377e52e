using System;
using System.Collections.Generic;
using System.Linq;
using System.Net.Http;
using System.Text;
using System.Threading.Tasks;
using FluentAssertions;
using Microsoft.Extensions.Time.Testing;
using TokenService.Tests.Support;
using Xunit;

namespace TokenService.Tests.Endpoints;

/// <summary>Every row of the table of errors.</summary>
public sealed class TokenEndpointRefusalTests(TokenEndpointRefusalTests.Fixture fixture) : IClassFixture<TokenEndpointRefusalTests.Fixture>
{
    private const string Grant = "grant_type=client_credentials";
    private const string Right = $"{Sample.Job}:{Sample.JobSecret}";

    private readonly RunningService _service = fixture.Service;

    [Theory]
    [InlineData("")]
    [InlineData("scope=catalog.read")]
    [InlineData("grant_type=")]
    [InlineData("Grant_Type=client_credentials")]
    [InlineData("grant_type=client_credentials&grant_type=client_credentials")]
    [InlineData("grant_type=client_credentials&scope=catalog.read&scope=catalog.read")]
    [InlineData("grant_type=client_credentials&scope=&scope=catalog.read")]
    [InlineData("grant_type=client_credentials&client%5Fid=a&client_id=a")]
    [InlineData("grant_type=client_credentials&other=1&other=2")]
    [InlineData("grant_type=client_credentials&scope=%")]
    [InlineData("grant_type=client_credentials&scope=%4")]
    [InlineData("grant_type=client_credentials&scope=%zz")]
    [InlineData("grant_type=client_credentials&scope=%u0041")]
    [InlineData("grant_type=client_credentials&%zz=1")]
    [InlineData("grant_type=client_credentials&scope=%FF")]
    [InlineData("grant_type=client_credentials&scope=%C3")]
    [InlineData("grant_type=client_credentials&scope=%ED%A0%80")]
    [InlineData("grant_type=client_credentials&scope=%C0%80")]
    [InlineData("grant_type=client_credentials&scope=\u00FF")]
    [InlineData("grant_type=client_credentials&scope=catalog.read\0")]
    [InlineData("\0grant_type=client_credentials")]
    [InlineData("grant_type=client_credentials\r\n")]
    [InlineData("{\"grant_type\":\"client_credentials\"}")]
    public async Task A_malformed_form_is_refused_as_invalid_request(string form)
        => Refused(await _service.Token(form, Right), 400, "invalid_request");

    [Fact]
    public async Task More_than_64_parameters_are_refused()
        => Refused(await _service.Token(Grant + string.Concat(Enumerable.Range(0, 64).Select(i => $"&p{i}=1")), Right), 400, "invalid_request");

    [Theory]
    [InlineData("application/json", "{\"grant_type\":\"client_credentials\"}")]
    [InlineData("application/json", Grant)]
    [InlineData("multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"grant_type\"\r\n\r\nclient_credentials\r\n--x--\r\n")]
    [InlineData("text/plain", Grant)]
    [InlineData("application/x-www-form-urlencoded; charset=utf-16", Grant)]
    [InlineData("application/x-www-form-urlencodedx", Grant)]
    [InlineData("", Grant)]
    [InlineData(null, Grant)]
    public async Task Another_content_type_is_refused(string? type, string body)
    {
        using var content = new ByteArrayContent(Encoding.UTF8.GetBytes(body));
        if (type is not null)
        {
            content.Headers.TryAddWithoutValidation("Content-Type", type);
        }

        Refused(await _service.Send(new HttpRequestMessage(HttpMethod.Post, "/oauth2/token") { Content = content }, Right), 400, "invalid_request");
    }

    [Theory]
    [InlineData("client_secret=x")]
    [InlineData("client_id=x")]
    [InlineData("client_assertion=x")]
    [InlineData("client_assertion_type=x")]
    [InlineData("a=b&client%5Fsecret=x")]
    [InlineData("client_secret=%zz")]
    public async Task Credentials_in_the_query_are_refused_even_beside_right_ones(string query)
        => Refused(await _service.Token(Grant, Right, $"/oauth2/token?{query}"), 400, "invalid_request");

    [Fact]
    public async Task Parameters_in_the_query_are_not_those_of_the_form()
    {
        Refused(await _service.Token("", Right, $"/oauth2/token?{Grant}"), 400, "invalid_request");
        (await _service.Token(Grant, Right, "/oauth2/token?scope=orders.read")).Json.GetProperty("scope").GetString()
            .Should().Be("catalog.search catalog.read");
    }

    [Theory]
    [InlineData($"client_id={Sample.Job}&client_secret={Sample.JobSecret}")]
    [InlineData($"client_secret={Sample.JobSecret}")]
    [InlineData("client_assertion=a.b.c&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer")]
    [InlineData("client_assertion=a.b.c")]
    [InlineData("client_assertion_type=x")]
    public async Task Two_ways_of_authenticating_at_once_are_refused(string second)
        => Refused(await _service.Token($"{Grant}&{second}", Right), 400, "invalid_request");

    [Fact]
    public async Task A_secret_beside_an_assertion_is_refused() => Refused(
        await _service.Token($"{Grant}&client_id={Sample.FormJob}&client_secret={Sample.FormSecret}&client_assertion=a.b.c"), 400, "invalid_request");

    [Fact]
    public async Task Several_Authorization_headers_are_refused()
    {
        var basic = Convert.ToBase64String(Encoding.UTF8.GetBytes(Right));
        var answer = await RawHttp.Send(
            _service.Url,
            $"POST /oauth2/token HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic {basic}\r\nAuthorization: Basic {basic}\r\n" +
            $"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {Grant.Length}\r\nConnection: close\r\n\r\n{Grant}");

        answer.Should().StartWith("HTTP/1.1 400 ").And.Contain("\"error\":\"invalid_request\"");
    }

    [Fact]
    [Trait("Host", "InProcess")]
    public async Task What_was_changed_while_a_body_was_on_its_way_counts()
    {
        using var folder = new TemporaryFolder();
        await using var service = await RunningService.Start(folder, null, Sample.File);
        var basic = Convert.ToBase64String(Encoding.UTF8.GetBytes(Right));

        var answer = RawHttp.Send(
            service.Url,
            $"POST /oauth2/token HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic {basic}\r\n" +
            $"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {Grant.Length}\r\nConnection: close\r\n\r\n",
            [Grant],
            TimeSpan.FromSeconds(2));
        await Task.Delay(500);
        Disable(folder, Sample.Job);
        await service.Refresh();

        (await answer).Should().StartWith("HTTP/1.1 401 ");
    }

    [Theory]
    [InlineData("nonsense\r\n")]
    [InlineData("-1\r\n")]
    [InlineData("80000000\r\n")]
    [InlineData("FFFFFFFFFFFF\r\n")]
    [InlineData("4\nabcd\r\n0\r\n\r\n")]
    [InlineData("4\r\na=b&\r\n0\r\nX: a\0\r\n\r\n")]
    [InlineData("4\r\na=b&\r\n0\r\nX: \u00ff\r\n\r\n")]
    public async Task A_body_that_is_badly_chunked_is_refused(string body)
    {
        var answer = await RawHttp.Send(
            _service.Url,
            "POST /oauth2/token HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n" +
            $"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n{body}");

        answer.Should().StartWith("HTTP/1.1 400 ").And.Contain("\"error\":\"invalid_request\"");
    }

    // The drips are enough for the least rate that the web server demands, so that it is our deadline that ends the second.
    [Theory]
    [InlineData(0)]
    [InlineData(20)]
    public async Task A_body_that_does_not_arrive_in_10_seconds_is_refused_and_the_connection_ended(int drips)
    {
        var answer = await RawHttp.Send(
            _service.Url,
            "POST /oauth2/token HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 60000\r\n\r\ngrant_type=",
            [.. Enumerable.Repeat(new string('x', 200), drips)],
            TimeSpan.FromMilliseconds(250));

        answer.Should().StartWith("HTTP/1.1 400 ").And.Contain("\"error\":\"invalid_request\"");
        answer.Contains("within 10 seconds", StringComparison.Ordinal).Should().Be(drips > 0);
    }

    public static TheoryData<string, string?> WrongCredentials() => new()
    {
        // client_secret_basic
        { Grant, "unknown:whatever" },
        { Grant, $"{Sample.Job}:wrong" },
        { Grant, $"{Sample.Job}:" },
        { Grant, $"{Sample.Job}:{Sample.JobSecret}x" },
        { Grant, $"{Sample.Job}:{Sample.JobSecret[..^1]}" },
        { Grant, $"{Sample.Job}:{Sample.JobSecret.ToUpperInvariant()}" },
        { Grant, $"{Sample.Job.ToUpperInvariant()}:{Sample.JobSecret}" },
        { Grant, $"{Sample.Job} :{Sample.JobSecret}" },
        { Grant, $"{Sample.Job}\0:{Sample.JobSecret}" },
        { Grant, $"{Sample.Job}:{Sample.FormSecret}" },
        { Grant, $":{Sample.JobSecret}" },
        { Grant, ":" },
        { Grant, Sample.Job },
        { Grant, $"{Sample.Job}:{new string('s', 8000)}" },
        { Grant, "%zz:%zz" },
        { $"{Grant}&client_id={Sample.Wide}", Right },

        // client_secret_post
        { $"{Grant}&client_id={Sample.FormJob}&client_secret=wrong", null },
        { $"{Grant}&client_id={Sample.FormJob}&client_secret=", null },
        { $"{Grant}&client_id={Sample.FormJob}%00&client_secret={Sample.FormSecret}", null },
        { $"{Grant}&client_id=unknown&client_secret={Sample.FormSecret}", null },
        { $"{Grant}&client_id={Sample.FormJob}&client_secret={new string('s', 60_000)}", null },
        { $"{Grant}&client_secret={Sample.FormSecret}", null },

        // The right secret by another method than the registered one.
        { Grant, $"{Sample.FormJob}:{Sample.FormSecret}" },
        { $"{Grant}&client_id={Sample.Job}&client_secret={Sample.JobSecret}", null },

        // Nothing.
        { Grant, null },
        { $"{Grant}&client_id={Sample.Job}", null },
    };

    [Theory]
    [MemberData(nameof(WrongCredentials))]
    public async Task Who_is_not_proved_is_refused_as_invalid_client(string form, string? basic)
        => Refused(await _service.Token(form, basic), 401, "invalid_client");

    [Theory]
    [InlineData("Basic")]
    [InlineData("Basic ")]
    [InlineData("Basic !!!")]
    [InlineData("Basic YQ")]
    [InlineData("Basic YTpi YTpi")]
    [InlineData("Basic /w==")]
    [InlineData("Basic Ov86/w==")]
    [InlineData("Bearer abc")]
    [InlineData("Digest username=\"x\"")]
    [InlineData("BasicYTpi")]
    public async Task A_malformed_or_other_Authorization_header_is_refused_as_invalid_client(string header)
    {
        var request = new HttpRequestMessage(HttpMethod.Post, "/oauth2/token") { Content = RunningService.Form(Grant) };
        request.Headers.TryAddWithoutValidation("Authorization", header);

        Refused(await _service.Send(request), 401, "invalid_client");
    }

    [Fact]
    public async Task The_scheme_is_read_in_any_case()
    {
        var request = new HttpRequestMessage(HttpMethod.Post, "/oauth2/token") { Content = RunningService.Form(Grant) };
        request.Headers.TryAddWithoutValidation("Authorization", "bAsIc " + Convert.ToBase64String(Encoding.UTF8.GetBytes(Right)));

        (await _service.Send(request)).Status.Should().Be(200);
    }

    [Fact]
    public async Task Every_invalid_client_reads_the_same_but_for_its_trace_id()
    {
        var answers = new List<string>();
        foreach (var row in WrongCredentials())
        {
            var answer = await _service.Token((string)row[0], (string?)row[1]);
            var headers = answer.Response.Headers.Where(header => header.Key != "Date").Select(header => $"{header.Key}: {string.Join(',', header.Value)}");
            answers.Add(string.Join('\n', headers) + answer.Body.Replace(answer.Json.GetProperty("trace_id").GetString()!, "", StringComparison.Ordinal));
        }

        answers.Distinct().Should().HaveCount(1);
    }

    [Fact]
    public async Task A_disabled_client_is_refused_as_invalid_client()
    {
        using var folder = new TemporaryFolder();
        await using var service = await RunningService.Start(folder, null, Sample.File);
        (await service.Token(Grant, Right)).Status.Should().Be(200);

        Disable(folder, Sample.Job);
        await service.Refresh();

        Refused(await service.Token(Grant, Right), 401, "invalid_client");
    }

    [Theory]
    [InlineData("password")]
    [InlineData("implicit")]
    [InlineData("authorization_code")]
    [InlineData("refresh_token")]
    [InlineData("urn:ietf:params:oauth:grant-type:device_code")]
    [InlineData("CLIENT_CREDENTIALS")]
    [InlineData("client_credentials ")]
    [InlineData("client_credentials%00")]
    public async Task A_grant_that_is_not_offered_is_refused(string grant)
        => Refused(await _service.Token($"grant_type={grant}", Right), 400, "unsupported_grant_type");

    [Fact]
    public async Task A_grant_that_the_client_is_not_registered_for_is_refused()
        => Refused(await _service.Token(Grant, $"{Sample.Introspector}:{Sample.IntrospectorSecret}"), 400, "unauthorized_client");

    [Theory]
    [InlineData("nothing")]
    [InlineData("orders.read")]
    [InlineData("catalog.read+orders.read")]
    [InlineData("CATALOG.READ")]
    [InlineData("catalog.read++catalog.search")]
    [InlineData("+catalog.read")]
    [InlineData("catalog.read+")]
    [InlineData("+")]
    [InlineData("catalog.read%09catalog.search")]
    [InlineData("%22catalog.read%22")]
    [InlineData("catalog%5Cread")]
    [InlineData("catalog.read%00")]
    [InlineData("catalog.read%0A")]
    [InlineData("catalog.r%C3%A9ad")]
    public async Task A_scope_that_is_malformed_or_not_the_clients_is_refused(string scope)
        => Refused(await _service.Token($"{Grant}&scope={scope}", Right), 400, "invalid_scope");

    [Fact]
    public async Task More_than_256_scopes_are_refused()
        => Refused(await _service.Token($"{Grant}&scope={string.Join('+', Enumerable.Repeat("catalog.read", 257))}", Right), 400, "invalid_scope");

    [Fact]
    public async Task No_scope_left_is_refused() => Refused(
        await _service.Token(
            $"{Grant}&scope=catalog.read&resource={Uri.EscapeDataString(Sample.OrdersUri)}", $"{Sample.Wide}:{Sample.WideSecret}"),
        400,
        "invalid_scope");

    [Theory]
    [InlineData("")]
    [InlineData("https%3A%2F%2Funknown.example.com")]
    [InlineData("https%3A%2F%2Forders.example.com")]
    [InlineData("catalog")]
    [InlineData("%2Fcatalog")]
    [InlineData("https%3A%2F%2Fcatalog.example.com%23part")]
    [InlineData("https%3A%2F%2Fcatalog.example.com%2F")]
    [InlineData("https%3A%2F%2FCATALOG.example.com")]
    [InlineData("https%3A%2F%2Fcatalog.example.com&resource=")]
    [InlineData("https%3A%2F%2Fcatalog.example.com&resource=https%3A%2F%2Forders.example.com")]
    [InlineData("https%3A%2F%2Fcatalog.example.com%00")]
    public async Task A_resource_of_which_the_client_has_no_scope_is_refused(string resource)
        => Refused(await _service.Token($"{Grant}&resource={resource}", Right), 400, "invalid_target");

    [Theory]
    [InlineData("GET")]
    [InlineData("HEAD")]
    [InlineData("PUT")]
    [InlineData("DELETE")]
    [InlineData("PATCH")]
    [InlineData("OPTIONS")]
    [InlineData("BREW")]
    public async Task Another_method_is_refused(string method)
    {
        var answer = await _service.Send(new HttpRequestMessage(new HttpMethod(method), "/oauth2/token"));

        answer.Status.Should().Be(405);
        answer.Response.Content.Headers.Allow.Should().Equal("POST");
        if (method != "HEAD")
        {
            Refused(answer, 405, "invalid_request");
        }
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_body_of_64_KiB_is_read_and_one_byte_more_is_refused(bool chunked)
    {
        const int limit = 64 * 1024;
        var most = Grant + "&pad=";
        most += new string('x', limit - most.Length);

        (await Send(most)).Status.Should().Be(200);
        Refused(await Send(most + "x"), 413, "invalid_request");
        Refused(await Send(most + new string('x', 10 * limit)), 413, "invalid_request");

        Task<Answer> Send(string form)
        {
            var request = new HttpRequestMessage(HttpMethod.Post, "/oauth2/token") { Content = RunningService.Form(form) };
            request.Headers.TransferEncodingChunked = chunked;
            return _service.Send(request, Right);
        }
    }

    [Fact]
    [Trait("Host", "InProcess")]
    public async Task Too_many_failures_are_slowed_down_and_a_right_credential_passes_all_the_same()
    {
        var clock = new FakeTimeProvider(DateTimeOffset.FromUnixTimeSeconds(1_800_000_000));
        await using var service = await RunningService.Start(folder: null, clock, Sample.File, "--TokenService:RateLimit:FailuresPerMinute=3");

        for (var i = 0; i < 3; i++)
        {
            Refused(await service.Token(Grant, $"{Sample.Job}:wrong"), 401, "invalid_client");
        }

        clock.Advance(TimeSpan.FromSeconds(20));
        var slowed = await service.Token(Grant, $"{Sample.Job}:wrong");
        Refused(slowed, 429, "slow_down");
        slowed.Response.Headers.RetryAfter!.Delta.Should().Be(TimeSpan.FromSeconds(40));

        (await service.Token(Grant, Right)).Status.Should().Be(200);
        Refused(await service.Token(Grant, $"{Sample.Wide}:wrong"), 401, "invalid_client");

        clock.Advance(TimeSpan.FromSeconds(40));
        Refused(await service.Token(Grant, $"{Sample.Job}:wrong"), 401, "invalid_client");
    }

    [Fact]
    [Trait("Host", "InProcess")]
    public async Task A_fault_of_our_own_is_answered_in_json_too()
    {
        await using var service = await RunningService.Start("--TokenService:SigningAlgorithm=ES256");
        ((Microsoft.IdentityModel.Tokens.ECDsaSecurityKey)service.Store.Current.Keys.SigningAt(DateTimeOffset.UtcNow).Credentials.Key).ECDsa.Dispose();

        Refused(await service.Token(Grant, Right), 500, "server_error");
    }

    [Theory]
    [InlineData("100%25", "100%25", "token_endpoint_auth_method: client \"c\" sent the right secret by client_secret_basic; expected: client_secret_post, as registered")]
    [InlineData("a+b", "a%2Bb", "token_endpoint_auth_method: client \"c\" sent the right secret by client_secret_basic; expected: client_secret_post, as registered")]
    [InlineData("a+b", "other", "client_secret: client \"c\" sent a wrong secret; expected: one of its secrets")]
    [Trait("Host", "InProcess")]
    public void The_operator_is_told_of_the_reading_that_came_closest(string secret, string sent, string reason)
    {
        var client = new TokenService.Clients.Client
        {
            ClientId = "c",
            AuthenticationMethod = "client_secret_post",
            GrantTypes = [],
            Scopes = [],
            Secrets = [new(TokenService.Clients.ClientSecret.Digest(new TokenService.Protocol.Secret(secret)), null, TokenService.Clients.Origin.Command)],
            Origin = TokenService.Clients.Origin.Command,
        };
        var request = new TokenService.Protocol.TokenRequest
        {
            Authorization = new TokenService.Protocol.Secret("Basic " + Convert.ToBase64String(Encoding.UTF8.GetBytes($"c:{sent}"))),
        };

        TokenService.Authentication.ClientAuthenticator
            .AuthenticateBySecret(request, new TokenService.Clients.Registry([client], []), DateTimeOffset.UnixEpoch)
            .Refused(out var error, out _).Should().BeTrue();

        error!.Reason.Should().Be(reason);
    }

    [Fact]
    public async Task Refused_is_said_in_json_that_is_not_kept_and_repeats_nothing_that_was_sent()
    {
        var answer = await _service.Token("grant_type=mark-a&scope=mark-b", Right);

        Refused(answer, 400, "unsupported_grant_type");
        answer.Body.Should().NotContain("mark-");
    }

    [Fact]
    public async Task The_trace_id_is_the_one_of_the_callers_trace()
    {
        var request = new HttpRequestMessage(HttpMethod.Post, "/oauth2/token") { Content = RunningService.Form(Grant) };
        request.Headers.Add("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");

        (await _service.Send(request)).Json.GetProperty("trace_id").GetString().Should().Be("0af7651916cd43dd8448eb211c80319c");
    }

    internal static void Refused(Answer answer, int status, string error)
    {
        answer.Status.Should().Be(status, answer.Body);
        answer.Error.Should().Be(error);
        answer.Json.EnumerateObject().Select(member => member.Name).Should().Equal("error", "error_description", "trace_id");
        answer.Json.GetProperty("trace_id").GetString().Should().MatchRegex("^[0-9a-f]{32}$");

        // RFC 6749 §5.2: %x20-21 / %x23-5B / %x5D-7E.
        answer.Json.GetProperty("error_description").GetString().Should().MatchRegex("^[\\x20-\\x21\\x23-\\x5B\\x5D-\\x7E]{10,}$");
        answer.Response.Content.Headers.ContentType!.ToString().Should().Be("application/json");
        answer.Response.Headers.CacheControl!.ToString().Should().Be("no-store");
        answer.Response.Headers.WwwAuthenticate.Select(challenge => challenge.ToString())
            .Should().Equal(status == 401 ? ["Basic realm=\"TokenService\""] : Array.Empty<string>());
    }

    // As the command that does it would.
    internal static void Disable(TemporaryFolder folder, string clientId)
    {
        var settings = Operations.SettingsTests.Read(folder.Path);
        using var store = TokenService.Storage.Store.Open(settings);
        store.Registry.Change(registry => new() { Clients = [registry.FindClient(clientId)! with { Disabled = true }] });
    }

    // One service for all refusals: none of them changes anything. Its limiter is off, since they all fail.
    public sealed class Fixture : IAsyncLifetime
    {
        internal RunningService Service { get; private set; } = null!;

        public async Task InitializeAsync() => Service = await RunningService.Start("--TokenService:RateLimit:FailuresPerMinute=0");

        public async Task DisposeAsync() => await Service.DisposeAsync();
    }
}
