using System;
using System.IO;
using System.Linq;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json;
using System.Threading.Tasks;
using FluentAssertions;
using TokenService.Protocol;
using TokenService.Tests.Support;
using Xunit;

namespace TokenService.Tests.Contracts;

/// <summary>What oauth4webapi, openid-client and jose, as they come from their authors, make of the service.</summary>
public sealed class NodeClientTests : IClassFixture<NodePackages>
{
    private const string Basic = "client_secret_basic";
    private const string Post = "client_secret_post";

    private static readonly string[] s_algorithms = ["RS256", "PS256", "ES256"];

    // The modes of client.mjs that get a token by oauth4webapi and by openid-client, and have jose verify it.
    private static readonly string[] s_libraries = ["jose", "openid"];

    [NeedsFact("npm", "apt-get install nodejs npm")]
    public async Task oauth4webapi_discovers_the_service_by_both_well_known_addresses()
    {
        await using var service = await RunningService.Start();
        var issuer = Issuer(service);

        foreach (var algorithm in (string[])["oauth2", "oidc"])
        {
            var metadata = await Get("discover", issuer, algorithm);

            // The library compares URLs, which forgives a slash at the end; the iss of a token must be the same to the letter.
            metadata.GetProperty("issuer").GetString().Should().Be(issuer, algorithm);
            metadata.GetProperty("token_endpoint").GetString().Should().Be(issuer + "/oauth2/token", algorithm);
            metadata.GetProperty("jwks_uri").GetString().Should().Be(issuer + "/.well-known/jwks.json", algorithm);
        }
    }

    [NeedsFact("npm", "apt-get install nodejs npm")]
    public async Task oauth4webapi_gets_a_token_by_client_secret_basic_and_jose_verifies_it()
    {
        foreach (var algorithm in s_algorithms)
        {
            await using var service = await RunningService.Start($"--TokenService:SigningAlgorithm={algorithm}");

            var verified = await Get("jose", Issuer(service), Basic, Sample.Job, Sample.JobSecret, Sample.CatalogUri, algorithm);

            IsTheTokenOf(Sample.Job, "catalog.search catalog.read", 600, algorithm, verified);
        }
    }

    [NeedsFact("npm", "apt-get install nodejs npm")]
    public async Task oauth4webapi_gets_a_token_by_client_secret_post_and_jose_verifies_it()
    {
        foreach (var algorithm in s_algorithms)
        {
            await using var service = await RunningService.Start(
                $"--TokenService:SigningAlgorithm={algorithm}", "--TokenService:AccessTokenLifetime=00:05:00");

            var verified = await Get("jose", Issuer(service), Post, Sample.FormJob, Sample.FormSecret, Sample.CatalogUri, algorithm);

            IsTheTokenOf(Sample.FormJob, "catalog.search", 300, algorithm, verified);
        }
    }

    [NeedsFact("npm", "apt-get install nodejs npm")]
    public async Task oauth4webapi_accepts_the_token_as_RFC_9068_has_it()
    {
        foreach (var algorithm in s_algorithms)
        {
            await using var service = await RunningService.Start($"--TokenService:SigningAlgorithm={algorithm}");

            var claims = await Get("rfc9068", Issuer(service), Basic, Sample.Job, Sample.JobSecret, Sample.CatalogUri, algorithm);

            claims.GetProperty("client_id").GetString().Should().Be(Sample.Job, algorithm);
            claims.GetProperty("aud").GetString().Should().Be(Sample.CatalogUri, algorithm);
        }
    }

    [NeedsFact("npm", "apt-get install nodejs npm")]
    public async Task oauth4webapi_accepts_a_token_for_several_resources_at_each_of_them()
    {
        await using var service = await RunningService.Start();

        foreach (var audience in (string[])[Sample.OrdersUri, Sample.CatalogUri])
        {
            var claims = await Get("rfc9068", Issuer(service), Basic, Sample.Wide, Sample.WideSecret, audience, "RS256");

            claims.GetProperty("aud").EnumerateArray().Select(uri => uri.GetString()).Should().Equal(Sample.OrdersUri, Sample.CatalogUri);
        }
    }

