using System;
using System.Linq;
using System.Text.Json.Nodes;
using System.Threading.Tasks;
using FluentAssertions;
using Microsoft.Extensions.Time.Testing;
using TokenService.Tests.Support;
using Xunit;
using static TokenService.Tests.Endpoints.FederationTests;
using static TokenService.Tests.Support.AssertionClients;

namespace TokenService.Tests.Endpoints;

/// <summary>Clients that prove themselves by a SPIFFE JWT-SVID (draft-ietf-oauth-spiffe-client-auth).</summary>
public sealed class SpiffeTests : IDisposable
{
    private static readonly ClientKeyPair s_second = ClientKeyPair.OfEc(System.Security.Cryptography.ECCurve.NamedCurves.nistP256);

    private readonly TemporaryFolder _folder = new();
    private readonly FakeTimeProvider _clock = new(Now);

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task A_JWT_SVID_stands_for_the_client_until_it_expires()
    {
        await using var service = await StartWithFile(Bundle(P256.Jwk("2")));
        var token = Svid();

        foreach (var extra in (string[])["", "&client_id=indexer", ""])
        {
            var answer = await Send(service, token, extra);
            answer.Status.Should().Be(200, answer.Body);
            ((string?)TokenDraft.Of(answer.AccessToken).Claims["client_id"]).Should().Be("indexer");
        }

        (await Send(service, WorkloadTokens.Svid(Now).WithHeader("typ", "JOSE").WithHeader("kid", "2").SignedBy(P256, "ES256"))).Status.Should().Be(200);
        _clock.Advance(TimeSpan.FromSeconds(330));
        Refused(await Send(service, token), "exp must not be past");
    }

    [Fact]
    public async Task The_iss_of_a_JWT_SVID_does_not_count()
    {
        await using var service = await StartWithFile(Bundle(P256.Jwk("2")));

        (await Send(service, WorkloadTokens.Svid(Now).With("iss", "https://oidc-discovery.example.org").WithHeader("kid", "2").SignedBy(P256, "ES256"))).Status.Should().Be(200);
    }

    [Fact]
    public async Task A_registered_path_may_stand_for_all_below_it()
    {
        await using var service = await StartWithFile(Bundle(P256.Jwk("2")));

        foreach (var subject in (string[])["spiffe://example.org/batch/job", "spiffe://example.org/batch/a/b"])
        {
            ((string?)TokenDraft.Of((await Send(service, Svid(subject))).AccessToken).Claims["client_id"]).Should().Be("batch");
        }
    }

    [Fact]
    public async Task The_bundle_of_one_trust_domain_is_never_accepted_for_another()
    {
        await using var service = await StartWithFile(Bundle(P256.Jwk("2")));

        Unknown(await Send(service, WorkloadTokens.Svid(Now, "spiffe://other.example/x").WithHeader("kid", "2").SignedBy(P256, "ES256")));
        Unknown(await Send(service, Svid(key: s_second)));
        (await Send(service, WorkloadTokens.Svid(Now, "spiffe://other.example/x").WithHeader("kid", "2").SignedBy(s_second, "ES256"))).Status.Should().Be(200);
    }

    [Theory]
    [InlineData("sig")]
    [InlineData("x509-svid")]
    [InlineData(null)]
    public async Task Keys_of_a_bundle_that_are_not_for_JWT_SVIDs_are_not_used(string? use)
    {
        var other = s_second.Jwk("2");
        _ = use is null ? other.Remove("use") : (other["use"] = use) is null;
        await using var service = await StartWithFile($$"""{ "keys": [ {{other.ToJsonString()}}, {{Key(Rsa.Jwk("1"))}} ] }""");

        Unknown(await Send(service, Svid(key: s_second)));
        (await Send(service, WorkloadTokens.Svid(Now).SignedBy(Rsa))).Status.Should().Be(200);
    }

