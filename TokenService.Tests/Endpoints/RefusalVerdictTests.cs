using System;
using System.Collections.Generic;
using System.Linq;
using System.Net.Http;
using System.Net.Http.Headers;
using System.Text;
using System.Threading.Tasks;
using FluentAssertions;
using Microsoft.Extensions.Time.Testing;
using TokenService.Operations;
using TokenService.Storage;
using TokenService.Tests.Operations;
using TokenService.Tests.Support;
using Xunit;
using static TokenService.Tests.Support.AssertionClients;

namespace TokenService.Tests.Endpoints;

/// <summary>For each way to break a request, what the operator is told of it: which check failed, what was expected, what came.</summary>
public sealed class RefusalVerdictTests(RefusalVerdictTests.Fixture fixture) : IClassFixture<RefusalVerdictTests.Fixture>
{
    private const string Grant = "grant_type=client_credentials";
    private const string JobRight = $"{Sample.Job}:{Sample.JobSecret}";
    private const string OldSecret = "old-secret-0123456789abcdef0123456789";
    private const string BasicForm = "Basic and, in base64, client id and secret in UTF-8 with a colon between them";
    private const string JwsForm = "it must be a signed JWT in compact form, three parts with two dots between them; an encrypted one (JWE) is not accepted";
    private const string AudienceRule = $"aud must be the issuer, {Issuer}, as its only value";
    private const string TypeRule = $"client_assertion_type must be {AssertionDraft.JwtBearer}, or {AssertionDraft.JwtSpiffe} for a JWT-SVID";

    private static readonly ClientKeyPair s_stranger = ClientKeyPair.OfRsa();