    [NeedsFact("npm", "apt-get install nodejs npm")]
    public async Task oauth4webapi_refuses_the_token_at_a_resource_that_it_is_not_for()
    {
        await using var service = await RunningService.Start();

        var refusal = await Refusal("rfc9068", Issuer(service), Basic, Sample.Job, Sample.JobSecret, Sample.OrdersUri, "RS256");

        refusal.GetProperty("code").GetString().Should().Be("OAUTH_JWT_CLAIM_COMPARISON_FAILED");
        refusal.GetProperty("claim").GetString().Should().Be("aud");
    }

    [NeedsFact("npm", "apt-get install nodejs npm")]
    public async Task oauth4webapi_reports_a_wrong_secret_as_invalid_client_with_a_Basic_challenge()
    {
        await using var service = await RunningService.Start();

        foreach (var (method, id) in ((string, string)[])[(Basic, Sample.Job), (Post, Sample.FormJob)])
        {
            var refusal = await Refusal("jose", Issuer(service), method, id, "another-secret", Sample.CatalogUri, "RS256");

            refusal.GetProperty("name").GetString().Should().Be("WWWAuthenticateChallengeError", method);
            refusal.GetProperty("status").GetInt32().Should().Be(401, method);
            refusal.GetProperty("error").GetString().Should().Be("invalid_client", method);
            refusal.GetProperty("challenges").EnumerateArray().Select(challenge => challenge.GetProperty("scheme").GetString())
                .Should().Equal(["basic"], method);
        }
    }

    // oauth4webapi form-encodes both halves of the Basic credentials; unencoded, the colons in the id would end it.
    [NeedsFact("npm", "apt-get install nodejs npm")]
    public async Task oauth4webapi_gets_a_token_where_id_and_secret_need_encoding()
    {
        const string id = "urn:job:a+b c";
        const string secret = "p%a+s/s=w:ö";
        var file = $$"""
            { "resources": [ { "resource": "urn:r", "scopes": [ { "name": "s" } ] } ],
              "clients": [
                { "client_id": "{{id}}", "client_secret": "{{secret}}", "scope": "s", "access_token_lifetime": 60 },
                { "client_id": "{{id}} post", "client_secret": "{{secret}}", "scope": "s", "access_token_lifetime": 60,
                  "token_endpoint_auth_method": "client_secret_post" } ] }
            """;
        await using var service = await RunningService.Start(folder: null, clock: null, file);

        IsTheTokenOf(id, "s", 60, "RS256", await Get("jose", Issuer(service), Basic, id, secret, "urn:r", "RS256"));
        IsTheTokenOf($"{id} post", "s", 60, "RS256", await Get("jose", Issuer(service), Post, $"{id} post", secret, "urn:r", "RS256"));
    }

    [NeedsFact("npm", "apt-get install nodejs npm")]
    public async Task oauth4webapi_discovers_an_issuer_with_a_path_and_jose_finds_its_keys()
    {
        var url = $"http://127.0.0.1:{RunningProgram.FreePort()}";
        var issuer = url + "/tenant";
        await using var service = await RunningService.Start($"--urls={url}", $"--TokenService:Issuer={issuer}");

        foreach (var algorithm in (string[])["oauth2", "oidc"])
        {
            var metadata = await Get("discover", issuer, algorithm);

            metadata.GetProperty("issuer").GetString().Should().Be(issuer, algorithm);
        }

        var verified = await Get("jose", issuer, Basic, Sample.Job, Sample.JobSecret, Sample.CatalogUri, "RS256");

        IsTheTokenOf(Sample.Job, "catalog.search catalog.read", 600, "RS256", verified);
        verified.GetProperty("claims").GetProperty("iss").GetString().Should().Be(issuer);
    }

    // Their aud is the issuer that they discovered, as its only value.
    [NeedsFact("npm", "apt-get install nodejs npm")]
    public async Task oauth4webapi_and_openid_client_get_a_token_by_private_key_jwt_with_every_algorithm()
    {
        AssertingClient[] clients = [.. AssertionAlgorithms.PrivateKey.Select(algorithm => new AssertingClient(algorithm))];
        await using var service = await RunningService.Start(folder: null, clock: null, AssertingClient.File(clients));

        foreach (var client in clients)
        {
            await GetsATokenByAssertion(service, client);
        }
    }

