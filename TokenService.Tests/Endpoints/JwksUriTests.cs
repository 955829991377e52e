using System;
using System.Diagnostics;
using System.IO.Compression;
using System.Linq;
using System.Net;
using System.Net.Http;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json.Nodes;
using System.Threading.Tasks;
using FluentAssertions;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Time.Testing;
using TokenService.Tests.Support;
using Xunit;
using static TokenService.Tests.Support.AssertionClients;

namespace TokenService.Tests.Endpoints;

/// <summary>Clients that publish their keys at a <c>jwks_uri</c>.</summary>
public sealed class JwksUriTests
{
    private const string Job = "uri-job";

    private static readonly ClientKeyPair s_second = ClientKeyPair.OfRsa();

    private readonly FakeTimeProvider _clock = new(Now);

    [Fact]
    public async Task The_keys_are_fetched_when_first_needed_and_then_kept()
    {
        await using var host = await KeySetHost.Start(ClientKeyPair.Set(Rsa.Jwk()));
        await using var service = await StartFor(host);
        host.Asked.Should().Be(0);

        for (var i = 0; i < 5; i++)
        {
            (await service.Send(Good())).Status.Should().Be(200);
        }

        host.Asked.Should().Be(1);
    }

    [Fact]
    public async Task Many_requests_at_once_cause_one_fetch()
    {
        await using var host = await KeySetHost.Start();
        var release = new TaskCompletionSource();
        host.Answer = async http =>
        {
            await release.Task;
            await http.Response.WriteAsync(ClientKeyPair.Set(Rsa.Jwk()));
        };
        await using var service = await StartFor(host);

        var answers = Enumerable.Range(0, 20).Select(_ => service.Send(Good())).ToArray();
        await Until(() => host.Asked == 1);
        release.SetResult();

        (await Task.WhenAll(answers)).Should().OnlyContain(answer => answer.Status == 200);
        host.Asked.Should().Be(1);
    }

    [Fact]
    public async Task A_fetch_does_not_hold_up_other_clients()
    {
        await using var host = await KeySetHost.Start();
        var release = new TaskCompletionSource();
        host.Answer = _ => release.Task;
        await using var service = await StartFor(host);

        var waiting = service.Send(Good());
        await Until(() => host.Asked == 1);
        (await service.Send(Draft().SignedBy(Rsa))).Status.Should().Be(200);
        (await service.Token("grant_type=client_credentials", $"{BasicJob}:{BasicSecret}")).Status.Should().Be(200);
        waiting.IsCompleted.Should().BeFalse();

        release.SetResult();
        Unavailable(await waiting);
    }

    [Theory]
    [InlineData("max-age=600", null, 600)]
    [InlineData("max-age=5", null, 60)]
    [InlineData("max-age=31536000", null, 86400)]
    [InlineData("max-age=600", "500", 100)]
    [InlineData("no-cache", null, 60)]
    [InlineData("no-store, max-age=600", null, 60)]
    [InlineData("nonsense=1", null, 300)]
    [InlineData(null, null, 300)]
    [Trait("Host", "InProcess")]
    public async Task Keys_are_kept_as_the_headers_say_between_a_minute_and_a_day(string? cacheControl, string? age, int seconds)
    {
        await using var host = await KeySetHost.Start();
        var headers = new[] { ("Cache-Control", cacheControl), ("Age", age) };
        host.Publish(ClientKeyPair.Set(Rsa.Jwk()), [.. headers.Where(header => header.Item2 is not null).Select(header => (header.Item1, header.Item2!))]);
        await using var service = await StartFor(host);
        (await service.Send(Good())).Status.Should().Be(200);

        _clock.Advance(TimeSpan.FromSeconds(seconds - 1));
        (await service.Send(Good())).Status.Should().Be(200);
        host.Asked.Should().Be(1);

        _clock.Advance(TimeSpan.FromSeconds(1));
        (await service.Send(Good())).Status.Should().Be(200);
        host.Asked.Should().Be(2);
    }

