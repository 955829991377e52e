using System;
using System.Collections.Generic;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json.Nodes;
using System.Threading.Tasks;
using FluentAssertions;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Time.Testing;
using TokenService.Tests.Support;
using Xunit;
using static TokenService.Tests.Support.AssertionClients;

namespace TokenService.Tests.Endpoints;

/// <summary>Clients that prove themselves by the token of the platform they run on (<c>federated_jwt</c>), and the issuers of these tokens.</summary>
public sealed class FederationTests
{
    private const string Keys = """{ "name": "platform", "issuer": "ISS", "jwks": KEYS }""";

    private static readonly ClientKeyPair s_second = ClientKeyPair.OfRsa();

    private readonly FakeTimeProvider _clock = new(Now);

    public static TheoryData<string> Platforms() => [.. s_platforms.Keys];

    private static readonly Dictionary<string, (string Issuer, string Rule, Func<AssertionDraft> Token)> s_platforms = new()
    {
        ["Kubernetes, projected"] = (
            WorkloadTokens.ClusterIssuer, """{ "sub": "system:serviceaccount:shop:indexer" }""", () => WorkloadTokens.Projected(Now)),
        ["Kubernetes, bound"] = (
            WorkloadTokens.ClusterIssuer, """{ "/kubernetes.io/namespace": "shop", "/kubernetes.io/serviceaccount/name": "indexer" }""", () => WorkloadTokens.Bound(Now)),
        ["Kubernetes, a namespace"] = (
            WorkloadTokens.ClusterIssuer, """{ "sub": "system:serviceaccount:shop:*" }""", () => WorkloadTokens.Projected(Now)),
        ["Kubernetes, an issuer that is no URL"] = (
            "kubernetes/serviceaccount", """{ "sub": "system:serviceaccount:shop:indexer" }""", () => WorkloadTokens.Projected(Now, "kubernetes/serviceaccount")),
        ["GitHub, old sub"] = (
            WorkloadTokens.GitHubIssuer, """{ "sub": "repo:acme/shop:ref:refs/heads/main" }""", () => WorkloadTokens.GitHub(Now)),
        ["GitHub, new sub"] = (
            WorkloadTokens.GitHubIssuer, """{ "sub": "repo:acme@123456/shop@456789:ref:refs/heads/main" }""", () => WorkloadTokens.GitHub(Now, immutable: true)),
        ["GitHub, old sub, other claims"] = (
            WorkloadTokens.GitHubIssuer, """{ "repository_id": "456789", "ref": ["refs/heads/main", "refs/heads/release"] }""", () => WorkloadTokens.GitHub(Now)),
        ["GitHub, new sub, other claims"] = (
            WorkloadTokens.GitHubIssuer, """{ "repository_id": "456789", "ref": ["refs/heads/main", "refs/heads/release"] }""", () => WorkloadTokens.GitHub(Now, immutable: true)),
        ["GitLab"] = (
            WorkloadTokens.GitLabIssuer, """{ "project_id": "20", "ref_path": "refs/heads/main", "groups_direct": "acme/ops" }""", () => WorkloadTokens.GitLab(Now)),
    };

    [Theory]
    [MemberData(nameof(Platforms))]
    public async Task A_token_of_the_platform_stands_for_the_client(string platform)
    {
        var (issuer, rule, token) = s_platforms[platform];
        await using var service = await Start(Keys.Replace("ISS", issuer, StringComparison.Ordinal), Client("indexer", "platform", rule));

        var answer = await service.Send(token().SignedBy(Rsa));

        answer.Status.Should().Be(200, answer.Body);
        var claims = TokenDraft.Of(answer.AccessToken).Claims;
        ((string?)claims["sub"], (string?)claims["client_id"], (string?)claims["scope"]).Should().Be(("indexer", "indexer", "catalog.read"));
        (await service.Send(token().SignedBy(Rsa), "&client_id=indexer")).Status.Should().Be(200);
    }