    [NeedsFact("npm", "apt-get install nodejs npm")]
    public async Task oauth4webapi_and_openid_client_get_a_token_by_client_secret_jwt()
    {
        var client = new AssertingClient("HS256");
        await using var service = await RunningService.Start(folder: null, clock: null, AssertingClient.File(client));

        await GetsATokenByAssertion(service, client);
    }

    [NeedsFact("npm", "apt-get install nodejs npm")]
    public async Task oauth4webapi_and_openid_client_report_an_assertion_by_another_key_as_invalid_client()
    {
        string[] algorithms = [.. s_algorithms, "HS256"];
        await using var service = await RunningService.Start(
            folder: null, clock: null, AssertingClient.File(algorithms.Select(algorithm => new AssertingClient(algorithm))));

        foreach (var algorithm in algorithms)
        {
            var stranger = new AssertingClient(algorithm);
            foreach (var library in s_libraries)
            {
                var refusal = await Refusal(library, Issuer(service), stranger.Method, stranger.Id, stranger.Secret, Sample.CatalogUri, "RS256");

                refusal.GetProperty("name").GetString().Should().Be("WWWAuthenticateChallengeError", "{0} {1}", library, algorithm);
                refusal.GetProperty("status").GetInt32().Should().Be(401, "{0} {1}", library, algorithm);
                refusal.GetProperty("error").GetString().Should().Be("invalid_client", "{0} {1}", library, algorithm);
            }
        }
    }

    [NeedsFact("npm", "apt-get install nodejs npm")]
    public async Task oauth4webapi_introspects_a_token_and_finds_it_inactive_once_its_client_has_revoked_it()
    {
        await using var service = await RunningService.Start();
        var token = (await service.Token("grant_type=client_credentials", $"{Sample.Job}:{Sample.JobSecret}")).AccessToken;
        string[] api = [Issuer(service), Basic, Sample.Introspector, Sample.IntrospectorSecret, token];

        var live = await Get("introspect", api);
        live.GetProperty("active").GetBoolean().Should().BeTrue();
        (live.GetProperty("client_id").GetString(), live.GetProperty("scope").GetString(), live.GetProperty("aud").GetString())
            .Should().Be((Sample.Job, "catalog.search catalog.read", Sample.CatalogUri));

        // Another client's revocation changes nothing, and looks the same to it.
        foreach (var (id, secret, active) in ((string, string, bool)[])[(Sample.Wide, Sample.WideSecret, true), (Sample.Job, Sample.JobSecret, false)])
        {
            var revoked = await Get("revoke", Issuer(service), Basic, id, secret, token);
            revoked.GetProperty("given").ValueKind.Should().Be(JsonValueKind.Null);
            (await Get("introspect", api)).GetProperty("active").GetBoolean().Should().Be(active, id);
        }

        (await Get("introspect", api)).EnumerateObject().Should().ContainSingle();
    }

    [NeedsFact("npm", "apt-get install nodejs npm")]
    public async Task oauth4webapi_introspects_and_revokes_with_every_way_of_authentication()
    {
        AssertingClient[] asserting = [new("RS256"), new("ES256"), new("HS256")];
        await using var service = await RunningService.Start(
            folder: null, clock: null, AssertingClient.File(asserting).Replace("\"scope\"", "\"introspection\": true, \"scope\"", StringComparison.Ordinal));
        foreach (var client in asserting)
        {
            var token = (await Get("jose", Issuer(service), client.Method, client.Id, client.Secret, Sample.CatalogUri, "RS256"))
                .GetProperty("response").GetProperty("access_token").GetString()!;
            string[] args = [Issuer(service), client.Method, client.Id, client.Secret, token];

            (await Get("introspect", args)).GetProperty("active").GetBoolean().Should().BeTrue(client.Method);
            await Get("revoke", args);
            (await Get("introspect", args)).GetProperty("active").GetBoolean().Should().BeFalse(client.Method);
        }
    }