    [Fact]
    [Trait("Host", "InProcess")]
    public async Task Expires_counts_where_there_is_no_max_age()
    {
        await using var host = await KeySetHost.Start();
        host.Publish(ClientKeyPair.Set(Rsa.Jwk()), ("Date", "Tue, 24 Nov 2026 10:00:00 GMT"), ("Expires", "Tue, 24 Nov 2026 10:15:00 GMT"));
        await using var service = await StartFor(host);
        (await service.Send(Good())).Status.Should().Be(200);

        _clock.Advance(TimeSpan.FromSeconds(899));
        (await service.Send(Good())).Status.Should().Be(200);
        host.Asked.Should().Be(1);
        _clock.Advance(TimeSpan.FromSeconds(1));
        (await service.Send(Good())).Status.Should().Be(200);
        host.Asked.Should().Be(2);
    }

    [Theory]
    [InlineData("2")]
    [InlineData(null)]
    public async Task A_new_key_is_fetched_at_once_and_an_old_one_ends_with_it(string? kid)
    {
        await using var host = await KeySetHost.Start(ClientKeyPair.Set(Rsa.Jwk()));
        await using var service = await StartFor(host);
        (await service.Send(Good())).Status.Should().Be(200);

        host.Publish(ClientKeyPair.Set(s_second.Jwk(kid)));
        (await service.Send(Good(s_second, kid))).Status.Should().Be(200);
        host.Asked.Should().Be(2);
        (await service.Send(Good(Rsa, null))).Error.Should().Be("invalid_client");
    }

    [Fact]
    [Trait("Host", "InProcess")]
    public async Task A_flood_of_unknown_kids_causes_one_fetch_a_minute()
    {
        await using var host = await KeySetHost.Start(ClientKeyPair.Set(Rsa.Jwk()));
        await using var service = await StartFor(host);
        (await service.Send(Good())).Status.Should().Be(200);

        for (var minute = 1; minute <= 3; minute++)
        {
            var answers = await Task.WhenAll(Enumerable.Range(0, 50).Select(i => service.Send(Good(s_second, $"unknown-{i}"))));
            answers.Should().OnlyContain(answer => answer.Error == "invalid_client");
            host.Asked.Should().Be(1 + minute);
            _clock.Advance(TimeSpan.FromSeconds(59));
            (await service.Send(Good(s_second, "one-more"))).Error.Should().Be("invalid_client");
            host.Asked.Should().Be(1 + minute);
            _clock.Advance(TimeSpan.FromSeconds(1));
        }
    }

    [Fact]
    public async Task A_flood_of_unknown_kids_before_anything_was_fetched_causes_one_fetch()
    {
        await using var host = await KeySetHost.Start(ClientKeyPair.Set(Rsa.Jwk()));
        await using var service = await StartFor(host);

        (await service.Send(Good(s_second, "unknown"))).Error.Should().Be("invalid_client");
        host.Asked.Should().Be(1);
    }

    [Fact]
    public async Task A_wrong_signature_under_a_known_kid_causes_no_fetch()
    {
        await using var host = await KeySetHost.Start(ClientKeyPair.Set(Rsa.Jwk()));
        await using var service = await StartFor(host);
        (await service.Send(Good())).Status.Should().Be(200);

        (await service.Send(Good(s_second, "1"))).Error.Should().Be("invalid_client");
        host.Asked.Should().Be(1);
    }

    [Fact]
    [Trait("Host", "InProcess")]
    public async Task While_the_host_is_down_the_keys_go_on_being_used()
    {
        await using var host = await KeySetHost.Start(ClientKeyPair.Set(Rsa.Jwk()));
        await using var service = await StartFor(host);
        (await service.Send(Good())).Status.Should().Be(200);
        host.Fail();

        // Five minutes later they are no longer fresh; each minute one fetch is tried.
        for (var tried = 1; tried <= 5; tried++)
        {
            _clock.Advance(TimeSpan.FromMinutes(tried == 1 ? 5 : 1));
            for (var i = 0; i < 3; i++)
            {
                (await service.Send(Good())).Status.Should().Be(200);
            }

            host.Asked.Should().Be(1 + tried);
        }

        (await service.Send(Good(s_second, "1"))).Error.Should().Be("invalid_client", "stale keys are keys");
        host.Publish(ClientKeyPair.Set(s_second.Jwk()));
        _clock.Advance(TimeSpan.FromMinutes(1));
        (await service.Send(Good(s_second, "1"))).Status.Should().Be(200);
        (await service.Send(Good())).Error.Should().Be("invalid_client");
    }