    private static readonly Dictionary<string, (HttpRequestMessage Request, Verdict Verdict)> s_broken = new()
    {
        // The request as such.
        ["another method"] = (new(HttpMethod.Get, "/oauth2/token"), new(405, "invalid_request", "method", "POST", "\"GET\"")),
        ["JSON"] = (Typed("{}", "application/json"), new(400, "invalid_request", "Content-Type", "application/x-www-form-urlencoded, in UTF-8", "\"application/json\"")),
        ["a form in another charset"] = (Typed(Grant, "application/x-www-form-urlencoded; charset=iso-8859-1"), new(400, "invalid_request", "Content-Type", "application/x-www-form-urlencoded, in UTF-8", "\"application/x-www-form-urlencoded; charset=iso-8859-1\"")),
        ["no Content-Type"] = (Typed(Grant, null), new(400, "invalid_request", "Content-Type", "application/x-www-form-urlencoded, in UTF-8", "nothing")),
        ["a Content-Type that is none"] = (Typed(Grant, "canary"), new(400, "invalid_request", "Content-Type", "application/x-www-form-urlencoded, in UTF-8", "something that is no media type")),
        ["a secret in the URL"] = (Form(Grant, path: "/oauth2/token?client_secret=canary"), new(400, "invalid_request", "query", "credentials in the form or header", "client_secret in the URL")),
        ["a malformed query"] = (Form(Grant, path: "/oauth2/token?a=%ff"), new(400, "invalid_request", "query", "all parameters in the form, none in the URL", "a malformed query")),
        ["a large body"] = (Form("a=" + new string('x', 65_600)), new(413, "invalid_request", "body", "at most 65536 bytes", "a larger body")),
        ["a malformed form"] = (Form("client_secret=canary%zz"), new(400, "invalid_request", "form", "a well-formed form of at most 64 parameters", "The form is malformed: a '%' without two hexadecimal digits, bytes that are not UTF-8, or a bare control character")),
        ["too many parameters"] = (Form(string.Join('&', Enumerable.Range(0, 65).Select(i => $"p{i}=x"))), new(400, "invalid_request", "form", "a well-formed form of at most 64 parameters", "The form has more than 64 parameters")),
        ["a parameter twice"] = (Form($"{Grant}&scope=a&scope=b"), new(400, "invalid_request", "form", "each parameter once", "scope twice")),
        ["an unknown parameter twice"] = (Form($"{Grant}&canary=a&canary=b"), new(400, "invalid_request", "form", "each parameter once", "an unknown parameter twice")),
        ["no grant_type"] = (Form("scope=a", JobRight), new(400, "invalid_request", "grant_type", "grant_type in the form", "nothing")),
        ["header and secret"] = (Form($"{Grant}&client_id=x&client_secret=canary", JobRight), new(400, "invalid_request", "client_authentication", "one way to authenticate", "an Authorization header and client_secret")),
        ["secret and assertion"] = (Form($"{Grant}&client_id=x&client_secret=canary&client_assertion=canary"), new(400, "invalid_request", "client_authentication", "one way to authenticate", "client_secret and client_assertion")),

        // Secrets.
        ["no credentials"] = (Form(Grant), new(401, "invalid_client", "client_authentication", "a secret or an assertion", "no credentials")),
        ["a client id alone"] = (Form($"{Grant}&client_id={Sample.Job}"), new(401, "invalid_client", "client_authentication", "a secret or an assertion", "no credentials", Sample.Job)),
        ["a secret alone"] = (Form($"{Grant}&client_secret=canary"), new(401, "invalid_client", "client_id", "client_id beside client_secret", "client_secret alone")),
        ["another scheme"] = (Header("Bearer canary"), new(401, "invalid_client", "Authorization", BasicForm, "another scheme")),
        ["Basic that is no base64"] = (Header("Basic canary!"), new(401, "invalid_client", "Authorization", BasicForm, "something that is not base64")),
        ["Basic without a colon"] = (Header("Basic " + Convert.ToBase64String("canary"u8)), new(401, "invalid_client", "Authorization", BasicForm, "base64 of something that is not UTF-8, or has no colon")),
        ["an unknown client"] = (Form(Grant, "nobody:canary"), new(401, "invalid_client", "client_id", "a registered client", "an unknown client id", "nobody")),
        ["a client id that forges a line"] = (Form(Grant, "no\n\u001bbody:canary"), new(401, "invalid_client", "client_id", "a registered client", "an unknown client id", "no\\u000A\\u001Bbody")),
        ["a client id without end"] = (Form(Grant, new string('x', 9_000) + ":canary"), new(401, "invalid_client", "client_id", "a registered client", "an unknown client id", new string('x', 256))),
        ["client id and secret the wrong way round"] = (Form(Grant, $"{Sample.JobSecret}:{Sample.Job}"), new(401, "invalid_client", "client_id", "a registered client", "in the place of the client id what may be a secret or a token, which is not shown")),
        ["a secret alone, as the client id"] = (Form(Grant, "canary0123456789-canary0123456789-canary010:"), new(401, "invalid_client", "client_id", "a registered client", "in the place of the client id what may be a secret or a token, which is not shown")),
        ["a token as the client id"] = (Form($"{Grant}&client_id=eyJhbGciOiJSUzI1NiJ9.canary.canary&client_secret=x"), new(401, "invalid_client", "client_id", "a registered client", "in the place of the client id what may be a secret or a token, which is not shown")),
        ["a wrong secret"] = (Form(Grant, $"{Sample.Job}:canary"), new(401, "invalid_client", "client_secret", "one of its secrets", "a wrong secret", Sample.Job)),
        ["an expired secret"] = (Form(Grant, $"old-job:{OldSecret}"), new(401, "invalid_client", "client_secret", "a secret that has not expired", "a secret that has expired", "old-job")),
        ["a secret of a client with a key"] = (Form(Grant, $"{KeyJob}:canary"), new(401, "invalid_client", "client_secret", "an assertion: it is registered for private_key_jwt", "a wrong secret", KeyJob)),
        ["a Basic client's secret in the form"] = (Form($"{Grant}&client_id={Sample.Job}&client_secret={Sample.JobSecret}"), new(401, "invalid_client", "token_endpoint_auth_method", "client_secret_basic, as registered", "the right secret by client_secret_post", Sample.Job)),
        ["a form client's secret in the header"] = (Form(Grant, $"{Sample.FormJob}:{Sample.FormSecret}"), new(401, "invalid_client", "token_endpoint_auth_method", "client_secret_post, as registered", "the right secret by client_secret_basic", Sample.FormJob)),
        ["a disabled client"] = (Form(Grant, $"off-job:{OldSecret}"), new(401, "invalid_client", "disabled", "a client that is enabled", "the right secret, and is disabled", "off-job")),
        ["another client in the form"] = (Form($"{Grant}&client_id=other", JobRight), new(401, "invalid_client", "client_id", "the same client in the form, or none", "the right secret, and a client_id in the form that names another client: \"other\"", Sample.Job)),

        // Grants, scopes, resources.
        ["another grant"] = (Form("grant_type=password&username=u&password=canary", JobRight), new(400, "unsupported_grant_type", "grant_type", "client_credentials urn:ietf:params:oauth:grant-type:token-exchange", "\"password\"", Sample.Job)),
        ["a grant that is not the client's"] = (Form(Grant, $"{Sample.Introspector}:{Sample.IntrospectorSecret}"), new(400, "unauthorized_client", "grant_types", "a grant that it is registered for: none", "\"client_credentials\"", Sample.Introspector)),
        ["a malformed scope"] = (Form($"{Grant}&scope=a++b", JobRight), new(400, "invalid_scope", "scope", "scope names with single spaces between them", "\"a  b\"", Sample.Job)),
        ["a scope that is not the client's"] = (Form($"{Grant}&scope=catalog.read+orders.read", JobRight), new(400, "invalid_scope", "scope", "scopes that it is registered for: \"catalog.search\", \"catalog.read\"", "\"orders.read\"", Sample.Job)),
        ["a resource that is not the client's"] = (Form($"{Grant}&resource={Sample.OrdersUri}", JobRight), new(400, "invalid_target", "resource", $"resources that it has a scope of: \"{Sample.CatalogUri}\"", $"\"{Sample.OrdersUri}\"", Sample.Job)),
        ["no scope left"] = (Form($"{Grant}&scope=orders.read&resource={Sample.CatalogUri}", $"{Sample.Wide}:{Sample.WideSecret}"), new(400, "invalid_scope", "resource", $"the resources of the scopes asked for: \"{Sample.OrdersUri}\"", $"\"{Sample.CatalogUri}\"", Sample.Wide)),

        // Assertions.
        ["no assertion type"] = (Form($"{Grant}&client_id=x&client_assertion=canary"), new(401, "invalid_client", "client_assertion_type", TypeRule, "nothing", "x")),
        ["another assertion type"] = (Form(AssertionDraft.Form("canary", "saml")), new(401, "invalid_client", "client_assertion_type", TypeRule, "\"saml\"")),
        ["an assertion type alone"] = (Form($"{Grant}&client_assertion_type={AssertionDraft.JwtBearer}"), new(401, "invalid_client", "client_assertion", "client_assertion must stand beside client_assertion_type", "nothing")),
        ["no JWT"] = (Asserted("canary"), new(401, "invalid_client", "client_assertion", JwsForm, "0 dots")),
        ["a JWT without signature"] = (Asserted(Draft().WithHeader("alg", "none").Signed(_ => [])), new(401, "invalid_client", "client_assertion", "it must be signed", "no signature")),
        ["alg none"] = (Asserted(Draft().WithHeader("alg", "none").Signed(_ => [1])), new(401, "invalid_client", "alg", $"alg must be one of {string.Join(", ", TokenService.Protocol.AssertionAlgorithms.All)}", "\"none\"", KeyJob)),
        ["the token endpoint as aud"] = (Asserted(Draft(audience: $"{Issuer}/oauth2/token").SignedBy(Rsa)), new(401, "invalid_client", "aud", AudienceRule, $"\"{Issuer}/oauth2/token\"", KeyJob)),
        ["two audiences"] = (Asserted(Draft().With("aud", new System.Text.Json.Nodes.JsonArray(Issuer, "x")).SignedBy(Rsa)), new(401, "invalid_client", "aud", AudienceRule, $"\"[\\u0022{Issuer}\\u0022,\\u0022x\\u0022]\"", KeyJob)),
        ["an expired assertion"] = (Asserted(Draft().With("exp", 1_799_999_940).SignedBy(Rsa)), new(401, "invalid_client", "exp", "exp must not be past: the assertion has expired", "1799999940, 60 seconds past", KeyJob)),
        ["an assertion for an hour"] = (Asserted(Draft().With("exp", 1_800_003_600).SignedBy(Rsa)), new(401, "invalid_client", "exp", "exp must be at most 10 minutes ahead", "1800003600, 3600 seconds ahead", KeyJob)),
        ["iat from a fast clock"] = (Asserted(Draft().With("iat", 1_800_000_120).SignedBy(Rsa)), new(401, "invalid_client", "iat", "iat must not be in the future: check the clock of the client", "1800000120, 120 seconds ahead", KeyJob)),
        ["no jti"] = (Asserted(Draft().Without("jti").SignedBy(Rsa)), new(401, "invalid_client", "jti", "jti must be a text of 1 to 256 characters, another one for each assertion", "nothing", KeyJob)),
        ["iss that is not sub"] = (Asserted(Draft().With("iss", "x").SignedBy(Rsa)), new(401, "invalid_client", "iss", "iss and sub must be the same: the client id", $"iss \"x\", sub \"{KeyJob}\"", KeyJob)),
        ["client_id beside an assertion of another"] = (Asserted(Draft().SignedBy(Rsa), "&client_id=x"), new(401, "invalid_client", "client_id", "client_id in the form must be the client of the assertion, or left out", "client_id \"x\"", KeyJob)),
        ["an assertion of an unknown client"] = (Asserted(Draft("nobody").SignedBy(Rsa)), new(401, "invalid_client", "client_id", "a registered client", "an unknown client id", "nobody")),
        ["an unknown kid"] = (Asserted(Draft().WithHeader("kid", "9").SignedBy(Rsa)), new(401, "invalid_client", "kid", "the kid of one of its keys: \"1\"", "an assertion with kid \"9\"", KeyJob)),
        ["a stranger's signature"] = (Asserted(Draft().SignedBy(s_stranger)), new(401, "invalid_client", "signature", "an assertion that is signed by its key", "an assertion that its key did not sign, or that was changed on the way", KeyJob)),
        ["the alg of another key"] = (Asserted(Draft().SignedBy(P256, "ES256")), new(401, "invalid_client", "alg", "what its key is for: RS256, RS384, RS512, PS256, PS384, PS512", "an assertion with alg ES256", KeyJob)),
        ["an HMAC for a client with a key"] = (Asserted(Draft().SignedWith("canary")), new(401, "invalid_client", "alg", "one that goes with private_key_jwt: RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512", "an assertion with alg HS256", KeyJob)),
        ["another alg than the registered one"] = (Asserted(Draft(PsJob).WithoutHeader("kid").SignedBy(Rsa)), new(401, "invalid_client", "alg", "PS256, as registered (token_endpoint_auth_signing_alg)", "an assertion with alg RS256", PsJob)),
        ["an HMAC with a wrong secret"] = (Asserted(Draft(MacJob).SignedWith("canary")), new(401, "invalid_client", "signature", "an assertion that is signed with its secret", "an assertion that was not signed with its secret, or was changed on the way", MacJob)),
        ["an assertion of a client with a secret"] = (Asserted(Draft(Sample.Job).SignedBy(Rsa)), new(401, "invalid_client", "token_endpoint_auth_method", "client_secret_basic, as registered", "an assertion", Sample.Job)),
        ["keys that cannot be fetched"] = (Asserted(Draft("uri-job").SignedBy(Rsa)), new(503, "temporarily_unavailable", "jwks_uri", "keys that can be fetched", "an assertion, and its keys could not be fetched yet; the log says why", "uri-job")),
    };

