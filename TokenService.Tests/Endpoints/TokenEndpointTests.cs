using System;
using System.Collections.Generic;
using System.Linq;
using System.Net.Http;
using System.Text;
using System.Threading.Tasks;
using FluentAssertions;
using Microsoft.Extensions.Time.Testing;
using Microsoft.IdentityModel.JsonWebTokens;
using Microsoft.IdentityModel.Tokens;
using TokenService.Tests.Support;
using Xunit;

namespace TokenService.Tests.Endpoints;

public sealed class TokenEndpointTests
{
    private const string Grant = "grant_type=client_credentials";

    [Fact]
    public async Task Answers_as_RFC_6749_section_5_1_says()
    {
        await using var service = await RunningService.Start();

        var answer = await service.Token(Grant, $"{Sample.Job}:{Sample.JobSecret}");

        answer.Status.Should().Be(200);
        answer.Response.Content.Headers.ContentType!.ToString().Should().Be("application/json");
        answer.Response.Headers.CacheControl!.ToString().Should().Be("no-store");
        answer.Response.Headers.Pragma.ToString().Should().Be("no-cache");
        answer.Json.EnumerateObject().Select(member => member.Name)
            .Should().Equal("access_token", "token_type", "expires_in", "scope");
        answer.Json.GetProperty("token_type").GetString().Should().Be("Bearer");
        answer.Json.GetProperty("expires_in").GetInt64().Should().Be(600);
        answer.Json.GetProperty("scope").GetString().Should().Be("catalog.search catalog.read");
    }

    [Fact]
    public async Task The_token_has_the_header_and_the_claims_of_RFC_9068_and_no_others()
    {
        var clock = new FakeTimeProvider(DateTimeOffset.FromUnixTimeMilliseconds(1_800_000_000_999));
        await using var service = await RunningService.Start(folder: null, clock, Sample.File);

        var token = new JsonWebToken((await service.Token(Grant, $"{Sample.Job}:{Sample.JobSecret}")).AccessToken);

        var header = JsonObject(token.EncodedHeader);
        header.Keys.Should().BeEquivalentTo("alg", "typ", "kid");
        (header["alg"], header["typ"]).Should().Be(("RS256", "at+jwt"));
        var claims = JsonObject(token.EncodedPayload);
        claims.Keys.Should().BeEquivalentTo("iss", "sub", "client_id", "aud", "scope", "iat", "exp", "jti");
        claims["iss"].Should().Be(service.Url.ToString().TrimEnd('/'));
        (claims["sub"], claims["client_id"], claims["aud"]).Should().Be((Sample.Job, Sample.Job, Sample.CatalogUri));
        claims["scope"].Should().Be("catalog.search catalog.read");
        (claims["iat"], claims["exp"]).Should().Be(("1800000000", "1800000600"));
        claims["jti"].Length.Should().BeGreaterThanOrEqualTo(22);
    }

    [Fact]
    public async Task No_two_tokens_have_the_same_id()
    {
        await using var service = await RunningService.Start();
        var ids = new HashSet<string>();
        for (var i = 0; i < 50; i++)
        {
            ids.Add(new JsonWebToken((await service.Token(Grant, $"{Sample.Job}:{Sample.JobSecret}")).AccessToken).Id);
        }

        ids.Should().HaveCount(50);
    }

    [Theory]
    [InlineData("RS256")]
    [InlineData("PS256")]
    [InlineData("ES256")]
    public async Task The_signature_verifies_against_the_published_keys(string algorithm)
    {
        await using var service = await RunningService.Start($"--TokenService:SigningAlgorithm={algorithm}");
        var issuer = service.Url.ToString().TrimEnd('/');

        var token = (await service.Token(Grant, $"{Sample.Job}:{Sample.JobSecret}")).AccessToken;

        var keys = new JsonWebKeySet(await service.Http.GetStringAsync("/.well-known/jwks.json"));
        var result = await new JsonWebTokenHandler().ValidateTokenAsync(token, new TokenValidationParameters
        {
            IssuerSigningKeys = keys.GetSigningKeys(),
            ValidIssuer = issuer,
            ValidAudience = Sample.CatalogUri,
            ValidTypes = ["at+jwt"],
            ValidAlgorithms = [algorithm],
        });
        result.Exception.Should().BeNull();
        result.IsValid.Should().BeTrue();
    }

    [Fact]
    public async Task A_client_without_a_lifetime_of_its_own_gets_the_default_one()
    {
        await using var service = await RunningService.Start("--TokenService:AccessTokenLifetime=00:05:00");

        var answer = await service.Token($"{Grant}&client_id={Sample.FormJob}&client_secret={Sample.FormSecret}");

        answer.Json.GetProperty("expires_in").GetInt64().Should().Be(300);
    }

