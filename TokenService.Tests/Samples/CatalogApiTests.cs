using System;
using System.Collections.Generic;
using System.Net.Http;
using System.Net.Http.Headers;
using System.Security.Cryptography;
using System.Text;
using System.Threading.Tasks;
using FluentAssertions;
using Microsoft.Extensions.Time.Testing;
using Microsoft.IdentityModel.JsonWebTokens;
using Microsoft.IdentityModel.Tokens;
using TokenService.Tests.Support;
using Xunit;

namespace TokenService.Tests.Samples;

/// <summary>The sample API, a stock JwtBearer resource server in a process of its own, against the real service.</summary>
public sealed class CatalogApiTests(CatalogApiTests.Fixture fixture) : IClassFixture<CatalogApiTests.Fixture>
{
    [Fact]
    public async Task A_token_with_the_scope_is_accepted()
    {
        var token = await fixture.Token();

        var found = await Get("/documents?q=tokens", token);
        (found.Status, found.Body).Should().Be((200, """[{"id":2,"title":"Tokens for Machines"}]"""));
        (await Get("/documents/3", token)).Status.Should().Be(200);
        (await Get("/documents/99", token)).Status.Should().Be(404);
    }

    [Fact]
    public async Task No_token_is_refused() => Refused(await Get("/documents", null), 401, "Bearer");

    [Fact]
    public async Task Each_refusal_names_where_the_metadata_of_the_resource_is()
    {
        const string metadata = $"resource_metadata=\"{Sample.CatalogUri}/.well-known/oauth-protected-resource\"";

        Challenge(await Get("/documents", null)).Should().Be($"Bearer {metadata}");
        Challenge(await Get("/documents", "garbage")).Should().MatchRegex($"^Bearer error=\"invalid_token\", (error_description=\"[^\"]*\", )?{metadata}$");
        Challenge(await Get("/documents", fixture.ExpiredToken)).Should().MatchRegex($"^Bearer error=\"invalid_token\", error_description=\"[^\"]*\", {metadata}$");
        Challenge(await Get("/documents/3", await fixture.Token("&scope=catalog.search")))
            .Should().Be($"Bearer error=\"insufficient_scope\", scope=\"catalog.read\", {metadata}");

        static string Challenge(Answer answer) => answer.Response.Headers.GetValues("WWW-Authenticate").Should().ContainSingle().Subject;
    }

    [Fact]
    public async Task The_metadata_says_to_everybody_which_resource_it_is_and_who_issues_its_tokens()
    {
        var answer = await Get("/.well-known/oauth-protected-resource", null);

        (answer.Status, answer.Response.Content.Headers.ContentType!.MediaType).Should().Be((200, "application/json"));
        answer.Body.Should().Be(
            $$"""{"resource":"{{Sample.CatalogUri}}","authorization_servers":["{{fixture.Service.Url.ToString().TrimEnd('/')}}"],"scopes_supported":["catalog.search","catalog.read"],"bearer_methods_supported":["header"]}""");
        (await Get("/.well-known/oauth-protected-resource", "garbage")).Status.Should().Be(200);
        (await Get("/.well-known/oauth-protected-resource/other", null)).Status.Should().Be(404);
    }

    [Fact]
    public async Task The_metadata_of_a_resource_with_a_path_has_the_well_known_part_before_it()
    {
        var api = new Uri($"http://127.0.0.1:{RunningProgram.FreePort()}");
        await using var program = await fixture.StartApi(api, "--Audience=https://api.example.com/catalog/v1");

        var refused = await Get("/documents", null, api);

        const string path = "/.well-known/oauth-protected-resource/catalog/v1";
        refused.Response.Headers.WwwAuthenticate.ToString().Should().Be($"Bearer resource_metadata=\"https://api.example.com{path}\"");
        (await Get(path, null, api)).Json.GetProperty("resource").GetString().Should().Be("https://api.example.com/catalog/v1");
        (await Get("/.well-known/oauth-protected-resource", null, api)).Status.Should().Be(404);
    }

    [Fact]
    public async Task A_token_without_the_scope_is_refused_as_insufficient_scope()
    {
        var token = await fixture.Token("&scope=catalog.search");

        (await Get("/documents", token)).Status.Should().Be(200);
        Refused(await Get("/documents/3", token), 403, "Bearer error=\"insufficient_scope\", scope=\"catalog.read\"");
    }

    [Fact]
    public async Task An_expired_token_is_refused()
        => Refused(await Get("/documents", fixture.ExpiredToken), 401, "Bearer error=\"invalid_token\"");

    [Fact]
    public async Task A_token_for_another_resource_is_refused()
    {
        var token = (await fixture.Service.Token(
            $"grant_type=client_credentials&resource={Uri.EscapeDataString(Sample.OrdersUri)}", $"{Sample.Wide}:{Sample.WideSecret}")).AccessToken;

        Refused(await Get("/documents", token), 401, "Bearer error=\"invalid_token\"");
    }