    public static TheoryData<string> Broken() => [.. s_broken.Keys];

    [Theory]
    [MemberData(nameof(Broken))]
    public async Task The_operator_is_told_which_check_failed_what_was_expected_and_what_came(string name)
    {
        var (request, verdict) = s_broken[name];

        var answer = await fixture.Service.Send(request);

        (answer.Status, answer.Error).Should().Be((verdict.Status, verdict.Error), answer.Body);
        var kept = await fixture.Find(answer);
        (kept.Error, kept.Failed.Name, kept.Failed.Expected, kept.Failed.Came, kept.ClientId)
            .Should().Be((verdict.Error, verdict.Check, verdict.Expected, verdict.Came, verdict.ClientId));
        (kept.Endpoint, kept.Address, kept.Time).Should().Be(("/oauth2/token", "127.0.0.1", Now));
    }

    [Fact]
    public void The_table_has_at_least_40_cases() => s_broken.Should().HaveCountGreaterThanOrEqualTo(40);

    [Theory]
    [InlineData("/oauth2/introspect", "token=canary", Sample.Job, Sample.JobSecret, "introspection")]
    [InlineData("/oauth2/introspect", "", Sample.Job, Sample.JobSecret, "token")]
    [InlineData("/oauth2/introspect", "token=canary", Sample.Job, "canary", "client_secret")]
    [InlineData("/oauth2/revoke", "", Sample.Job, Sample.JobSecret, "token")]
    [InlineData("/oauth2/revoke", "token=canary", "unknown", "canary", "client_id")]
    public async Task The_operator_is_told_the_same_of_the_other_endpoints(string path, string form, string clientId, string secret, string check)
    {
        var answer = await fixture.Service.Token(form, $"{clientId}:{secret}", path);

        answer.Status.Should().BeOneOf(400, 401, 403);
        var kept = await fixture.Find(answer);
        (kept.Endpoint, kept.Error, kept.Failed.Name).Should().Be((path, answer.Error!, check));
    }