    [Fact]
    public async Task The_bundle_may_come_from_its_endpoint()
    {
        await using var host = await KeySetHost.Start($$"""{ "spiffe_sequence": 7, "spiffe_refresh_hint": 300, "keys": [ {{Key(P256.Jwk("2"))}} ] }""");
        await using var service = await AssertionClients.Start(clock: _clock, file: FederationTests.File(
            $$"""{ "name": "mesh", "trust_domain": "example.org", "spiffe_bundle_endpoint": "{{host.Uri}}" }""", Clients(false)));

        (await Send(service, Svid())).Status.Should().Be(200);
        (await Send(service, Svid())).Status.Should().Be(200);
        host.Asked.Should().Be(1);

        host.Publish(Bundle(s_second.Jwk("3")));
        (await Send(service, Svid(key: s_second, kid: "3"))).Status.Should().Be(200);
        Unknown(await Send(service, Svid()));
    }

    [Fact]
    [Trait("Host", "InProcess")]
    public async Task A_bundle_file_that_is_replaced_is_read_again()
    {
        await using var service = await StartWithFile(Bundle(P256.Jwk("2")));
        (await Send(service, Svid())).Status.Should().Be(200);

        _folder.Write("bundle.json", Bundle(s_second.Jwk("3")));
        (await Send(service, Svid(key: s_second, kid: "3"))).Status.Should().Be(200, "an unknown kid is looked for at once");
        Unknown(await Send(service, Svid()));

        System.IO.File.Delete(_folder.File("bundle.json"));
        _clock.Advance(TimeSpan.FromMinutes(2));
        (await Send(service, WorkloadTokens.Svid(_clock.GetUtcNow()).WithHeader("kid", "3").SignedBy(s_second, "ES256"))).Status.Should().Be(200, "the keys are used on");
    }

    [Theory]
    [InlineData(null)]
    [InlineData("nothing")]
    [InlineData("{\"keys\":[]}")]
    [InlineData("huge")]
    [InlineData("a private key")]
    public async Task While_there_is_no_bundle_of_use_the_answer_is_503(string? content)
    {
        var shown = P256.Jwk("2");
        (shown["d"], shown["use"]) = ("AQAB", "jwt-svid");
        await using var service = await StartWithFile(content switch
        {
            "huge" => Bundle(P256.Jwk("2")) + new string(' ', 64 * 1024),
            "a private key" => ClientKeyPair.Set(shown),
            _ => content,
        });

        TokenEndpointRefusalTests.Refused(await Send(service, Svid()), 503, "temporarily_unavailable");
    }

    internal static string Svid(string subject = WorkloadTokens.SpiffeId, ClientKeyPair? key = null, string kid = "2")
        => WorkloadTokens.Svid(Now, subject).WithHeader("kid", kid).SignedBy(key ?? P256, "ES256");

    private static string Key(JsonObject key)
    {
        key["use"] = "jwt-svid";
        return key.ToJsonString();
    }

    internal static string Bundle(params JsonObject[] keys) => $$"""{ "keys": [ {{string.Join(',', keys.Select(Key))}} ] }""";

    internal static Task<Answer> Send(RunningService service, string token, string extra = "")
        => service.Token(AssertionDraft.Form(token, AssertionDraft.JwtSpiffe) + extra);

    private static string Clients(bool other) => $$"""
        { "client_id": "indexer", "token_endpoint_auth_method": "spiffe_jwt", "scope": "catalog.read", "spiffe_id": "{{WorkloadTokens.SpiffeId}}" },
        { "client_id": "batch", "token_endpoint_auth_method": "spiffe_jwt", "scope": "catalog.read", "spiffe_id": "spiffe://example.org/batch/*" }
        {{(other ? """, { "client_id": "other", "token_endpoint_auth_method": "spiffe_jwt", "scope": "catalog.read", "spiffe_id": "spiffe://other.example/x" }""" : "")}}
        """;

    private Task<RunningService> StartWithFile(string? bundle) => StartWithFile(_folder, _clock, bundle);

    internal static Task<RunningService> StartWithFile(TemporaryFolder folder, TimeProvider clock, string? bundle)
    {
        if (bundle is not null)
        {
            folder.Write("bundle.json", bundle);
        }

        folder.Write("other.json", Bundle(s_second.Jwk("2")));
        return AssertionClients.Start(folder, clock, FederationTests.File(
            $$"""
            { "name": "mesh", "trust_domain": "example.org", "spiffe_bundle_file": "{{folder.File("bundle.json")}}" },
            { "name": "other-mesh", "trust_domain": "other.example", "spiffe_bundle_file": "{{folder.File("other.json")}}" }
            """,
            Clients(true)));
    }
}