    [NeedsFact("npm", "apt-get install nodejs npm")]
    public async Task oauth4webapi_reports_who_may_not_introspect_and_who_is_not_proved()
    {
        await using var service = await RunningService.Start();

        var notAllowed = await Refusal("introspect", Issuer(service), Basic, Sample.Job, Sample.JobSecret, "whatever");
        (notAllowed.GetProperty("status").GetInt32(), notAllowed.GetProperty("error").GetString()).Should().Be((403, "unauthorized_client"));
        foreach (var mode in (string[])["introspect", "revoke"])
        {
            var notProved = await Refusal(mode, Issuer(service), Basic, Sample.Introspector, "another-secret", "whatever");
            (notProved.GetProperty("status").GetInt32(), notProved.GetProperty("error").GetString()).Should().Be((401, "invalid_client"), mode);
        }
    }

    [NeedsFact("npm", "apt-get install nodejs npm")]
    public async Task oauth4webapi_exchanges_a_token_and_jose_verifies_what_comes_of_it()
    {
        await using var service = await RunningService.Start(folder: null, clock: null, TokenExchanges.File);
        var token = await service.GetToken(TokenQueries.Wide);
        var (id, secret) = (TokenExchanges.Agent.Split(':')[0], TokenExchanges.Agent.Split(':')[1]);

        var verified = await Get("exchange", Issuer(service), Basic, id, secret, token, Sample.OrdersUri, "RS256");

        verified.GetProperty("response").GetProperty("issued_token_type").GetString().Should().Be(TokenExchanges.AccessToken);
        var claims = verified.GetProperty("claims");
        (claims.GetProperty("sub").GetString(), claims.GetProperty("client_id").GetString(), claims.GetProperty("scope").GetString())
            .Should().Be((Sample.Wide, id, "orders.read"));
        claims.GetProperty("act").GetProperty("sub").GetString().Should().Be(id);

        var refusal = await Refusal("exchange", Issuer(service), Basic, id, secret, token, "urn:other", "RS256");
        (refusal.GetProperty("status").GetInt32(), refusal.GetProperty("error").GetString()).Should().Be((400, "invalid_target"));
    }

    [NeedsFact("npm", "apt-get install nodejs npm")]
    public async Task oauth4webapi_gets_a_bound_token_by_its_certificate_at_the_alias()
    {
        var issuer = $"https://127.0.0.1:{RunningProgram.FreePort()}";
        await using var tls = await MutualTlsService.Start(
            null, $"--urls={issuer}", $"--TokenService:Issuer={issuer}", $"--TokenService:Mtls:Url={issuer}");
        var certificate = tls.Root.Issue("CN=x", names => names.AddDnsName("bound.example.com"));
        string[] files =
        [
            tls.Folder.Write("client.crt", certificate.ExportCertificatePem()),
            tls.Folder.Write("client.key", certificate.GetECDsaPrivateKey()!.ExportPkcs8PrivateKeyPem()),
            tls.Folder.File("root.crt"),
        ];

        var claims = await Get("mtls", [issuer, "bound", .. files]);
        claims.GetProperty("cnf").GetProperty("x5t#S256").GetString().Should().Be(
            System.Buffers.Text.Base64Url.EncodeToString(System.Security.Cryptography.SHA256.HashData(certificate.RawData)));
        var refusal = await Refusal("mtls", [issuer, "dns", .. files]);
        (refusal.GetProperty("status").GetInt32(), refusal.GetProperty("error").GetString()).Should().Be((401, "invalid_client"));
    }

    [NeedsFact("npm", "apt-get install nodejs npm")]
    public async Task oauth4webapi_gets_tokens_that_are_bound_to_its_key_with_the_nonce_that_it_is_told()
    {
        await using var service = await RunningService.Start();

        foreach (var algorithm in (string[])["ES256", "PS256", "RS256"])
        {
            var bound = await Get("dpop", Issuer(service), Basic, Sample.Job, Sample.JobSecret, Sample.CatalogUri, "RS256", algorithm);

            bound.GetProperty("challenged").GetBoolean().Should().BeTrue(algorithm);
            (bound.GetProperty("response").GetProperty("token_type").GetString(), bound.GetProperty("again").GetString()).Should().Be(("dpop", "dpop"), algorithm);
            bound.GetProperty("claims").GetProperty("cnf").GetProperty("jkt").GetString().Should().Be(bound.GetProperty("thumbprint").GetString(), algorithm);
        }
    }