    [Theory]
    [InlineData("a private key")]
    [InlineData("no keys")]
    [InlineData("keys of other kinds")]
    [Trait("Host", "InProcess")]
    public async Task Keys_that_their_owner_has_withdrawn_are_not_used_on(string published)
    {
        var shown = Rsa.Jwk();
        shown["d"] = "AQAB";
        await using var host = await KeySetHost.Start(ClientKeyPair.Set(Rsa.Jwk()));
        await using var service = await StartFor(host);
        (await service.Send(Good())).Status.Should().Be(200);

        host.Publish(published switch
        {
            "a private key" => ClientKeyPair.Set(shown),
            "no keys" => "{\"keys\":[]}",
            _ => "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AAAA\"}]}",
        });
        _clock.Advance(TimeSpan.FromMinutes(5));
        Unavailable(await service.Send(Good()));

        host.Publish(ClientKeyPair.Set(s_second.Jwk()));
        _clock.Advance(TimeSpan.FromSeconds(5));
        (await service.Send(Good(s_second))).Status.Should().Be(200);
        (await service.Send(Good())).Error.Should().Be("invalid_client");
    }

    [Fact]
    [Trait("Host", "InProcess")]
    public async Task Keys_in_use_are_kept_however_long_the_host_is_down_whatever_other_clients_do()
    {
        await using var host = await KeySetHost.Start(ClientKeyPair.Set(Rsa.Jwk()));
        await using var other = await KeySetHost.Start(ClientKeyPair.Set(Rsa.Jwk()));
        await using var service = await Start(clock: _clock, file: Resources($"{Client(Job, host.Uri.AbsoluteUri)}, {Client("other", other.Uri.AbsoluteUri)}"));
        (await service.Send(Good())).Status.Should().Be(200);
        host.Fail();

        for (var hour = 0; hour < 26; hour++)
        {
            _clock.Advance(TimeSpan.FromHours(1));
            (await service.Send(Good())).Status.Should().Be(200);
        }

        (await service.Send(new AssertionDraft("other", Issuer, _clock.GetUtcNow()).SignedBy(Rsa))).Status.Should().Be(200);
        (await service.Send(Good())).Status.Should().Be(200);
    }

    [Theory]
    [InlineData("127.0.0.1")]
    [InlineData("::1")]
    [InlineData("::ffff:127.0.0.1")]
    [InlineData("169.254.169.254")]
    [Trait("Host", "InProcess")]
    public async Task A_name_that_leads_to_this_machine_or_the_local_link_is_not_dialled(string address)
    {
        using var listener = new System.Net.Sockets.TcpListener(IPAddress.IPv6Any, 0);
        listener.Server.DualMode = true;
        listener.Start();
        var resolved = 0;
        var told = "";
        using var keySets = new TokenService.Authentication.ClientKeySets(_clock, (_, fault) => told = fault, (name, _) =>
        {
            resolved++;
            name.Should().Be("keys.example.com");
            return Task.FromResult<IPAddress[]>([IPAddress.Parse(address)]);
        });

        var (keys, _) = await keySets.Get(new(new Uri($"https://keys.example.com:{((IPEndPoint)listener.LocalEndpoint).Port}/jwks")), default);

        keys.Should().BeNull();
        told.Should().Contain("leads to an address that is not asked for keys");
        resolved.Should().Be(1);
        listener.Pending().Should().BeFalse();
    }

    [Fact]
    [Trait("Host", "InProcess")]
    public async Task The_address_that_was_checked_is_the_one_that_is_dialled()
    {
        // A name that leads elsewhere each time it is asked for, as an attacker's would.
        await using var host = await KeySetHost.Start(ClientKeyPair.Set(Rsa.Jwk()));
        var answers = new System.Collections.Generic.Queue<string>(["127.0.0.1", "169.254.169.254"]);
        using var keySets = new TokenService.Authentication.ClientKeySets(
            _clock, (_, _) => { }, (_, _) => Task.FromResult<IPAddress[]>([IPAddress.Parse(answers.Dequeue())]));

        var (keys, _) = await keySets.Get(new(new Uri($"http://localhost:{host.Uri.Port}/jwks.json")), default);

        keys!.Keys.Should().ContainSingle();
        (host.Asked, answers.Count).Should().Be((1, 1));
    }

