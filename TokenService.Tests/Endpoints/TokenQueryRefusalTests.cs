using System;
using System.Linq;
using System.Net.Http;
using System.Threading.Tasks;
using FluentAssertions;
using TokenService.Tests.Support;
using Xunit;
using static TokenService.Tests.Endpoints.TokenEndpointRefusalTests;
using static TokenService.Tests.Support.TokenQueries;

namespace TokenService.Tests.Endpoints;

/// <summary>Every malformed request of RFC 7662 §2 and RFC 7009 §2, at both endpoints: the table of errors of the token endpoint.</summary>
public sealed class TokenQueryRefusalTests(TokenQueryRefusalTests.Fixture fixture) : IClassFixture<TokenQueryRefusalTests.Fixture>
{
    private static readonly string[] s_paths = [Introspection, Revocation];

    private readonly RunningService _service = fixture.Service;

    public static TheoryData<string, string> Malformed()
    {
        var forms = new TheoryData<string, string>();
        foreach (var path in s_paths)
        {
            foreach (var form in (string[])
            [
                "", "token=", "token", "Token=x", "token%00=x", "token_type_hint=access_token", "access_token=x",
                "token=x&token=x", "token=x&token=y", "token=&token=x", "token=x&t%6Fken=x",
                "token=x&token_type_hint=access_token&token_type_hint=access_token", "token=x&other=1&other=2",
                "token=%", "token=%4", "token=%zz", "token=%FF", "token=%ED%A0%80", "token=\u00FF", "%zz=1&token=x",
                "{\"token\":\"x\"}", "token=x\0",
                "token=x&client_secret=x", $"token=x&client_id={Sample.Introspector}&client_secret={Sample.IntrospectorSecret}",
                "token=x&client_assertion=a.b.c", "token=x&client_assertion_type=x",
            ])
            {
                forms.Add(path, form);
            }
        }

        return forms;
    }

    [Theory]
    [MemberData(nameof(Malformed))]
    public async Task A_malformed_form_is_refused_as_invalid_request(string path, string form)
        => Refused(await _service.Token(form, CatalogApi, path), 400, "invalid_request");

    [Fact]
    public async Task More_than_64_parameters_are_refused() => await ForBoth(async path => Refused(
        await _service.Token("token=x" + string.Concat(Enumerable.Range(0, 64).Select(i => $"&p{i}=1")), CatalogApi, path), 400, "invalid_request"));

    [Theory]
    [InlineData("application/json")]
    [InlineData("text/plain")]
    [InlineData("multipart/form-data; boundary=x")]
    [InlineData("application/x-www-form-urlencoded; charset=utf-16")]
    [InlineData(null)]
    public async Task Another_content_type_is_refused(string? type) => await ForBoth(async path =>
    {
        using var content = new ByteArrayContent("token=x"u8.ToArray());
        if (type is not null)
        {
            content.Headers.TryAddWithoutValidation("Content-Type", type);
        }

        Refused(await _service.Send(new HttpRequestMessage(HttpMethod.Post, path) { Content = content }, CatalogApi), 400, "invalid_request");
    });

    [Theory]
    [InlineData("GET")]
    [InlineData("HEAD")]
    [InlineData("PUT")]
    [InlineData("DELETE")]
    [InlineData("OPTIONS")]
    public async Task Another_method_is_refused_even_with_the_token_in_the_URL(string method) => await ForBoth(async path =>
    {
        var answer = await _service.Send(new HttpRequestMessage(new HttpMethod(method), $"{path}?token={await _service.GetToken()}"), CatalogApi);

        answer.Status.Should().Be(405);
        answer.Response.Content.Headers.Allow.Should().Equal("POST");
        if (method != "HEAD")
        {
            Refused(answer, 405, "invalid_request");
        }
    });

    [Fact]
    public async Task A_token_in_the_URL_is_none() => await ForBoth(async path
        => Refused(await _service.Token("token_type_hint=access_token", CatalogApi, $"{path}?token=x"), 400, "invalid_request"));

    [Theory]
    [InlineData("client_id=x")]
    [InlineData("client_secret=x")]
    [InlineData("client_assertion=x")]
    [InlineData("client_secret=%zz")]
    public async Task Credentials_in_the_URL_are_refused_even_beside_right_ones(string query) => await ForBoth(async path
        => Refused(await _service.Token("token=x", CatalogApi, $"{path}?{query}"), 400, "invalid_request"));