    private static async Task GetsATokenByAssertion(RunningService service, AssertingClient client)
    {
        foreach (var library in s_libraries)
        {
            var verified = await Get(library, Issuer(service), client.Method, client.Id, client.Secret, Sample.CatalogUri, "RS256");

            IsTheTokenOf(client.Id, AssertingClient.Scope, AssertingClient.Lifetime, "RS256", verified);
        }
    }

    private static string Issuer(RunningService service) => service.Url.ToString().TrimEnd('/');

    private static void IsTheTokenOf(string client, string scope, int lifetime, string algorithm, JsonElement verified)
    {
        var response = verified.GetProperty("response");
        response.GetProperty("token_type").GetString().Should().Be("bearer", "oauth4webapi writes it in lower case");
        response.GetProperty("expires_in").GetInt32().Should().Be(lifetime, algorithm);
        response.GetProperty("scope").GetString().Should().Be(scope, algorithm);
        var header = verified.GetProperty("header");
        (header.GetProperty("alg").GetString(), header.GetProperty("typ").GetString()).Should().Be((algorithm, "at+jwt"));
        var claims = verified.GetProperty("claims");
        (claims.GetProperty("sub").GetString(), claims.GetProperty("client_id").GetString()).Should().Be((client, client), algorithm);
        claims.GetProperty("scope").GetString().Should().Be(scope, algorithm);
        (claims.GetProperty("exp").GetInt64() - claims.GetProperty("iat").GetInt64()).Should().Be(lifetime, algorithm);
    }

    /// <summary>What the libraries gave.</summary>
    private static async Task<JsonElement> Get(string mode, params string[] args)
    {
        var finished = await Run(mode, args);
        finished.ExitCode.Should().Be(0, "client.mjs {0} {1} printed:\n{2}", mode, string.Join(' ', args), finished.Error);
        return LastLine(finished.Output);
    }

    /// <summary>What the libraries objected to.</summary>
    private static async Task<JsonElement> Refusal(string mode, params string[] args)
    {
        var finished = await Run(mode, args);
        finished.ExitCode.Should().Be(1, "client.mjs {0} {1} printed:\n{2}", mode, string.Join(' ', args), finished.Output);
        return LastLine(finished.Error);
    }

    private static Task<Finished> Run(string mode, string[] args)
        => RunningProgram.Run("node", [Path.Combine(NodePackages.Folder, "client.mjs"), mode, .. args]);

    // Old versions of Node warn of their own features first.
    private static JsonElement LastLine(string printed)
    {
        var line = printed.TrimEnd().Split('\n')[^1];
        try
        {
            return JsonDocument.Parse(line).RootElement;
        }
        catch (JsonException)
        {
            throw new InvalidOperationException($"client.mjs printed no JSON:\n{printed}");
        }
    }
}

/// <summary>The packages of <c>NodeClients</c>, installed once for all tests of the class.</summary>
public sealed class NodePackages : IAsyncLifetime
{
    public static string Folder { get; } = Repository.File("TokenService.Tests", "Contracts", "NodeClients");

    public async Task InitializeAsync()
    {
        // xunit makes fixtures for skipped tests too, and one that fails would fail them.
        if (new NeedsFactAttribute("npm", "").Skip is not null)
        {
            return;
        }

        await Install(Folder);
    }

    /// <summary>Installs what the lock file of a folder names.</summary>
    internal static async Task Install(string folder)
    {
        var npm = await RunningProgram.Run("npm", ["ci", "--no-audit", "--no-fund"], folder);
        npm.ExitCode.Should().Be(0, "npm ci printed:\n{0}\n{1}", npm.Output, npm.Error);
    }

    public Task DisposeAsync() => Task.CompletedTask;
}
