using System;
using System.Linq;
using System.Text.Json.Nodes;
using System.Threading.Tasks;
using FluentAssertions;
using TokenService.Tests.Support;
using Xunit;
using static TokenService.Tests.Endpoints.FederationTests;
using static TokenService.Tests.Support.AssertionClients;

namespace TokenService.Tests.Endpoints;

/// <summary>Tokens of workloads that must never get a token here, and what is told apart from them: clients' own assertions.</summary>
public sealed class FederationRefusalTests(FederationRefusalTests.Fixture fixture) : IClassFixture<FederationRefusalTests.Fixture>
{
    private const string Other = "https://other.example.com";
    private const string Subject = "system:serviceaccount:shop:indexer";

    private static readonly ClientKeyPair s_otherKey = ClientKeyPair.OfRsa();
    private static readonly ClientKeyPair s_jobKey = ClientKeyPair.OfRsa();

    // What a platform's token may be, and a client's own assertion may not.
    private static readonly string[] s_allowed =
    [
        "the right aud with another beside it", "the right aud behind another", "the right aud twice", "exp 11 minutes ahead", "no jti", "an empty jti",
        "a jti of 257 characters", "a jti that is a number",
    ];

    private readonly RunningService _service = fixture.Service;

    public static TheoryData<string> Attacks() => [.. ClientAssertionRefusalTests.AttackList.Keys.Except(s_allowed)];

    public static TheoryData<string> Allowed() => [.. s_allowed];

    [Theory]
    [MemberData(nameof(Attacks))]
    public async Task What_is_refused_of_a_client_is_refused_of_a_workload(string attack)
    {
        var answer = await _service.Send(ClientAssertionRefusalTests.AttackList[attack](Draft()));

        TokenEndpointRefusalTests.Refused(answer, 401, "invalid_client");
        (await _service.Send(Draft().SignedBy(Rsa))).Status.Should().Be(200);
    }

    [Theory]
    [MemberData(nameof(Allowed))]
    public async Task What_a_platform_s_rules_allow_is_not(string name)
        => (await _service.Send(ClientAssertionRefusalTests.AttackList[name](Draft()))).Status.Should().Be(200);

    [Theory]
    [InlineData(86_400, true)]
    [InlineData(86_430, true)]
    [InlineData(86_431, false)]
    public async Task It_expires_at_most_24_hours_ahead(int seconds, bool right)
    {
        var answer = await _service.Send(Draft().Without("iat").With("exp", Now.ToUnixTimeSeconds() + seconds).SignedBy(Rsa));

        (answer.Status == 200).Should().Be(right, answer.Body);
    }

    [Theory]
    [InlineData(-3_600, 82_800, true)]
    [InlineData(-3_600, 82_801, false)]
    [InlineData(-90_000, 60, false)]
    public async Task It_lives_for_at_most_24_hours(int from, int until, bool right)
    {
        var now = Now.ToUnixTimeSeconds();
        var answer = await _service.Send(Draft().With("iat", now + from).With("exp", now + until).SignedBy(Rsa));

        (answer.Status == 200).Should().Be(right, answer.Body);
        if (!right)
        {
            Refused(answer, "a token must live for at most 24 hours, from iat to exp");
        }
    }

    [Theory]
    [InlineData("system:serviceaccount:shop:indexe")]
    [InlineData("system:serviceaccount:shop:indexer2")]
    [InlineData("system:serviceaccount:shop:indexer:x")]
    [InlineData("system:serviceaccount:shop:Indexer")]
    [InlineData("system:serviceaccount:shop:indexer ")]
    [InlineData("system:serviceaccount:batch")]
    [InlineData("system:serviceaccount:batch:")]
    [InlineData("system:serviceaccount:batch2:job")]
    [InlineData("system:serviceaccount:*")]
    [InlineData("*")]
    public async Task A_subject_that_is_not_quite_the_registered_one_is_refused(string subject)
        => Unknown(await _service.Send(Draft().With("sub", subject).SignedBy(Rsa)));

