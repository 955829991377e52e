using System;
using System.Collections.Generic;
using System.Linq;
using System.Net.Http;
using System.Security.Cryptography;
using System.Text.Json;
using System.Threading;
using System.Threading.Tasks;
using FluentAssertions;
using Microsoft.Extensions.Time.Testing;
using Microsoft.IdentityModel.JsonWebTokens;
using ReportingJob;
using TokenService.Keys;
using TokenService.Protocol;
using TokenService.Tests.Support;
using Xunit;

namespace TokenService.Tests.Samples;

/// <summary>How the sample job gets its token, and how it keeps it.</summary>
public sealed class AccessTokenSourceTests
{
    private static readonly ClientSecret s_secret = new(Sample.Job, Sample.JobSecret);

    [Fact]
    public async Task A_token_is_kept_until_30_seconds_before_it_expires()
    {
        await using var service = await RunningService.Start();
        var time = new FakeTimeProvider();
        using var tokens = new AccessTokenSource(new Uri(service.Url, "/oauth2/token"), s_secret, "catalog.read", time);

        var first = await tokens.Get(CancellationToken.None);
        time.Advance(TimeSpan.FromSeconds(569.9));
        (await tokens.Get(CancellationToken.None)).Should().Be(first);
        time.Advance(TimeSpan.FromSeconds(0.1));
        (await tokens.Get(CancellationToken.None)).Should().NotBe(first);
        tokens.Fetched.Should().Be(2);
    }

    [Fact]
    public async Task A_refused_token_is_dropped_and_a_newer_one_is_not()
    {
        await using var service = await RunningService.Start();
        using var tokens = new AccessTokenSource(new Uri(service.Url, "/oauth2/token"), s_secret, "catalog.read", TimeProvider.System);

        var first = await tokens.Get(CancellationToken.None);
        tokens.Forget(first);
        var second = await tokens.Get(CancellationToken.None);
        second.Should().NotBe(first);
        tokens.Forget(first);
        (await tokens.Get(CancellationToken.None)).Should().Be(second);
    }

    [Fact]
    public async Task Calls_at_once_share_one_fetch()
    {
        await using var service = await RunningService.Start();
        using var tokens = new AccessTokenSource(new Uri(service.Url, "/oauth2/token"), s_secret, "catalog.read", TimeProvider.System);

        var got = await Task.WhenAll(Enumerable.Range(0, 20).Select(_ => tokens.Get(CancellationToken.None)));

        got.Should().OnlyContain(token => token == got[0]);
        tokens.Fetched.Should().Be(1);
    }

    [Fact]
    public async Task A_refusal_says_what_the_service_said()
    {
        await using var service = await RunningService.Start();
        using var tokens = new AccessTokenSource(new Uri(service.Url, "/oauth2/token"), new ClientSecret(Sample.Job, "wrong"), "catalog.read", TimeProvider.System);

        var get = () => tokens.Get(CancellationToken.None);

        (await get.Should().ThrowAsync<HttpRequestException>()).WithMessage("401 *invalid_client*");
    }

    [Theory]
    [InlineData("RS256")]
    [InlineData("ES256")]
    [InlineData("ES384")]
    [InlineData("ES512")]
    public async Task With_a_key_each_fetch_has_an_assertion_of_its_own(string algorithm)
    {
        var key = SigningKey.Generate(algorithm);
        await using var service = await RunningService.Start(folder: null, clock: null, FileWithKey(key));
        using var tokens = new AccessTokenSource(new Uri(service.Url, "/oauth2/token"), Credential(key, service), "catalog.read", TimeProvider.System);

        // The service takes each assertion once, so the second fetch cannot have sent the first one's.
        var first = await tokens.Get(CancellationToken.None);
        tokens.Forget(first);
        (await tokens.Get(CancellationToken.None)).Should().NotBe(first);
        tokens.Fetched.Should().Be(2);
    }

    [Fact]
    public async Task A_key_that_is_not_the_clients_is_refused()
    {
        await using var service = await RunningService.Start(folder: null, clock: null, FileWithKey(SigningKey.Generate("ES256")));
        using var tokens = new AccessTokenSource(
            new Uri(service.Url, "/oauth2/token"), Credential(SigningKey.Generate("ES256"), service), "catalog.read", TimeProvider.System);

        var get = () => tokens.Get(CancellationToken.None);

        (await get.Should().ThrowAsync<HttpRequestException>()).WithMessage("401 *invalid_client*");
    }

    [Fact]
    public void An_assertion_says_what_RFC_7523_asks_for_and_ends_in_a_minute()
    {
        var time = new FakeTimeProvider();
        var credential = new ClientKey("indexer", Pem(SigningKey.Generate("RS256")), "https://auth.example.com", time);
        using var request = new HttpRequestMessage();
        var form = new Dictionary<string, string>();

        credential.Prove(request, form);

        form["client_assertion_type"].Should().Be("urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
        var assertion = new JsonWebToken(form["client_assertion"]);
        (assertion.Typ, assertion.Alg).Should().Be(("client-authentication+jwt", "RS256"));
        (assertion.Issuer, assertion.Subject).Should().Be(("indexer", "indexer"));
        assertion.Audiences.Should().Equal("https://auth.example.com");
        assertion.ValidTo.Should().Be(time.GetUtcNow().UtcDateTime.AddMinutes(1));
        assertion.Id.Should().NotBeEmpty();
    }

    private static string FileWithKey(SigningKey key) => $$"""
        {
          "resources": [ { "resource": "{{Sample.CatalogUri}}", "scopes": [ { "name": "catalog.read" } ] } ],
          "clients": [
            { "client_id": "indexer", "token_endpoint_auth_method": "private_key_jwt", "scope": "catalog.read",
              "jwks": {{JsonSerializer.Serialize(new Jwks { Keys = [key.PublicKey] }, ProtocolJson.Default.Jwks)}} }
          ]
        }
        """;

    private static ClientKey Credential(SigningKey key, RunningService service)
        => new("indexer", Pem(key), service.Url.ToString().TrimEnd('/'), TimeProvider.System);

    // As new-key writes it.
    private static string Pem(SigningKey key) => PemEncoding.WriteString("PRIVATE KEY", key.ExportPrivateKey());
}