    [Fact]
    [Trait("Host", "InProcess")]
    public async Task What_a_host_says_cannot_forge_a_log_line()
    {
        using var listener = new System.Net.Sockets.TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        var answer = Task.Run(async () =>
        {
            using var client = await listener.AcceptTcpClientAsync();
            await client.GetStream().WriteAsync(Encoding.Latin1.GetBytes("HTTP/1.1 200 OK\r\nbad \u001b[31mFORGED\r\n\r\n"));
        });
        var told = "";
        using var keySets = new TokenService.Authentication.ClientKeySets(_clock, (_, fault) => told = fault);

        await keySets.Get(new(new Uri($"http://127.0.0.1:{((IPEndPoint)listener.LocalEndpoint).Port}/")), default);
        await answer;

        told.Should().NotBeEmpty().And.MatchRegex("^[ -~]*$");
    }

    [Fact]
    [Trait("Host", "InProcess")]
    public async Task Where_there_is_nothing_yet_the_answer_is_503_until_the_host_answers()
    {
        await using var host = await KeySetHost.Start();
        host.Fail();
        await using var service = await StartFor(host);
        var assertion = Good();

        var answer = await service.Send(assertion);
        Unavailable(answer);
        Unavailable(await service.Send(assertion));
        host.Asked.Should().Be(1, "a host that is down is not asked again at once");

        host.Publish(ClientKeyPair.Set(Rsa.Jwk()));
        _clock.Advance(answer.Response.Headers.RetryAfter!.Delta!.Value);
        (await service.Send(assertion)).Status.Should().Be(200, "nothing is known against it, and its jti was not used up");
    }

    [Theory]
    [InlineData(301)]
    [InlineData(302)]
    [InlineData(307)]
    [InlineData(308)]
    public async Task A_redirect_is_not_followed(int status)
    {
        await using var target = await KeySetHost.Start(ClientKeyPair.Set(Rsa.Jwk()));
        await using var host = await KeySetHost.Start();
        host.Answer = http =>
        {
            http.Response.StatusCode = status;
            http.Response.Headers.Location = target.Uri.AbsoluteUri;
            return Task.CompletedTask;
        };
        await using var service = await StartFor(host);

        Unavailable(await service.Send(Good()));
        target.Asked.Should().Be(0);
    }

    public static TheoryData<string> Bodies() => ["too large", "too large, chunked", "gzip", "no JSON", "an array", "no keys", "keys that are no array",
        "empty", "ten thousand keys", "a private key", "a secret key", "weak keys alone", "other kinds alone", "cut off", "keys twice", "byte order mark"];

    [Theory]
    [MemberData(nameof(Bodies))]
    public async Task A_body_that_is_no_key_set_of_use_is_as_good_as_none(string body)
    {
        var good = ClientKeyPair.Set(Rsa.Jwk());
        await using var host = await KeySetHost.Start();
        var weak = ClientKeyPair.OfRsa(1024);
        var privateJwk = Rsa.Jwk();
        privateJwk["d"] = "AQAB";
        switch (body)
        {
            case "too large": host.Publish(good + new string(' ', 64 * 1024), ("Content-Length", $"{good.Length + (64 * 1024)}")); break;
            case "too large, chunked": host.Publish(good + new string(' ', 64 * 1024)); break;
            case "gzip": host.Answer = http => Gzip(http, good); break;
            case "no JSON": host.Publish("<html>"); break;
            case "an array": host.Publish($"[{good}]"); break;
            case "no keys": host.Publish("{}"); break;
            case "keys that are no array": host.Publish("{\"keys\":{}}"); break;
            case "empty": host.Publish(""); break;
            case "ten thousand keys": host.Publish("{\"keys\":[" + string.Join(',', Enumerable.Repeat("{}", 10_000)) + "]}"); break;
            case "a private key": host.Publish(ClientKeyPair.Set(s_second.Jwk("2"), privateJwk)); break;
            case "a secret key": host.Publish("{\"keys\":[{\"kty\":\"oct\",\"k\":\"AAAA\",\"kid\":\"1\"}]}"); break;
            case "weak keys alone": host.Publish(ClientKeyPair.Set(weak.Jwk())); break;
            case "other kinds alone": host.Publish("{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AAAA\"}]}"); break;
            case "cut off": host.Answer = CutOff; break;
            case "keys twice": host.Publish($"{{\"keys\":[],{good[1..]}"); break;
            default: host.Publish("\uFEFF" + good); break;
        }

        await using var service = await StartFor(host);

        Unavailable(await service.Send(Good()));
        Unavailable(await service.Send(Good(weak)));
        host.Asked.Should().Be(1);

        static async Task CutOff(HttpContext http)
        {
            http.Response.ContentLength = 1000;
            await http.Response.WriteAsync("{\"keys\":[");
            await http.Response.Body.FlushAsync();
            http.Abort();
        }

        static async Task Gzip(HttpContext http, string text)
        {
            http.Response.Headers.ContentEncoding = "gzip";
            await using var gzip = new GZipStream(http.Response.Body, CompressionLevel.Fastest);
            await gzip.WriteAsync(Encoding.UTF8.GetBytes(text));
        }
    }