    [Fact]
    public async Task A_token_for_several_resources_is_accepted_where_this_is_one_of_them()
    {
        var token = (await fixture.Service.Token("grant_type=client_credentials", $"{Sample.Wide}:{Sample.WideSecret}")).AccessToken;

        (await Get("/documents/1", token)).Status.Should().Be(200);
    }

    [Fact]
    public async Task A_token_of_another_issuer_is_refused()
    {
        await using var other = await RunningService.Start();
        var token = (await other.Token("grant_type=client_credentials", $"{Sample.Job}:{Sample.JobSecret}")).AccessToken;

        Refused(await Get("/documents", token), 401, "Bearer error=\"invalid_token\"");
    }

    [Fact]
    public async Task A_token_that_another_key_signed_is_refused_even_under_the_right_key_identifier()
    {
        var right = new JsonWebToken(await fixture.Token());
        using var rsa = RSA.Create(2048);
        var key = new RsaSecurityKey(rsa) { KeyId = right.Kid };

        var forged = Sign(right, new SigningCredentials(key, "RS256"), "at+jwt");

        Refused(await Get("/documents", forged), 401, "Bearer error=\"invalid_token\"");
    }

    [Fact]
    public async Task A_token_of_another_type_is_refused_even_with_the_right_signature()
    {
        var right = new JsonWebToken(await fixture.Token());
        var credentials = fixture.Service.Store.Current.Keys.SigningAt(DateTimeOffset.UtcNow).Credentials;

        (await Get("/documents", Sign(right, credentials, "at+jwt"))).Status.Should().Be(200, "the forger must be able to forge");
        Refused(await Get("/documents", Sign(right, credentials, "JWT")), 401, "Bearer error=\"invalid_token\"");
    }

    [Theory]
    [InlineData("none")]
    [InlineData("None")]
    [InlineData("nOnE")]
    public async Task An_unsigned_token_is_refused(string alg)
    {
        var right = new JsonWebToken(await fixture.Token());
        var header = Base64UrlEncoder.Encode($$"""{"alg":"{{alg}}","kid":"{{right.Kid}}","typ":"at+jwt"}""");

        Refused(await Get("/documents", $"{header}.{right.EncodedPayload}."), 401, "Bearer error=\"invalid_token\"");
        Refused(await Get("/documents", $"{header}.{right.EncodedPayload}.{right.EncodedSignature}"), 401, "Bearer error=\"invalid_token\"");
    }

    [Fact]
    public async Task A_token_signed_with_the_public_key_as_a_shared_secret_is_refused()
    {
        var right = new JsonWebToken(await fixture.Token());
        foreach (var secret in (string[])[fixture.Service.Store.Current.Keys.SigningAt(DateTimeOffset.UtcNow).PublicKey.N!, await fixture.Service.Http.GetStringAsync("/.well-known/jwks.json")])
        {
            var key = new SymmetricSecurityKey(Encoding.UTF8.GetBytes(secret)) { KeyId = right.Kid };

            Refused(await Get("/documents", Sign(right, new SigningCredentials(key, "HS256"), "at+jwt")), 401, "Bearer error=\"invalid_token\"");
        }
    }

    [Fact]
    public async Task A_token_with_one_character_changed_is_refused()
    {
        var token = await fixture.Token();
        var dot = token.IndexOf('.', StringComparison.Ordinal);
        foreach (var at in (int[])[dot + 5, token.LastIndexOf('.') + 5])
        {
            var changed = token[..at] + (token[at] == 'A' ? 'B' : 'A') + token[(at + 1)..];
            Refused(await Get("/documents", changed), 401, "Bearer error=\"invalid_token\"");
        }
    }

    [Fact]
    public async Task A_revoked_token_is_accepted_by_the_API_that_checks_on_its_own_and_refused_by_the_one_that_introspects()
    {
        var (revoked, live) = (await fixture.Token(), await fixture.Token());
        foreach (var api in (Uri[])[fixture.Api, fixture.IntrospectingApi])
        {
            (await Get("/documents", revoked, api)).Status.Should().Be(200);
        }

        (await fixture.Service.Revoke(revoked)).Status.Should().Be(200);

        (await Get("/documents", revoked)).Status.Should().Be(200);
        Refused(await Get("/documents", revoked, fixture.IntrospectingApi), 401, "Bearer error=\"invalid_token\"");
        (await Get("/documents", live, fixture.IntrospectingApi)).Status.Should().Be(200);
    }