    [Fact]
    public async Task The_same_token_may_be_used_until_it_expires()
    {
        await using var service = await StartCluster();
        var token = WorkloadTokens.Projected(Now).SignedBy(Rsa);

        for (var i = 0; i < 3; i++)
        {
            (await service.Send(token)).Status.Should().Be(200);
        }

        _clock.Advance(TimeSpan.FromSeconds(3636));
        (await service.Send(token)).Status.Should().Be(200, "there is the skew");
        _clock.Advance(TimeSpan.FromSeconds(1));
        Refused(await service.Send(token), "exp must not be past");
    }

    [Fact]
    public async Task It_authenticates_at_the_other_endpoints_too()
    {
        await using var service = await StartCluster();
        var form = AssertionDraft.Form(WorkloadTokens.Projected(Now).SignedBy(Rsa))[("grant_type=client_credentials".Length + 1)..];

        (await service.Token($"{form}&token=x", path: "/oauth2/revoke")).Status.Should().Be(200);
        (await service.Token($"{form}&token=x", path: "/oauth2/introspect")).Error.Should().Be("unauthorized_client");
    }

    [Fact]
    public async Task Jti_iat_nbf_typ_and_kid_may_be_left_out()
    {
        await using var service = await StartCluster();
        var token = WorkloadTokens.Projected(Now).Without("jti").Without("iat").Without("nbf").WithoutHeader("typ").WithoutHeader("kid");

        (await service.Send(token.SignedBy(Rsa))).Status.Should().Be(200);
    }

    [Theory]
    [InlineData("\"https://auth.example.com\"")]
    [InlineData("[\"https://auth.example.com\"]")]
    [InlineData("[\"https://other.example.com\", \"https://auth.example.com\"]")]
    public async Task The_audience_may_stand_among_others(string audience)
    {
        await using var service = await StartCluster();

        (await service.Send(WorkloadTokens.Projected(Now).With("aud", JsonNode.Parse(audience)).SignedBy(Rsa))).Status.Should().Be(200);
    }

    [Fact]
    public async Task An_audience_of_its_own_takes_the_place_of_the_service_s()
    {
        await using var service = await Start(
            """{ "name": "platform", "issuer": "ISS", "jwks": KEYS, "audience": "token-service" }""".Replace("ISS", WorkloadTokens.ClusterIssuer, StringComparison.Ordinal),
            Client("indexer", "platform", s_indexer));

        (await service.Send(WorkloadTokens.Projected(Now).With("aud", "token-service").SignedBy(Rsa))).Status.Should().Be(200);
        Refused(await service.Send(WorkloadTokens.Projected(Now).SignedBy(Rsa)), "aud must be token-service, alone or among others");
    }

    [Fact]
    public async Task The_token_endpoint_is_no_audience_whatever_the_setting_for_assertions()
    {
        await using var service = await AssertionClients.Start(
            clock: _clock, file: File(Cluster("platform"), Client("indexer", "platform", s_indexer)), settings: "--TokenService:AssertionAudience=IssuerOrTokenEndpoint");

        Refused(await service.Send(WorkloadTokens.Projected(Now).With("aud", $"{Issuer}/oauth2/token").SignedBy(Rsa)), "aud must be");
    }