    [Fact]
    public async Task An_assertion_that_was_used_before_is_named_as_that()
    {
        var assertion = Draft().SignedBy(Rsa);
        (await fixture.Service.Send(assertion)).Status.Should().Be(200);

        var kept = await fixture.Find(await fixture.Service.Send(assertion));

        (kept.Failed.Name, kept.Failed.Came).Should().Be(("jti", "an assertion that was used before"));
    }

    [Fact]
    public async Task Whoever_is_slowed_down_is_kept_with_the_check_that_fails_all_the_time()
    {
        using var folder = new TemporaryFolder();
        await using var service = await RunningService.Start(folder, null, Sample.File, "--TokenService:RateLimit:FailuresPerMinute=1");
        await service.Token(Grant, $"{Sample.Job}:canary");

        var answer = await service.Token(Grant, $"{Sample.Job}:canary");

        answer.Error.Should().Be("slow_down");
        var kept = await Find(folder, answer);
        (kept.Error, kept.Failed.Name, kept.Failed.Came).Should().Be(("slow_down", "client_secret", "a wrong secret"));
    }

    [Fact]
    public async Task Nothing_secret_is_kept_of_any_of_them()
    {
        foreach (var form in (string[])[$"{Grant}&client_id=x&client_secret=canary-1", AssertionDraft.Form("canary-2.canary-3.canary-4"), "client_secret=canary-5&client_secret=canary-6"])
        {
            await fixture.Find(await fixture.Service.Token(form));
        }

        // Of the form that is generated, or a token, in the place of something else.
        const string generated = "canary0123456789-canary0123456789-canary010";
        foreach (var form in (string[])
        [
            $"client_id={generated}", "client_id=eyJcanary.canary.canary", $"client_id=x+{generated}&client_secret=1", $"client_id={generated}&client_assertion=x",
            $"client_id=a:{generated}", $"client_assertion=eyJcanary.canary.canary&client_assertion_type={generated}",
        ])
        {
            await fixture.Find(await fixture.Service.Token($"{Grant}&{form}"));
        }

        foreach (var form in (string[])[$"client_id={generated}", $"scope={generated}", "scope=eyJcanary.canary.canary", $"resource=https://x/?access_token=eyJcanary.canary.canary"])
        {
            await fixture.Find(await fixture.Service.Token($"{Grant}&{form}", JobRight));
        }

        await fixture.Find(await fixture.Service.Token(Grant, $"{Sample.Job}:canary-7"));
        var texts = fixture.Sql("SELECT trace_id || endpoint || address || COALESCE(client_id, '') || error || failed_check || expected || came FROM refusals");
        texts.Should().HaveCountGreaterThanOrEqualTo(4).And.OnlyContain(text => text.All(c => (c >= ' ' && c <= '~') || c == '…'));
        string[] secrets = ["canary", "eyJ", Sample.JobSecret, Sample.FormSecret, Sample.WideSecret, Sample.IntrospectorSecret, MacSecret, OldSecret];
        foreach (var secret in secrets)
        {
            texts.Should().NotContain(text => text.Contains(secret, StringComparison.Ordinal), secret);
        }
    }