    [Fact]
    public async Task The_API_that_introspects_still_checks_all_the_rest()
    {
        Refused(await Get("/documents", null, fixture.IntrospectingApi), 401, "Bearer");
        Refused(await Get("/documents", fixture.ExpiredToken, fixture.IntrospectingApi), 401, "Bearer error=\"invalid_token\"");
        Refused(
            await Get("/documents/3", await fixture.Token("&scope=catalog.search"), fixture.IntrospectingApi), 403, "Bearer error=\"insufficient_scope\"");
        var orders = (await fixture.Service.Token(
            $"grant_type=client_credentials&resource={Uri.EscapeDataString(Sample.OrdersUri)}", $"{Sample.Wide}:{Sample.WideSecret}")).AccessToken;
        Refused(await Get("/documents", orders, fixture.IntrospectingApi), 401, "Bearer error=\"invalid_token\"");
    }

    [Fact]
    public async Task The_API_lets_nobody_in_where_it_may_not_ask()
    {
        var api = new Uri($"http://127.0.0.1:{RunningProgram.FreePort()}");
        await using var program = await fixture.StartApi(
            api, $"--Introspection:ClientId={Sample.Introspector}", "--Introspection:ClientSecret=wrong");

        (await Get("/documents", await fixture.Token(), api)).Status.Should().Be(500);
    }

    [Fact]
    public async Task The_reporting_job_calls_the_API_several_times_with_one_token()
    {
        var finished = await RunningProgram.Run(
            Repository.Built("samples/ReportingJob", "ReportingJob"),
            [],
            null,
            ("TOKEN_ISSUER", fixture.Service.Url.ToString().TrimEnd('/')),
            ("CATALOG_API", fixture.Api.ToString()),
            ("CLIENT_ID", Sample.Job),
            ("CLIENT_SECRET", Sample.JobSecret),
            ("ROUNDS", "4"));

        finished.ExitCode.Should().Be(0, finished.Error);
        finished.Output.Should().Contain("Report 4: [{").And.EndWith("4 reports, 1 token.\n");
    }

    private static string Sign(JsonWebToken like, SigningCredentials credentials, string type)
    {
        var claims = new Dictionary<string, object>();
        foreach (var claim in like.Claims)
        {
            claims[claim.Type] = claim.ValueType == System.Security.Claims.ClaimValueTypes.String ? claim.Value : long.Parse(claim.Value, System.Globalization.CultureInfo.InvariantCulture);
        }

        return new JsonWebTokenHandler { SetDefaultTimesOnTokenCreation = false }
            .CreateToken(new SecurityTokenDescriptor { Claims = claims, SigningCredentials = credentials, TokenType = type });
    }

    private static void Refused(Answer answer, int status, string challenge)
    {
        answer.Status.Should().Be(status);
        answer.Response.Headers.WwwAuthenticate.ToString().Should().StartWith(challenge);
    }

    private async Task<Answer> Get(string path, string? token, Uri? api = null)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, new Uri(api ?? fixture.Api, path));
        request.Headers.Authorization = token is null ? null : new AuthenticationHeaderValue("Bearer", token);
        using var response = await fixture.Http.SendAsync(request);
        return await Answer.Of(response);
    }

    public sealed class Fixture : IAsyncLifetime
    {
        private RunningProgram _api = null!;
        private RunningProgram _introspectingApi = null!;

        internal RunningService Service { get; private set; } = null!;

        internal HttpClient Http { get; } = new();

        internal Uri Api { get; private set; } = null!;

        internal Uri IntrospectingApi { get; private set; } = null!;

        internal string ExpiredToken { get; private set; } = null!;

        internal async Task<string> Token(string parameters = "")
            => (await Service.Token("grant_type=client_credentials" + parameters, $"{Sample.Job}:{Sample.JobSecret}")).AccessToken;

        public async Task InitializeAsync()
        {
            var clock = new FakeTimeProvider(DateTimeOffset.UtcNow.AddHours(-1));
            Service = await RunningService.Start(folder: null, clock, Sample.File);
            ExpiredToken = await Token();
            clock.SetUtcNow(DateTimeOffset.UtcNow);

            Api = new Uri($"http://127.0.0.1:{RunningProgram.FreePort()}");
            _api = await StartApi(Api);
            IntrospectingApi = new Uri($"http://127.0.0.1:{RunningProgram.FreePort()}");
            _introspectingApi = await StartApi(
                IntrospectingApi, $"--Introspection:ClientId={Sample.Introspector}", $"--Introspection:ClientSecret={Sample.IntrospectorSecret}");
        }

        internal Task<RunningProgram> StartApi(Uri api, params string[] settings) => RunningProgram.Start(
            Repository.Built("samples/CatalogApi", "CatalogApi"),
            [
                $"--urls={api}", "--environment=Development", $"--Issuer={Service.Url.ToString().TrimEnd('/')}", $"--Audience={Sample.CatalogUri}",
                .. settings,
            ],
            new Uri(api, "/documents"));

        public async Task DisposeAsync()
        {
            await _api.DisposeAsync();
            await _introspectingApi.DisposeAsync();
            await Service.DisposeAsync();
            Http.Dispose();
        }
    }
}