    [Fact]
    public async Task One_subject_may_stand_for_several_clients_and_client_id_chooses()
    {
        await using var service = await Start(
            Cluster("platform"),
            $"{Client("indexer", "platform", s_indexer)}, {Client("searcher", "platform", """{ "/kubernetes.io/namespace": "shop" }""")}, {Client("other", "platform", """{ "sub": "x" }""")}");
        var token = WorkloadTokens.Projected(Now).SignedBy(Rsa);

        var ambiguous = await service.Send(token);
        Refused(ambiguous, "client_id must be sent, since the token is ambiguous: it stands for several clients");
        ambiguous.Body.Should().NotContain("indexer").And.NotContain("searcher");
        foreach (var client in (string[])["indexer", "searcher"])
        {
            var answer = await service.Send(token, $"&client_id={client}");
            ((string?)TokenDraft.Of(answer.AccessToken).Claims["client_id"]).Should().Be(client);
        }

        Unknown(await service.Send(token, "&client_id=other"));
        Unknown(await service.Send(token, "&client_id=nobody"));
    }

    [Fact]
    public async Task Two_clusters_with_one_issuer_are_told_apart_by_their_keys()
    {
        await using var service = await Start(
            $"{Cluster("one")}, {Cluster("two", s_second, "1")}", $"{Client("in-one", "one", s_indexer)}, {Client("in-two", "two", s_indexer)}");

        foreach (var (key, client) in new[] { (Rsa, "in-one"), (s_second, "in-two") })
        {
            var answer = await service.Send(WorkloadTokens.Projected(Now).SignedBy(key));
            ((string?)TokenDraft.Of(answer.AccessToken).Claims["client_id"]).Should().Be(client);
        }

        Unknown(await service.Send(WorkloadTokens.Projected(Now).SignedBy(Rsa), "&client_id=in-two"));
        Unknown(await service.Send(WorkloadTokens.Projected(Now).SignedBy(s_second), "&client_id=in-one"));
        Unknown(await service.Send(WorkloadTokens.Projected(Now).SignedBy(ClientKeyPair.OfRsa())));
    }

    [Fact]
    public async Task A_cluster_that_does_not_answer_holds_up_no_other_with_the_same_issuer()
    {
        await using var slow = await KeySetHost.Start();
        var release = new TaskCompletionSource();
        slow.Answer = _ => release.Task;
        await using var service = await Start(
            $$"""{ "name": "slow", "issuer": "{{WorkloadTokens.ClusterIssuer}}", "jwks_uri": "{{slow.Uri}}" }, {{Cluster("good")}}""",
            $"{Client("in-slow", "slow", s_indexer)}, {Client("indexer", "good", s_indexer)}");

        var since = System.Diagnostics.Stopwatch.StartNew();
        (await service.Send(WorkloadTokens.Projected(Now).SignedBy(Rsa))).Status.Should().Be(200);
        since.Elapsed.Should().BeLessThan(TimeSpan.FromSeconds(4));

        release.SetResult();
        Unavailable(await service.Send(WorkloadTokens.Projected(Now).SignedBy(s_second)));
    }

    [Fact]
    public async Task Keys_are_found_by_discovery()
    {
        await using var host = await KeySetHost.Start(path: "");
        var issuer = host.Uri.AbsoluteUri.TrimEnd('/');
        Publish(host, $$"""{ "issuer": "{{issuer}}", "jwks_uri": "{{issuer}}/keys" }""");
        await using var service = await Start($$"""{ "name": "platform", "issuer": "{{issuer}}" }""", Client("indexer", "platform", s_indexer));

        (await service.Send(WorkloadTokens.Projected(Now, issuer).SignedBy(Rsa))).Status.Should().Be(200);
        (await service.Send(WorkloadTokens.Projected(Now, issuer).SignedBy(Rsa))).Status.Should().Be(200);
        host.Asked.Should().Be(2, "both documents are kept");
    }

    [Theory]
    [InlineData("""{ "issuer": "https://evil.example.com", "jwks_uri": "ISS/keys" }""")]
    [InlineData("""{ "issuer": "ISS/", "jwks_uri": "ISS/keys" }""")]
    [InlineData("""{ "jwks_uri": "ISS/keys" }""")]
    [InlineData("""{ "issuer": "ISS" }""")]
    [InlineData("""{ "issuer": "ISS", "jwks_uri": 5 }""")]
    [InlineData("""{ "issuer": "ISS", "jwks_uri": "http://keys.example.com/" }""")]
    [InlineData("""{ "issuer": "ISS", "jwks_uri": "https://keys.example.com/" }""")]
    [InlineData("""{ "issuer": "ISS", "jwks_uri": "file:///etc/passwd" }""")]
    [InlineData("""{ "issuer": "ISS", "jwks_uri": "https://169.254.169.254/" }""")]
    [InlineData("""[]""")]
    [InlineData("""nothing""")]
    public async Task Metadata_that_is_another_s_or_leads_astray_is_not_followed(string metadata)
    {
        await using var host = await KeySetHost.Start(path: "");
        var issuer = host.Uri.AbsoluteUri.TrimEnd('/');
        Publish(host, metadata.Replace("ISS", issuer, StringComparison.Ordinal));
        await using var service = await Start($$"""{ "name": "platform", "issuer": "{{issuer}}" }""", Client("indexer", "platform", s_indexer));

        Unavailable(await service.Send(WorkloadTokens.Projected(Now, issuer).SignedBy(Rsa)));
        host.Asked.Should().Be(1);
    }

    [Theory]
    [InlineData("down")]
    [InlineData("redirecting")]
    [InlineData("huge")]
    [InlineData("a private key")]
    [InlineData("no keys")]
    public async Task While_nothing_can_be_had_from_an_issuer_the_answer_is_503(string fault)
    {
        var shown = Rsa.Jwk();
        shown["d"] = "AQAB";
        await using var target = await KeySetHost.Start(ClientKeyPair.Set(Rsa.Jwk()));
        await using var host = await KeySetHost.Start(ClientKeyPair.Set(shown));
        switch (fault)
        {
            case "down":
                host.Fail();
                break;
            case "redirecting":
                host.Answer = http =>
                {
                    http.Response.Redirect(target.Uri.AbsoluteUri);
                    return Task.CompletedTask;
                };
                break;
            case "huge":
                host.Publish(ClientKeyPair.Set(Rsa.Jwk()) + new string(' ', 64 * 1024));
                break;
            case "no keys":
                host.Publish("""{ "keys": [] }""");
                break;
        }

        await using var service = await StartAt(host);

        Unavailable(await service.Send(WorkloadTokens.Projected(Now).SignedBy(Rsa)));
        (host.Asked, target.Asked).Should().Be((1, 0));
    }

    [Fact]
    public async Task An_issuer_that_is_silent_is_given_up_after_5_seconds_both_documents_together()
    {
        await using var host = await KeySetHost.Start(path: "");
        var issuer = host.Uri.AbsoluteUri.TrimEnd('/');
        host.Answer = async http =>
        {
            await Task.Delay(http.Request.Path == "/keys" ? 10_000 : 3_000, http.RequestAborted);
            await http.Response.WriteAsync($$"""{ "issuer": "{{issuer}}", "jwks_uri": "{{issuer}}/keys" }""");
        };
        await using var service = await Start($$"""{ "name": "platform", "issuer": "{{issuer}}" }""", Client("indexer", "platform", s_indexer));

        var since = System.Diagnostics.Stopwatch.StartNew();
        Unavailable(await service.Send(WorkloadTokens.Projected(Now, issuer).SignedBy(Rsa)));
        since.Elapsed.Should().BeGreaterThan(TimeSpan.FromSeconds(4.5)).And.BeLessThan(TimeSpan.FromSeconds(7.5));
    }

    [Fact]
    [Trait("Host", "InProcess")]
    public async Task An_issuer_rotates_its_keys_and_may_be_down_afterwards()
    {
        await using var host = await KeySetHost.Start(ClientKeyPair.Set(Rsa.Jwk()));
        await using var service = await StartAt(host);
        (await service.Send(WorkloadTokens.Projected(Now).SignedBy(Rsa))).Status.Should().Be(200);

        host.Publish(ClientKeyPair.Set(s_second.Jwk("2")));
        (await service.Send(WorkloadTokens.Projected(Now).WithHeader("kid", "2").SignedBy(s_second))).Status.Should().Be(200);
        Unknown(await service.Send(WorkloadTokens.Projected(Now).SignedBy(Rsa)));

        host.Fail();
        _clock.Advance(TimeSpan.FromMinutes(30));
        (await service.Send(WorkloadTokens.Projected(_clock.GetUtcNow()).WithHeader("kid", "2").SignedBy(s_second))).Status.Should().Be(200);
    }

    [Fact]
    public async Task A_change_of_issuers_and_rules_is_in_force_at_once()
    {
        using var folder = new TemporaryFolder();
        await using var service = await AssertionClients.Start(folder, _clock, File(Cluster("platform"), Client("indexer", "platform", s_indexer)));
        var token = WorkloadTokens.Projected(Now).SignedBy(Rsa);
        (await service.Send(token)).Status.Should().Be(200);

        await Apply(File(Cluster("platform"), Client("indexer", "platform", """{ "sub": "system:serviceaccount:shop:other" }""")));
        Unknown(await service.Send(token));
        await Apply(File(Cluster("platform"), Client("renamed", "platform", s_indexer)));
        (await service.Send(token)).Status.Should().Be(200);
        await Apply(File(Cluster("platform", s_second), Client("renamed", "platform", s_indexer)));
        Unknown(await service.Send(token));
        await Apply(File("", $$"""{ "client_id": "renamed", "scope": "catalog.read", "client_secret": "{{BasicSecret}}" }"""));
        (await service.Send(token)).Error.Should().Be("invalid_client");

        async Task Apply(string file)
        {
            folder.Write("clients.json", file);
            var finished = await new Cli(folder).Run("apply", folder.File("clients.json"));
            finished.ExitCode.Should().Be(0, finished.Error);
            await service.Refresh();
        }
    }

    [Fact]
    public async Task A_cluster_behind_its_own_authority_that_asks_for_a_token()
    {
        using var folder = new TemporaryFolder();
        var (authority, certificate) = Certificates();
        var bearer = "";
        await using var host = await KeySetHost.Start(certificate: certificate);
        host.Answer = async http =>
        {
            bearer = http.Request.Headers.Authorization.ToString();
            http.Response.StatusCode = bearer == "Bearer reader-token" ? 200 : 401;
            await http.Response.WriteAsync(ClientKeyPair.Set(Rsa.Jwk()));
        };
        folder.Write("ca.pem", authority);
        folder.Write("token", "reader-token\n");
        var entry = $$"""
            { "name": "platform", "issuer": "{{WorkloadTokens.ClusterIssuer}}", "jwks_uri": "{{host.Uri}}",
              "ca_file": "{{folder.File("ca.pem")}}", "bearer_token_file": "{{folder.File("token")}}" }
            """;
        await using var service = await Start(entry, Client("indexer", "platform", s_indexer));

        (await service.Send(WorkloadTokens.Projected(Now).SignedBy(Rsa))).Status.Should().Be(200);
        bearer.Should().Be("Bearer reader-token");
    }

    [Theory]
    [InlineData("another authority")]
    [InlineData("no authority")]
    [InlineData("a missing file")]
    [InlineData("the machine's authorities")]
    public async Task A_cluster_whose_certificate_is_not_under_the_authority_is_not_believed(string fault)
    {
        using var folder = new TemporaryFolder();
        var (authority, certificate) = Certificates();
        await using var host = await KeySetHost.Start(ClientKeyPair.Set(Rsa.Jwk()), certificate);
        folder.Write("ca.pem", fault == "another authority" ? Certificates().Authority : fault == "no authority" ? "nothing" : authority);
        var file = fault == "a missing file" ? folder.File("missing") : folder.File("ca.pem");
        var more = fault == "the machine's authorities" ? "" : $", \"ca_file\": \"{file}\"";
        await using var service = await Start(
            $$"""{ "name": "platform", "issuer": "{{WorkloadTokens.ClusterIssuer}}", "jwks_uri": "{{host.Uri}}"{{more}} }""", Client("indexer", "platform", s_indexer));

        Unavailable(await service.Send(WorkloadTokens.Projected(Now).SignedBy(Rsa)));
        host.Asked.Should().Be(0);
    }

    [Theory]
    [InlineData(null)]
    [InlineData("")]
    [InlineData("two words")]
    [InlineData("a\nX-Forged: b")]
    public async Task A_bearer_token_that_is_none_is_not_sent(string? content)
    {
        using var folder = new TemporaryFolder();
        await using var host = await KeySetHost.Start(ClientKeyPair.Set(Rsa.Jwk()));
        if (content is not null)
        {
            folder.Write("token", content);
        }

        await using var service = await Start(
            $$"""{ "name": "platform", "issuer": "{{WorkloadTokens.ClusterIssuer}}", "jwks_uri": "{{host.Uri}}", "bearer_token_file": "{{folder.File("token")}}" }""",
            Client("indexer", "platform", s_indexer));

        Unavailable(await service.Send(WorkloadTokens.Projected(Now).SignedBy(Rsa)));
        host.Asked.Should().Be(0);
    }

    [Fact]
    public async Task The_bearer_token_is_for_the_issuer_s_own_host_wherever_its_metadata_leads()
    {
        using var folder = new TemporaryFolder();
        folder.Write("token", "reader-token");
        var sent = new List<string>();
        await using var other = await KeySetHost.Start();
        other.Answer = http => Note(http, "other", ClientKeyPair.Set(Rsa.Jwk()));
        await using var host = await KeySetHost.Start(path: "");
        var issuer = host.Uri.AbsoluteUri.TrimEnd('/');
        host.Answer = http => Note(http, "own", $$"""{ "issuer": "{{issuer}}", "jwks_uri": "{{other.Uri}}" }""");
        await using var service = await Start(
            $$"""{ "name": "platform", "issuer": "{{issuer}}", "bearer_token_file": "{{folder.File("token")}}" }""", Client("indexer", "platform", s_indexer));

        (await service.Send(WorkloadTokens.Projected(Now, issuer).SignedBy(Rsa))).Status.Should().Be(200);
        sent.Should().Equal("own Bearer reader-token", "other ");

        Task Note(HttpContext http, string name, string answer)
        {
            sent.Add($"{name} {http.Request.Headers.Authorization}");
            return http.Response.WriteAsync(answer);
        }
    }

    private static readonly string s_indexer = """{ "sub": "system:serviceaccount:shop:indexer" }""";

    internal static string Cluster(string name, ClientKeyPair? key = null, string kid = "1")
        => $$"""{ "name": "{{name}}", "issuer": "{{WorkloadTokens.ClusterIssuer}}", "jwks": {{ClientKeyPair.Set((key ?? Rsa).Jwk(kid))}} }""";

    internal static string Client(string id, string issuer, string claims) => $$"""
        { "client_id": "{{id}}", "token_endpoint_auth_method": "federated_jwt", "scope": "catalog.read", "federation": [ { "issuer": "{{issuer}}", "claims": {{claims}} } ] }
        """;

    internal static string File(string issuers, string clients) => $$"""
        { "resources": [ { "resource": "{{Sample.CatalogUri}}", "scopes": [ { "name": "catalog.read" } ] } ],
          "issuers": [ {{issuers.Replace("KEYS", ClientKeyPair.Set(Rsa.Jwk()), StringComparison.Ordinal)}} ], "clients": [ {{clients}} ] }
        """;

    /// <summary>Refused for what the token says, which the caller is told.</summary>
    internal static void Refused(Answer answer, string told)
    {
        TokenEndpointRefusalTests.Refused(answer, 401, "invalid_client");
        answer.Json.GetProperty("error_description").GetString().Should().StartWith($"The client assertion is refused: {told}");
    }

    /// <summary>Refused for whom it stands for, which the caller is not told.</summary>
    internal static void Unknown(Answer answer)
    {
        TokenEndpointRefusalTests.Refused(answer, 401, "invalid_client");
        answer.Json.GetProperty("error_description").GetString().Should().StartWith("Client authentication failed.");
    }

    private static void Unavailable(Answer answer) => TokenEndpointRefusalTests.Refused(answer, 503, "temporarily_unavailable");

    private static void Publish(KeySetHost host, string metadata) => host.Answer = http => http.Response.WriteAsync(http.Request.Path.Value switch
    {
        "/.well-known/openid-configuration" => metadata,
        "/keys" => ClientKeyPair.Set(Rsa.Jwk()),
        var other => throw new InvalidOperationException(other),
    });

    private static (string Authority, X509Certificate2 Certificate) Certificates()
    {
        var made = TestCertificate.Make("cluster");
        using var leaf = X509Certificate2.CreateFromPem(made.Chain, made.Key);

        // The server of the test sends no chain: what it is under is what ca_file has.
        var chain = new X509Certificate2Collection();
        chain.ImportFromPem(made.Chain);
        return (chain[1].ExportCertificatePem() + "\n" + made.Root, X509CertificateLoader.LoadPkcs12(leaf.Export(X509ContentType.Pkcs12), null));
    }

    private Task<RunningService> StartCluster() => Start(Cluster("platform"), Client("indexer", "platform", s_indexer));

    private Task<RunningService> StartAt(KeySetHost host)
        => Start($$"""{ "name": "platform", "issuer": "{{WorkloadTokens.ClusterIssuer}}", "jwks_uri": "{{host.Uri}}" }""", Client("indexer", "platform", s_indexer));

    private Task<RunningService> Start(string issuers, string clients) => AssertionClients.Start(clock: _clock, file: File(issuers, clients));
}