    [Fact]
    public async Task A_body_of_64_KiB_is_read()
    {
        var good = ClientKeyPair.Set(Rsa.Jwk());
        await using var host = await KeySetHost.Start(good + new string(' ', (64 * 1024) - good.Length));
        await using var service = await StartFor(host);

        (await service.Send(Good())).Status.Should().Be(200);
    }

    [Fact]
    public async Task Keys_of_other_kinds_are_passed_over_and_so_is_the_second_of_a_kid()
    {
        var ring = ClientKeyPair.Set(
            new JsonObject { ["kty"] = "OKP", ["crv"] = "Ed25519", ["x"] = "AAAA", ["kid"] = "0" },
            new JsonObject { ["kty"] = "RSA", ["use"] = "enc", ["n"] = "AQAB", ["e"] = "AQAB", ["kid"] = "1" },
            ClientKeyPair.OfRsa(1024).Jwk("1"),
            Rsa.Jwk("1"),
            s_second.Jwk("1"));
        await using var host = await KeySetHost.Start(ring);
        await using var service = await StartFor(host);

        (await service.Send(Good())).Status.Should().Be(200);
        (await service.Send(Good(s_second))).Error.Should().Be("invalid_client");
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_host_that_is_silent_or_drips_is_given_up_after_5_seconds(bool drips)
    {
        await using var host = await KeySetHost.Start();
        host.Answer = async http =>
        {
            for (var i = 0; i < 60 && !http.RequestAborted.IsCancellationRequested; i++)
            {
                if (drips)
                {
                    await http.Response.WriteAsync(" ");
                    await http.Response.Body.FlushAsync();
                }

                await Task.Delay(500);
            }
        };
        await using var service = await StartFor(host);

        var since = Stopwatch.StartNew();
        Unavailable(await service.Send(Good()));
        since.Elapsed.Should().BeGreaterThan(TimeSpan.FromSeconds(4.5)).And.BeLessThan(TimeSpan.FromSeconds(15));
    }

    [Fact]
    public async Task A_caller_that_goes_away_does_not_end_the_fetch()
    {
        await using var host = await KeySetHost.Start();
        var release = new TaskCompletionSource();
        host.Answer = async http =>
        {
            await release.Task;
            await http.Response.WriteAsync(ClientKeyPair.Set(Rsa.Jwk()));
        };
        await using var service = await StartFor(host);

        using (var impatient = new HttpClient { BaseAddress = service.Url, Timeout = TimeSpan.FromMilliseconds(500) })
        {
            var post = () => impatient.PostAsync("/oauth2/token", RunningService.Form(AssertionDraft.Form(Good())));
            await post.Should().ThrowAsync<TaskCanceledException>();
        }

        var second = service.Send(Good());
        release.SetResult();
        (await second).Status.Should().Be(200);
        host.Asked.Should().Be(1);
    }

    [Fact]
    public async Task Nobody_listening_is_503_too()
    {
        await using var service = await Start(clock: _clock, file: File($"http://127.0.0.1:{RunningProgram.FreePort()}/jwks"));

        Unavailable(await service.Send(Good()));
    }

    [Fact]
    [Trait("Host", "OwnProgram")]
    public async Task Over_TLS_the_certificate_must_be_good()
    {
        using var folder = new TemporaryFolder();
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using var authority = Authority(key);
        folder.Write("ca.pem", authority.ExportCertificatePem());
        var now = DateTimeOffset.UtcNow;
        var keys = ClientKeyPair.Set(Rsa.Jwk());
        await using var good = await KeySetHost.Start(keys, Issue("127.0.0.1", now.AddDays(-1), now.AddDays(1)));
        await using var expired = await KeySetHost.Start(keys, Issue("127.0.0.1", now.AddDays(-3), now.AddDays(-1)));
        await using var misnamed = await KeySetHost.Start(keys, Issue("127.0.0.2", now.AddDays(-1), now.AddDays(1)));
        using var own = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        await using var selfSigned = await KeySetHost.Start(keys, WithKey(Authority(own), own));
        var hosts = new[] { ("good", good), ("expired", expired), ("misnamed", misnamed), ("self-signed", selfSigned) };
        folder.Write("clients.json", Resources(string.Join(',', hosts.Select(pair => Client(pair.Item1, pair.Item2.Uri.AbsoluteUri)))));
        var port = RunningProgram.FreePort();
        var issuer = $"http://127.0.0.1:{port}";
        await using var program = await RunningProgram.Start(
            Repository.Program,
            [
                $"--contentRoot={folder.Path}", "--environment=Production", $"--urls={issuer}", $"--TokenService:Issuer={issuer}", "--TokenService:ApplyFile=clients.json",
            ],
            new Uri($"{issuer}/health/ready"),
            folder.Path,
            ("SSL_CERT_FILE", folder.File("ca.pem")));

        foreach (var (clientId, _) in hosts)
        {
            using var http = new HttpClient();
            using var response = await http.PostAsync(
                new Uri($"{issuer}/oauth2/token"), RunningService.Form(AssertionDraft.Form(new AssertionDraft(clientId, issuer, now).SignedBy(Rsa))));
            ((int)response.StatusCode).Should().Be(clientId == "good" ? 200 : 503, clientId + await response.Content.ReadAsStringAsync() + program.Printed);
        }

        (good.Asked, expired.Asked + misnamed.Asked + selfSigned.Asked).Should().Be((1, 0));
        await program.Prints("The key set at");

        X509Certificate2 Issue(string name, DateTimeOffset from, DateTimeOffset until)
        {
            using var own = ECDsa.Create(ECCurve.NamedCurves.nistP256);
            var request = new CertificateRequest("CN=keys", own, HashAlgorithmName.SHA256);
            var names = new SubjectAlternativeNameBuilder();
            names.AddIpAddress(IPAddress.Parse(name));
            request.CertificateExtensions.Add(names.Build());
            using var certificate = request.Create(authority.SubjectName, X509SignatureGenerator.CreateForECDsa(key), from, until, RandomNumberGenerator.GetBytes(8));
            return WithKey(certificate, own);
        }

        static X509Certificate2 Authority(ECDsa key)
        {
            var request = new CertificateRequest("CN=authority of a test", key, HashAlgorithmName.SHA256);
            request.CertificateExtensions.Add(new X509BasicConstraintsExtension(certificateAuthority: true, hasPathLengthConstraint: false, 0, critical: true));
            return request.CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-10), DateTimeOffset.UtcNow.AddDays(10));
        }