    [Fact]
    public async Task The_audience_is_an_array_only_where_the_scopes_belong_to_several_resources()
    {
        await using var service = await RunningService.Start();

        var both = (await service.Token(Grant, $"{Sample.Wide}:{Sample.WideSecret}")).AccessToken;
        var one = (await service.Token($"{Grant}&resource={Uri.EscapeDataString(Sample.OrdersUri)}", $"{Sample.Wide}:{Sample.WideSecret}")).AccessToken;

        JsonObject(new JsonWebToken(both).EncodedPayload)["aud"].Should().Be($"[\"{Sample.OrdersUri}\",\"{Sample.CatalogUri}\"]");
        JsonObject(new JsonWebToken(one).EncodedPayload)["aud"].Should().Be(Sample.OrdersUri);
    }

    [Theory]
    [InlineData("", "catalog.search catalog.read")]
    [InlineData("&scope=", "catalog.search catalog.read")]
    [InlineData("&scope=catalog.read", "catalog.read")]
    [InlineData("&scope=catalog.read+catalog.search", "catalog.read catalog.search")]
    [InlineData("&scope=catalog.read%20catalog.read", "catalog.read")]
    [InlineData("&resource=https%3A%2F%2Fcatalog.example.com", "catalog.search catalog.read")]
    [InlineData("&resource=https%3A%2F%2Fcatalog.example.com&resource=https%3A%2F%2Fcatalog.example.com", "catalog.search catalog.read")]
    [InlineData("&unknown=parameter", "catalog.search catalog.read")]
    [InlineData("&client_id=reporting-job", "catalog.search catalog.read")]
    [InlineData("&client_secret=", "catalog.search catalog.read")]
    public async Task Grants_the_scopes_asked_for(string parameters, string scope)
    {
        await using var service = await RunningService.Start();

        var answer = await service.Token(Grant + parameters, $"{Sample.Job}:{Sample.JobSecret}");

        answer.Status.Should().Be(200, answer.Body);
        answer.Json.GetProperty("scope").GetString().Should().Be(scope);
        new JsonWebToken(answer.AccessToken).GetClaim("scope").Value.Should().Be(scope);
    }

    [Fact]
    public async Task Resource_narrows_what_scope_asks_for()
    {
        await using var service = await RunningService.Start();

        var answer = await service.Token(
            $"{Grant}&scope=catalog.read+orders.read&resource={Uri.EscapeDataString(Sample.CatalogUri)}", $"{Sample.Wide}:{Sample.WideSecret}");

        answer.Json.GetProperty("scope").GetString().Should().Be("catalog.read");
    }

    [Theory]
    [InlineData("Content-Type", "application/x-www-form-urlencoded;charset=UTF-8")]
    [InlineData("Content-Type", "Application/X-WWW-Form-Urlencoded")]
    [InlineData("Content-Type", "application/x-www-form-urlencoded; charset=\"utf-8\"")]
    public async Task Takes_a_form_however_its_type_is_written(string header, string value)
    {
        await using var service = await RunningService.Start();
        var form = RunningService.Form(Grant);
        form.Headers.Remove(header);
        form.Headers.TryAddWithoutValidation(header, value);

        var answer = await service.Send(
            new HttpRequestMessage(HttpMethod.Post, "/oauth2/token") { Content = form }, $"{Sample.Job}:{Sample.JobSecret}");

        answer.Status.Should().Be(200, answer.Body);
    }

    // Half of the client libraries form-encode the two halves of Basic credentials (RFC 6749 §2.3.1), half do not.
    [Theory]
    [InlineData("id with space", "p%a+s/s=w:ö√")]
    [InlineData("https://example.com/job", "plain")]
    [InlineData("a+b", "100%25")]
    public async Task Reads_Basic_credentials_form_encoded_and_as_they_stand(string id, string secret)
    {
        var file = $$"""
            { "resources": [ { "resource": "urn:r", "scopes": [ { "name": "s" } ] } ],
              "clients": [ { "client_id": "{{id}}", "client_secret": "{{secret}}", "scope": "s" } ] }
            """;
        await using var service = await RunningService.Start(folder: null, clock: null, file);

        var encoded = await service.Token(Grant, $"{Encode(id)}:{Encode(secret)}");
        encoded.Status.Should().Be(200, encoded.Body);

        // With a colon in the id, only the encoded form says where it ends.
        if (!id.Contains(':', StringComparison.Ordinal))
        {
            var asItStands = await service.Token(Grant, $"{id}:{secret}");
            asItStands.Status.Should().Be(200, asItStands.Body);
        }

        static string Encode(string text) => Uri.EscapeDataString(text).Replace("%20", "+", StringComparison.Ordinal);
    }