    [Fact]
    public async Task A_wildcard_lets_in_what_stands_below_it_alone()
    {
        var answer = await _service.Send(Draft().With("sub", "system:serviceaccount:batch:job").SignedBy(Rsa));

        ((string?)TokenDraft.Of(answer.AccessToken).Claims["client_id"]).Should().Be("batch");
    }

    [Fact]
    public async Task All_claims_of_a_rule_must_be_right_and_any_rule_is_enough()
    {
        Unknown(await _service.Send(Draft().With("sub", "two").SignedBy(Rsa)));
        Unknown(await _service.Send(Draft().With("sub", "two").With("kubernetes.io", new JsonObject { ["namespace"] = "other" }).SignedBy(Rsa)));
        Unknown(await _service.Send(Draft().With("sub", "two").With("/kubernetes.io/namespace", "ns").SignedBy(Rsa)));
        Unknown(await _service.Send(Draft().With("sub", "else").With("kubernetes.io", new JsonObject { ["namespace"] = "ns" }).SignedBy(Rsa)));
        (await _service.Send(Draft().With("sub", "two").With("kubernetes.io", new JsonObject { ["namespace"] = "ns" }).SignedBy(Rsa))).Status.Should().Be(200);
        (await _service.Send(Draft().With("sub", "or-this").SignedBy(Rsa))).Status.Should().Be(200);
    }

    [Fact]
    public async Task Keys_of_one_issuer_are_never_accepted_for_another()
    {
        Unknown(await _service.Send(Draft().SignedBy(s_otherKey)));
        Unknown(await _service.Send(Draft().With("iss", Other).SignedBy(Rsa)));
        Unknown(await _service.Send(Draft().With("iss", Other).SignedBy(s_otherKey)));
        (await _service.Send(Draft().With("iss", Other).With("sub", "its-own").SignedBy(s_otherKey))).Status.Should().Be(200);
    }

    [Fact]
    public async Task An_issuer_that_is_not_trusted_is_refused_whoever_signs()
    {
        foreach (var key in (ClientKeyPair[])[Rsa, s_otherKey, s_jobKey])
        {
            Refused(await _service.Send(Draft().With("iss", "https://unknown.example.com").SignedBy(key)), "iss and sub must be the same: the client id");
        }
    }

    [Fact]
    public async Task A_client_s_own_assertion_is_never_accepted_as_a_workload_s_nor_the_other_way_round()
    {
        // By the key of the issuer, for a client with a key, and for a client without one.
        Unknown(await _service.Send(new AssertionDraft("key-job", Issuer, Now).SignedBy(Rsa)));
        Unknown(await _service.Send(new AssertionDraft("indexer", Issuer, Now).SignedBy(Rsa)));

        // By the key of a client, in the name of the issuer.
        Unknown(await _service.Send(Draft().SignedBy(s_jobKey)));
        Unknown(await _service.Send(Draft().SignedBy(s_jobKey), "&client_id=key-job"));
        Unknown(await _service.Send(Draft().With("sub", "key-job").SignedBy(s_jobKey)));

        // Right ones, for the other.
        Unknown(await _service.Send(Draft().SignedBy(Rsa), "&client_id=key-job"));
        TokenEndpointRefusalTests.Refused(await _service.Send(new AssertionDraft("key-job", Issuer, Now).SignedBy(s_jobKey), "&client_id=indexer"), 401, "invalid_client");

        // Both with the same key: the iss decides, and each stays what it is.
        Unknown(await _service.Send(new AssertionDraft("shared-key-job", Issuer, Now).With("iss", WorkloadTokens.ClusterIssuer).SignedBy(Rsa)));
        (await _service.Send(new AssertionDraft("shared-key-job", Issuer, Now).SignedBy(Rsa))).Status.Should().Be(200);
        (await _service.Send(new AssertionDraft("key-job", Issuer, Now).SignedBy(s_jobKey))).Status.Should().Be(200);
    }

    [Fact]
    public async Task A_client_that_is_called_as_an_issuer_stays_a_client()
    {
        (await _service.Send(new AssertionDraft(Other, Issuer, Now).SignedBy(s_jobKey))).Status.Should().Be(200);
        Unknown(await _service.Send(new AssertionDraft(Other, Issuer, Now).SignedBy(s_otherKey)));
        Unknown(await _service.Send(new AssertionDraft(Other, Issuer, Now).With("sub", "its-own").SignedBy(s_jobKey)));
    }