        static X509Certificate2 WithKey(X509Certificate2 certificate, ECDsa key)
            => certificate.HasPrivateKey ? certificate : certificate.CopyWithPrivateKey(key);
    }

    private static string File(string uri) => Resources($$"""
        {{Client(Job, uri)}},
        { "client_id": "{{KeyJob}}", "token_endpoint_auth_method": "private_key_jwt", "scope": "catalog.read", "jwks": {{ClientKeyPair.Set(Rsa.Jwk())}} },
        { "client_id": "{{BasicJob}}", "client_secret": "{{BasicSecret}}", "scope": "catalog.read" }
        """);

    private static string Client(string id, string uri)
        => $$"""{ "client_id": "{{id}}", "token_endpoint_auth_method": "private_key_jwt", "jwks_uri": "{{uri}}", "scope": "catalog.read" }""";

    private Task<RunningService> StartFor(KeySetHost host) => Start(clock: _clock, file: File(host.Uri.AbsoluteUri));

    private string Good(ClientKeyPair? key = null, string? kid = "1")
    {
        var draft = new AssertionDraft(Job, Issuer, _clock.GetUtcNow());
        return (kid is null ? draft.WithoutHeader("kid") : draft.WithHeader("kid", kid)).SignedBy(key ?? Rsa);
    }

    private static void Unavailable(Answer answer)
    {
        TokenEndpointRefusalTests.Refused(answer, 503, "temporarily_unavailable");
        answer.Response.Headers.RetryAfter!.Delta.Should().Be(TimeSpan.FromSeconds(5));
    }

    private static async Task Until(Func<bool> condition)
    {
        for (var i = 0; i < 1000 && !condition(); i++)
        {
            await Task.Delay(10);
        }

        condition().Should().BeTrue();
    }
}
