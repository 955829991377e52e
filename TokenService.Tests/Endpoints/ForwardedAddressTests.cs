using System;
using System.Diagnostics;
using System.Linq;
using System.Net.Http;
using System.Threading.Tasks;
using FluentAssertions;
using TokenService.Tests.Support;
using Xunit;

namespace TokenService.Tests.Endpoints;

/// <summary>Whose address it is that is logged and that the limiter counts for.</summary>
public sealed class ForwardedAddressTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task Nobody_is_believed_where_no_proxy_is_known()
    {
        await using var service = await Start();

        foreach (var header in (string[])["203.0.113.9", "203.0.113.9, 10.0.0.1", "::1"])
        {
            (await AddressOf(service, header)).Should().Be("127.0.0.1", header);
        }
    }

    [Fact]
    [Trait("Host", "InProcess")]
    public async Task The_switch_of_the_framework_that_believes_everybody_does_nothing()
    {
        await using var service = await Start("--ForwardedHeaders_Enabled=true");

        (await AddressOf(service, "203.0.113.9")).Should().Be("127.0.0.1");
    }

    [Fact]
    public async Task Another_peer_than_the_known_proxies_is_not_believed()
    {
        await using var service = await Start("--TokenService:ForwardedHeaders:KnownProxies=10.0.0.0/8 127.0.0.2 ::1");

        (await AddressOf(service, "203.0.113.9")).Should().Be("127.0.0.1");
    }

    [Fact]
    public async Task The_last_address_that_is_no_known_proxys_is_the_clients()
    {
        await using var service = await Start("--TokenService:ForwardedHeaders:KnownProxies=127.0.0.1,10.0.0.0/8");

        foreach (var (header, address) in ((string, string)[])
        [
            ("203.0.113.9", "203.0.113.9"),
            ("203.0.113.9:4711", "203.0.113.9"),
            ("2001:db8::9", "2001:db8::9"),
            ("[2001:db8::9]:4711", "2001:db8::9"),
            ("::ffff:203.0.113.9", "203.0.113.9"),
            ("203.0.113.9, 10.1.2.3", "203.0.113.9"),
            ("192.0.2.1, 203.0.113.9, 10.1.2.3, 10.4.5.6", "203.0.113.9"),
            ("10.9.9.9, 203.0.113.9", "203.0.113.9"),
            ("10.1.2.3, 10.4.5.6", "10.1.2.3"),
            ("not an address, 203.0.113.9", "203.0.113.9"),
            ("not an address", "127.0.0.1"),
            ("203.0.113.9, unknown", "127.0.0.1"),
            ("203.0.113.9, unknown, 10.1.2.3", "10.1.2.3"),
            (", ,", "127.0.0.1"),
            ("203.0.113.9,", "203.0.113.9"),
            ("999.999.999.999", "127.0.0.1"),
            ("[2001:db8::9", "127.0.0.1"),
        ])
        {
            (await AddressOf(service, header)).Should().Be(address, header);
        }
    }

    [Fact]
    [Trait("Host", "InProcess")]
    public async Task A_proxy_is_known_by_its_IPv4_address_on_a_listener_for_both_too()
    {
        await using var service = await Start("--urls=http://[::]:0", "--TokenService:ForwardedHeaders:KnownProxies=127.0.0.1");
        using var http = new HttpClient { BaseAddress = new Uri($"http://127.0.0.1:{service.Url.Port}") };

        (await AddressOf(http, "203.0.113.9")).Should().Be("203.0.113.9");
        (await AddressOf(http, null)).Should().Be("127.0.0.1");
    }

    [Fact]
    public async Task Each_client_behind_a_proxy_has_failures_of_its_own()
    {
        await using var service = await Start("--TokenService:ForwardedHeaders:KnownProxies=127.0.0.1", "--TokenService:RateLimit:FailuresPerMinute=1");

        (await Fail(service.Http, "203.0.113.9")).Status.Should().Be(401);
        (await Fail(service.Http, "203.0.113.9")).Status.Should().Be(429);
        (await Fail(service.Http, "192.0.2.66, 203.0.113.9")).Status.Should().Be(429, "what the client itself wrote there changes nothing");
        (await Fail(service.Http, "203.0.113.10")).Status.Should().Be(401);
    }

    [Fact]
    public async Task Whoever_is_not_believed_has_the_same_failures_under_every_name()
    {
        await using var service = await Start("--TokenService:RateLimit:FailuresPerMinute=1");

        (await Fail(service.Http, "203.0.113.9")).Status.Should().Be(401);
        (await Fail(service.Http, "203.0.113.10")).Status.Should().Be(429);
    }

    [Fact]
    public async Task Scheme_and_host_are_believed_from_nobody()
    {
        await using var service = await Start("--TokenService:ForwardedHeaders:KnownProxies=127.0.0.1");
        using var request = new HttpRequestMessage(HttpMethod.Get, "/.well-known/oauth-authorization-server");
        request.Headers.TryAddWithoutValidation("X-Forwarded-For", "203.0.113.9");
        request.Headers.TryAddWithoutValidation("X-Forwarded-Proto", "https");
        request.Headers.TryAddWithoutValidation("X-Forwarded-Host", "evil.example.com");
        request.Headers.TryAddWithoutValidation("X-Forwarded-Prefix", "/evil");

        (await service.Send(request)).Json.GetProperty("issuer").GetString().Should().Be(service.Url.ToString().TrimEnd('/'));
    }

    [Fact]
    public async Task A_long_header_or_many_of_them_are_read_or_refused_and_never_a_fault()
    {
        await using var service = await Start("--TokenService:ForwardedHeaders:KnownProxies=127.0.0.1 10.0.0.0/8");
        foreach (var (headers, length) in ((int, int)[])[(1, 2_000), (1, 12_000), (40, 100), (1, 40_000), (120, 10)])
        {
            foreach (var unit in (string[])["10.0.0.1,", "x", ",", "[", ":", "\"", "\u00e9"])
            {
                var line = "X-Forwarded-For: " + string.Concat(Enumerable.Repeat(unit, length / unit.Length)) + "\r\n";
                var answer = await RawHttp.Send(
                    service.Url,
                    "GET /.well-known/jwks.json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + string.Concat(Enumerable.Repeat(line, headers)) + "\r\n");

                answer.Should().MatchRegex("^HTTP/1.1 (200|400|431) ", unit);
            }
        }
    }

    private Task<RunningService> Start(params string[] settings) => RunningService.Start(_folder, null, Sample.File, settings);

    private Task<string> AddressOf(RunningService service, string header) => AddressOf(service.Http, header);

    // The refusal is kept with it, a moment after the answer.
    private async Task<string> AddressOf(HttpClient http, string? header)
    {
        var trace = (await Fail(http, header)).Json.GetProperty("trace_id").GetString()!;
        var since = Stopwatch.StartNew();
        while (true)
        {
            if (StoreFile.Scalar(_folder, $"SELECT address FROM refusals WHERE trace_id = '{trace}'") is string address)
            {
                return address;
            }

            since.Elapsed.Should().BeLessThan(TimeSpan.FromSeconds(30), "the refusal is kept");
            await Task.Delay(50);
        }
    }

    private static async Task<Answer> Fail(HttpClient http, string? header)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, "/oauth2/token") { Content = RunningService.Form($"grant_type=client_credentials&client_id={Sample.FormJob}&client_secret=wrong") };
        if (header is not null)
        {
            request.Headers.TryAddWithoutValidation("X-Forwarded-For", header).Should().BeTrue();
        }

        using var response = await http.SendAsync(request);
        return await Answer.Of(response);
    }
}