    [Fact]
    public async Task A_workload_s_token_is_no_JWT_SVID_and_the_other_way_round()
    {
        TokenEndpointRefusalTests.Refused(await _service.Token(AssertionDraft.Form(Draft().SignedBy(Rsa), AssertionDraft.JwtSpiffe)), 401, "invalid_client");
        foreach (var token in (AssertionDraft[])[WorkloadTokens.Svid(Now), WorkloadTokens.Svid(Now).With("iss", "spiffe://example.org")])
        {
            TokenEndpointRefusalTests.Refused(await _service.Send(token.SignedBy(Rsa)), 401, "invalid_client");
        }
    }

    [Fact]
    public async Task An_issuer_is_trusted_for_nothing_else()
    {
        var token = Draft().SignedBy(Rsa);

        TokenEndpointRefusalTests.Refused(await _service.Token($"grant_type=client_credentials&client_id=indexer&client_secret={token}"), 401, "invalid_client");
        TokenEndpointRefusalTests.Refused(await _service.Token("grant_type=client_credentials", $"indexer:{token}"), 401, "invalid_client");
        (await _service.Token($"grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer&assertion={token}&{AssertionDraft.Form(token)["grant_type=client_credentials&".Length..]}"))
            .Error.Should().Be("unsupported_grant_type");
        var introspected = await _service.Token($"token={token}", $"asker:{BasicSecret}", "/oauth2/introspect");
        introspected.Body.Should().Be("{\"active\":false}");
    }

    [Fact]
    public async Task A_client_that_is_disabled_is_refused()
    {
        using var folder = new TemporaryFolder();
        await using var service = await AssertionClients.Start(folder, file: FederationTests.File(Cluster("platform"), Client("indexer", "platform", $$"""{ "sub": "{{Subject}}" }""")));
        (await service.Send(Draft().SignedBy(Rsa))).Status.Should().Be(200);
        TokenEndpointRefusalTests.Disable(folder, "indexer");
        await service.Refresh();

        Unknown(await service.Send(Draft().SignedBy(Rsa)));
    }

    [Theory]
    [InlineData("no client", "", "federation", "claims that the client is registered for (federation, spiffe_id)", "a token of issuer platform with sub \"other\"")]
    [InlineData("an unknown client", "&client_id=nobody", "federation", "claims that the client is registered for (federation, spiffe_id)", "a token of issuer platform with sub \"other\"")]
    [InlineData("a client", "&client_id=indexer", "sub", "\"system:serviceaccount:shop:indexer\", as registered for issuer platform", "a token where it is \"other\"")]
    [InlineData("a client with two claims", "&client_id=two", "/kubernetes.io/namespace", "\"ns\", as registered for issuer platform", "a token where it is left out")]
    [InlineData("a client of another issuer", "&client_id=elsewhere", "federation", "a token of an issuer that it is registered for: other", "a token of issuer platform with sub \"other\"")]
    [InlineData("a client with a key", "&client_id=key-job", "token_endpoint_auth_method", "private_key_jwt, as registered", "a token of issuer platform with sub \"other\"")]
    [InlineData("an audience", "&client_id=indexer", "aud", "aud must be https://auth.example.com, alone or among others", "\"x\"")]
    [InlineData("a signature", "&client_id=indexer", "signature", "an assertion that is signed by its key (issuer platform)", "an assertion that its key did not sign, or that was changed on the way")]
    [InlineData("a kid", "&client_id=indexer", "kid", "the kid of one of its keys: \"1\", \"2\", \"3\", \"4\" (issuer platform)", "an assertion with kid \"9\"")]
    public async Task The_operator_is_told_which_check_failed_what_was_expected_and_what_came(string what, string extra, string check, string expected, string came)
    {
        var draft = Draft().With("sub", what.Contains("two", StringComparison.Ordinal) ? "two" : what is "an audience" or "a signature" or "a kid" ? Subject : "other");
        _ = what == "an audience" ? draft.With("aud", "x") : what == "a kid" ? draft.WithHeader("kid", "9") : draft;

        var refusal = await fixture.Find(await _service.Send(draft.SignedBy(what == "a signature" ? s_jobKey : Rsa), extra));

        (refusal.Failed.Name, refusal.Failed.Expected, refusal.Failed.Came).Should().Be((check, expected, came));
        refusal.ClientId.Should().Be(extra.Length == 0 ? null : extra["&client_id=".Length..]);
    }