    [Theory]
    [InlineData("basic")]
    [InlineData("post")]
    [InlineData("assertion")]
    public async Task An_unknown_client_and_a_wrong_proof_are_answered_byte_for_byte_alike(string way)
    {
        var known = way switch { "basic" => Sample.Job, "post" => Sample.FormJob, _ => KeyJob };
        var wrong = await Raw(known);
        var unknown = await Raw(new string('x', known.Length));

        wrong.Should().StartWith("HTTP/1.1 401 Unauthorized\r\n").And.Contain("\"error\":\"invalid_client\"").And.Contain("TRACE");
        unknown.Should().Be(wrong);

        async Task<string> Raw(string clientId)
        {
            var (header, form) = way switch
            {
                "basic" => ($"Authorization: Basic {Convert.ToBase64String(Encoding.UTF8.GetBytes($"{clientId}:wrong"))}\r\n", Grant),
                "post" => ("", $"{Grant}&client_id={clientId}&client_secret=wrong"),
                _ => ("", AssertionDraft.Form(Draft(clientId).SignedBy(s_stranger))),
            };
            var answer = await RawHttp.Send(
                fixture.Service.Url,
                $"POST /oauth2/token HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{header}Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {form.Length}\r\n\r\n{form}");
            var masked = System.Text.RegularExpressions.Regex.Replace(answer, "\"trace_id\":\"[0-9a-f]{32}\"", "TRACE");
            return System.Text.RegularExpressions.Regex.Replace(masked, "Date: [^\r]*", "DATE");
        }
    }