    [Theory]
    [InlineData("", null)]
    [InlineData("", "unknown:whatever")]
    [InlineData("", $"{Sample.Introspector}:wrong")]
    [InlineData("", $"{Sample.Introspector}:")]
    [InlineData("", $"{Sample.FormJob}:{Sample.FormSecret}")]
    [InlineData($"&client_id={Sample.Introspector}", null)]
    [InlineData($"&client_id={Sample.Introspector}&client_secret={Sample.IntrospectorSecret}", null)]
    [InlineData($"&client_id={Sample.FormJob}&client_secret=wrong", null)]
    [InlineData($"&client_id={Sample.Job}", CatalogApi)]
    [InlineData("&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&client_assertion=a.b.c", null)]
    public async Task Who_is_not_proved_is_refused_as_invalid_client(string credentials, string? basic) => await ForBoth(async path =>
    {
        foreach (var token in (string[])[await _service.GetToken(), "garbage"])
        {
            Refused(await _service.Token($"token={token}{credentials}", basic, path), 401, "invalid_client");
        }
    });

    [Fact]
    public async Task An_access_token_proves_nobody() => await ForBoth(async path =>
    {
        var token = await _service.GetToken();
        var request = new HttpRequestMessage(HttpMethod.Post, path) { Content = RunningService.Form($"token={token}") };
        request.Headers.Authorization = new("Bearer", token);

        Refused(await _service.Send(request), 401, "invalid_client");
    });

    [Fact]
    public async Task A_disabled_caller_is_refused() => await ForBoth(async path =>
    {
        using var folder = new TemporaryFolder();
        await using var service = await RunningService.Start(folder, null, File);
        Disable(folder, Sample.Introspector);
        await service.Refresh();

        Refused(await service.Token("token=x", CatalogApi, path), 401, "invalid_client");
    });

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_body_of_64_KiB_is_read_and_one_byte_more_is_refused(bool chunked) => await ForBoth(async path =>
    {
        var most = "token=".PadRight(64 * 1024, 'x');

        (await Send(most)).Status.Should().Be(200);
        Refused(await Send(most + "x"), 413, "invalid_request");

        Task<Answer> Send(string form)
        {
            var request = new HttpRequestMessage(HttpMethod.Post, path) { Content = RunningService.Form(form) };
            request.Headers.TransferEncodingChunked = chunked;
            return _service.Send(request, CatalogApi);
        }
    });

    [Fact]
    public async Task Failures_at_all_endpoints_count_together_and_a_right_credential_passes_all_the_same()
    {
        await using var service = await RunningService.Start(folder: null, clock: null, File, "--TokenService:RateLimit:FailuresPerMinute=3");
        const string wrong = $"{Sample.Introspector}:wrong";
        Refused(await service.Token("grant_type=client_credentials", wrong), 401, "invalid_client");
        Refused(await service.Introspect("x", wrong), 401, "invalid_client");
        Refused(await service.Revoke("x", wrong), 401, "invalid_client");

        await ForBoth(async path => Refused(await service.Token("token=x", wrong, path), 429, "slow_down"));

        IntrospectionTests.IsInactive(await service.Introspect("x"));
        (await service.Revoke("x", CatalogApi)).Status.Should().Be(200);
    }

    [Fact]
    public async Task Refused_repeats_nothing_that_was_sent()
    {
        (await _service.Introspect("mark-a", Job)).Body.Should().NotContain("mark-");
        (await _service.Revoke("mark-a", $"{Sample.Job}:mark-b")).Body.Should().NotContain("mark-");
    }

    private static async Task ForBoth(Func<string, Task> test)
    {
        foreach (var path in s_paths)
        {
            await test(path);
        }
    }

    // None of these changes anything, and most fail.
    public sealed class Fixture : IAsyncLifetime
    {
        internal RunningService Service { get; private set; } = null!;

        public async Task InitializeAsync()
            => Service = await RunningService.Start(folder: null, clock: null, File, "--TokenService:RateLimit:FailuresPerMinute=0");

        public async Task DisposeAsync() => await Service.DisposeAsync();
    }
}