    [Fact]
    public async Task Each_of_several_secrets_is_good_until_it_expires()
    {
        var clock = new FakeTimeProvider(DateTimeOffset.FromUnixTimeSeconds(1_800_000_000));
        var file = $$"""
            { "resources": [ { "resource": "urn:r", "scopes": [ { "name": "s" } ] } ],
              "clients": [
                { "client_id": "two", "client_secret": ["first-secret", "second-secret"], "scope": "s" },
                { "client_id": "hashes", "scope": "s", "client_secret_hash": [
                    { "hash": "{{Hash("old-secret")}}", "expires_at": 1800000060 }, "{{Hash("new-secret")}}" ] },
                { "client_id": "single", "scope": "s", "client_secret": "only-secret", "client_secret_expires_at": 1800000060 } ] }
            """;
        await using var service = await RunningService.Start(folder: null, clock, file);

        (await Statuses()).Should().Equal(200, 200, 200, 200, 200);

        clock.Advance(TimeSpan.FromSeconds(59.999));
        (await Statuses()).Should().Equal(200, 200, 200, 200, 200);

        clock.Advance(TimeSpan.FromMilliseconds(1));
        (await Statuses()).Should().Equal(200, 200, 401, 200, 401);

        async Task<List<int>> Statuses()
        {
            var statuses = new List<int>();
            foreach (var pair in (string[])["two:first-secret", "two:second-secret", "hashes:old-secret", "hashes:new-secret", "single:only-secret"])
            {
                statuses.Add((await service.Token(Grant, pair)).Status);
            }

            return statuses;
        }

        static string Hash(string secret)
            => "sha256:" + Base64UrlEncoder.Encode(System.Security.Cryptography.SHA256.HashData(Encoding.UTF8.GetBytes(secret)));
    }

    [Fact]
    public async Task Two_hundred_requests_at_once_each_get_their_own_answer()
    {
        await using var service = await RunningService.Start("--TokenService:RateLimit:FailuresPerMinute=0");
        (string Form, string? Basic, int Status, string ScopeOrError)[] kinds =
        [
            (Grant, $"{Sample.Job}:{Sample.JobSecret}", 200, "catalog.search catalog.read"),
            ($"{Grant}&scope=catalog.read", $"{Sample.Job}:{Sample.JobSecret}", 200, "catalog.read"),
            ($"{Grant}&client_id={Sample.FormJob}&client_secret={Sample.FormSecret}", null, 200, "catalog.search"),
            (Grant, $"{Sample.Job}:{Sample.FormSecret}", 401, "invalid_client"),
            ("grant_type=password", $"{Sample.Job}:{Sample.JobSecret}", 400, "unsupported_grant_type"),
            ($"{Grant}&scope=orders.read", $"{Sample.Job}:{Sample.JobSecret}", 400, "invalid_scope"),
            (Grant, $"{Sample.Wide}:{Sample.WideSecret}", 200, "orders.read catalog.read"),
            ($"{Grant}&scope=%zz", $"{Sample.Wide}:{Sample.WideSecret}", 400, "invalid_request"),
        ];

        var answers = await Task.WhenAll(Enumerable.Range(0, 200).Select(async i =>
        {
            var kind = kinds[i % kinds.Length];
            return (Kind: kind, Answer: await service.Token(kind.Form, kind.Basic));
        }));

        foreach (var (kind, answer) in answers)
        {
            answer.Status.Should().Be(kind.Status, answer.Body);
            if (kind.Status != 200)
            {
                answer.Error.Should().Be(kind.ScopeOrError);
            }
            else
            {
                answer.Json.GetProperty("scope").GetString().Should().Be(kind.ScopeOrError);
                var token = new JsonWebToken(answer.AccessToken);
                token.GetClaim("scope").Value.Should().Be(kind.ScopeOrError);
                token.Subject.Should().Be(kind.Basic?.Split(':')[0] ?? Sample.FormJob);
            }
        }

        answers.Where(pair => pair.Answer.Status == 200).Select(pair => new JsonWebToken(pair.Answer.AccessToken).Id).Should().OnlyHaveUniqueItems();
    }

    [Fact]
    public async Task An_issuer_with_a_path_has_its_endpoints_under_that_path()
    {
        await using var service = await RunningService.Start("--TokenService:Issuer=http://127.0.0.1:9/tenant");

        var answer = await service.Token(Grant, $"{Sample.Job}:{Sample.JobSecret}", "/tenant/oauth2/token");

        answer.Status.Should().Be(200);
        new JsonWebToken(answer.AccessToken).Issuer.Should().Be("http://127.0.0.1:9/tenant");
        (await service.Http.PostAsync(new Uri("/oauth2/token", UriKind.Relative), null)).StatusCode.Should().Be(System.Net.HttpStatusCode.NotFound);
    }

    private static Dictionary<string, string> JsonObject(string encoded)
        => System.Text.Json.JsonDocument.Parse(Base64UrlEncoder.Decode(encoded)).RootElement.EnumerateObject()
            .ToDictionary(member => member.Name, member => member.Value.ToString());
}