    [Fact]
    public async Task The_operator_is_told_which_clients_an_ambiguous_token_stands_for()
    {
        var refusal = await fixture.Find(await _service.Send(Draft().With("sub", "ambiguous").SignedBy(Rsa)));

        (refusal.Failed.Name, refusal.Failed.Came).Should().Be(("client_id", "a token of issuer platform that stands for \"one-of-two\", \"two-of-two\""));
    }

    private static AssertionDraft Draft() => new AssertionDraft(Subject, Issuer, Now).With("iss", WorkloadTokens.ClusterIssuer);

    public sealed class Fixture : IAsyncLifetime, IDisposable
    {
        private readonly TemporaryFolder _folder = new();

        internal RunningService Service { get; private set; } = null!;

        public async Task InitializeAsync() => Service = await AssertionClients.Start(_folder, file: FederationTests.File(
            $$"""
            { "name": "platform", "issuer": "{{WorkloadTokens.ClusterIssuer}}",
              "jwks": {{ClientKeyPair.Set(Rsa.Jwk("1"), P256.Jwk("2"), P384.Jwk("3"), P521.Jwk("4"))}} },
            { "name": "other", "issuer": "{{Other}}", "jwks": {{ClientKeyPair.Set(s_otherKey.Jwk())}} },
            { "name": "mesh", "trust_domain": "example.org", "spiffe_bundle_file": "{{_folder.Write("bundle.json", Bundle())}}" }
            """,
            $$"""
            {{Client("indexer", "platform", $$"""{ "sub": "{{Subject}}" }""")}},
            {{Client("batch", "platform", """{ "sub": "system:serviceaccount:batch:*" }""")}},
            {{Client("elsewhere", "other", """{ "sub": "its-own" }""")}},
            {{Client("one-of-two", "platform", """{ "sub": "ambiguous" }""")}},
            {{Client("two-of-two", "platform", """{ "sub": "ambiguous" }""")}},
            { "client_id": "two", "token_endpoint_auth_method": "federated_jwt", "scope": "catalog.read", "federation": [
                { "issuer": "platform", "claims": { "sub": "two", "/kubernetes.io/namespace": "ns" } }, { "issuer": "platform", "claims": { "sub": "or-this" } } ] },
            { "client_id": "svid", "token_endpoint_auth_method": "spiffe_jwt", "scope": "catalog.read", "spiffe_id": "{{WorkloadTokens.SpiffeId}}" },
            { "client_id": "key-job", "token_endpoint_auth_method": "private_key_jwt", "scope": "catalog.read", "jwks": {{ClientKeyPair.Set(s_jobKey.Jwk())}} },
            { "client_id": "{{Other}}", "token_endpoint_auth_method": "private_key_jwt", "scope": "catalog.read", "jwks": {{ClientKeyPair.Set(s_jobKey.Jwk())}} },
            { "client_id": "shared-key-job", "token_endpoint_auth_method": "private_key_jwt", "scope": "catalog.read", "jwks": {{ClientKeyPair.Set(Rsa.Jwk())}} },
            { "client_id": "asker", "client_secret": "{{BasicSecret}}", "scope": "catalog.read", "introspection": true }
            """));

        public async Task DisposeAsync() => await Service.DisposeAsync();

        public void Dispose() => _folder.Dispose();

        internal Task<TokenService.Operations.Refusal> Find(Answer answer) => RefusalVerdictTests.Find(_folder, answer);

        private static string Bundle()
        {
            var key = Rsa.Jwk();
            key["use"] = "jwt-svid";
            return ClientKeyPair.Set(key);
        }
    }
}