    internal static async Task<Refusal> Find(TemporaryFolder folder, Answer answer)
    {
        using var store = Store.Open(SettingsTests.Read(folder.Path));
        var traceId = answer.Json.GetProperty("trace_id").GetString()!;
        for (var i = 0; i < 200; i++)
        {
            if (store.FindRefusals(traceId) is [var only])
            {
                return only;
            }

            await Task.Delay(50);
        }

        throw new TimeoutException("The refusal is not in the store: " + answer.Body);
    }

    private static HttpRequestMessage Form(string form, string? basic = null, string path = "/oauth2/token")
    {
        var request = new HttpRequestMessage(HttpMethod.Post, path) { Content = RunningService.Form(form) };
        if (basic is not null)
        {
            request.Headers.Authorization = new AuthenticationHeaderValue("Basic", Convert.ToBase64String(Encoding.UTF8.GetBytes(basic)));
        }

        return request;
    }

    private static HttpRequestMessage Asserted(string assertion, string extra = "") => Form(AssertionDraft.Form(assertion) + extra);

    private static HttpRequestMessage Header(string authorization)
    {
        var request = Form(Grant);
        request.Headers.TryAddWithoutValidation("Authorization", authorization);
        return request;
    }

    private static HttpRequestMessage Typed(string body, string? type)
    {
        var content = new ByteArrayContent(Encoding.UTF8.GetBytes(body));
        if (type is not null)
        {
            content.Headers.TryAddWithoutValidation("Content-Type", type);
        }

        return new(HttpMethod.Post, "/oauth2/token") { Content = content };
    }

    private sealed record Verdict(int Status, string Error, string Check, string Expected, string Came, string? ClientId = null);

    public sealed class Fixture : IAsyncLifetime, IDisposable
    {
        private readonly TemporaryFolder _folder = new();

        internal RunningService Service { get; private set; } = null!;

        public async Task InitializeAsync()
        {
            var hash = $"sha256:{Microsoft.IdentityModel.Tokens.Base64UrlEncoder.Encode(System.Security.Cryptography.SHA256.HashData(Encoding.UTF8.GetBytes(OldSecret)))}";
            var file = Sample.File.Replace(
                "\"clients\": [",
                $$"""
                "clients": [
                { "client_id": "old-job", "client_secret_hash": "{{hash}}", "client_secret_expires_at": 1800000000, "scope": "catalog.read" },
                { "client_id": "off-job", "client_secret": "{{OldSecret}}", "scope": "catalog.read" },
                { "client_id": "uri-job", "token_endpoint_auth_method": "private_key_jwt", "jwks_uri": "http://127.0.0.1:1/jwks.json", "scope": "catalog.read" },
                { "client_id": "{{MacJob}}", "token_endpoint_auth_method": "client_secret_jwt", "client_secret": "{{MacSecret}}", "scope": "catalog.read" },
                { "client_id": "{{PsJob}}", "token_endpoint_auth_method": "private_key_jwt", "token_endpoint_auth_signing_alg": "PS256",
                  "scope": "catalog.read", "jwks": {{ClientKeyPair.Set(Rsa.Jwk(null))}} },
                { "client_id": "{{KeyJob}}", "token_endpoint_auth_method": "private_key_jwt", "scope": "catalog.read", "jwks": {{ClientKeyPair.Set(Rsa.Jwk("1"))}} },
                """,
                StringComparison.Ordinal);
            Service = await RunningService.Start(
                _folder, new FakeTimeProvider(Now), file, $"--TokenService:Issuer={Issuer}", "--TokenService:RateLimit:FailuresPerMinute=0");
            TokenEndpointRefusalTests.Disable(_folder, "off-job");
            await Service.Refresh();
        }

        public async Task DisposeAsync() => await Service.DisposeAsync();

        public void Dispose() => _folder.Dispose();

        internal Task<Refusal> Find(Answer answer) => RefusalVerdictTests.Find(_folder, answer);

        internal List<string> Sql(string sql) => StoreFile.Texts(_folder, sql);
    }
}
