using System;
using System.Linq;
using System.Text.Json;
using System.Threading.Tasks;
using FluentAssertions;
using TokenService.Tests.Endpoints;
using TokenService.Tests.Support;
using Xunit;
using static TokenService.Tests.Endpoints.FederationTests;
using static TokenService.Tests.Support.AssertionClients;

namespace TokenService.Tests.Commands;

/// <summary><c>explain</c> of the tokens of workloads.</summary>
public sealed class ExplainWorkloadTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();
    private readonly Cli _cli;

    public ExplainWorkloadTests() => _cli = new Cli(_folder);

    private static DateTimeOffset Clock => DateTimeOffset.UtcNow;

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task A_right_token_is_called_right_until_it_expires()
    {
        await Apply();

        var pod = await Explain("indexer", WorkloadTokens.Projected(Clock).SignedBy(Rsa));
        (pod.ExitCode, pod.Output).Should().Be((0, "The assertion is right: client \"indexer\" would be authenticated with it, until it expires.\n"), pod.Error);
        var svid = await Explain("svid", WorkloadTokens.Svid(Clock).SignedBy(Rsa));
        (svid.ExitCode, svid.Output).Should().Be((0, "The assertion is right: client \"svid\" would be authenticated with it, until it expires.\n"), svid.Error);
    }

    [Fact]
    public async Task Every_fault_is_listed_at_once_without_the_token()
    {
        await Apply();
        var token = WorkloadTokens.Projected(Clock.AddDays(-3), serviceAccount: "other", ns: "bank").With("aud", "https://kubernetes.default.svc")
            .WithHeader("typ", "at+jwt").SignedBy(ClientKeyPair.OfRsa());

        var faults = await Explain("two", token, "--json");

        faults.ExitCode.Should().Be(1);
        Checks(faults).Should().Equal("typ", "aud", "exp", "signature", "sub");
        foreach (var part in token.Split('.'))
        {
            (faults.Output + faults.Error).Should().NotContain(part);
        }
    }

    [Theory]
    [InlineData("indexer", "iss", "the issuer of one of those that are trusted (issuers)", "\"https://elsewhere.example.com\"")]
    [InlineData("two", "/kubernetes.io/namespace", "\"bank\" or \"till\", as registered for issuer platform", "a token where it is \"shop\"")]
    [InlineData("of-other", "federation", "a token of an issuer that it is registered for: other", "a token of issuer platform with sub \"system:serviceaccount:shop:indexer\"")]
    [InlineData("long", "exp", "a token must live for at most 24 hours, from iat to exp", "one that lives for 24.1 hours")]
    public async Task What_depends_on_the_registration_is_listed_too(string client, string check, string expected, string came)
    {
        await Apply();
        var draft = client switch
        {
            "indexer" => WorkloadTokens.Projected(Clock, "https://elsewhere.example.com"),
            "long" => WorkloadTokens.Projected(Clock).With("iat", Clock.ToUnixTimeSeconds() - 83_160),
            _ => WorkloadTokens.Projected(Clock),
        };

        var faults = await Explain(client == "long" ? "indexer" : client, draft.SignedBy(Rsa), "--json");

        var fault = JsonDocument.Parse(faults.Output).RootElement.EnumerateArray().Should().ContainSingle().Which;
        (Text("check"), Text("expected"), Text("came")).Should().Be((check, expected, came));

        string? Text(string member) => fault.GetProperty(member).GetString();
    }

    [Fact]
    public async Task A_trust_domain_that_nobody_speaks_for_is_told()
    {
        await Apply();

        Checks(await Explain("svid", WorkloadTokens.Svid(Clock, "spiffe://example.com/x").SignedBy(Rsa), "--json")).Should().Equal("trust_domain");
        Checks(await Explain("svid", WorkloadTokens.Svid(Clock, "spiffe://example.org/x").SignedBy(Rsa), "--json")).Should().Equal("sub");
        Checks(await Explain("svid", WorkloadTokens.Projected(Clock).SignedBy(Rsa), "--json")).Should().Equal("trust_domain", "sub");
        Checks(await Explain("svid", "x.y", "--json")).Should().Equal("client_assertion");
    }

    [Fact]
    public async Task A_client_that_is_disabled_is_told()
    {
        await Apply();
        TokenEndpointRefusalTests.Disable(_folder, "indexer");

        Checks(await Explain("indexer", WorkloadTokens.Projected(Clock).SignedBy(Rsa), "--json")).Should().Equal("disabled");
    }

    [Fact]
    public async Task An_issuer_that_cannot_be_asked_is_told()
    {
        await using var host = await KeySetHost.Start();
        host.Fail();
        await _cli.Run("apply", _folder.Write("clients.json", FederationTests.File(
            $$"""{ "name": "platform", "issuer": "{{WorkloadTokens.ClusterIssuer}}", "jwks_uri": "{{host.Uri}}" }""",
            Client("indexer", "platform", """{ "sub": "system:serviceaccount:shop:indexer" }"""))));

        var faults = await Explain("indexer", WorkloadTokens.Projected(Clock).SignedBy(Rsa), "--json");

        Checks(faults).Should().Equal("jwks_uri");
        faults.Error.Should().Contain($"The key set at {host.Uri.AbsoluteUri} cannot be fetched: it answered 500");
    }

    private static string?[] Checks(Finished finished)
        => [.. JsonDocument.Parse(finished.Output).RootElement.EnumerateArray().Select(fault => fault.GetProperty("check").GetString())];

    private async Task Apply()
    {
        var key = Rsa.Jwk();
        key["use"] = "jwt-svid";
        var applied = await _cli.Run("apply", _folder.Write("clients.json", FederationTests.File(
            $$"""
            {{Cluster("platform")}}, { "name": "other", "issuer": "https://other.example.com", "jwks": KEYS },
            { "name": "mesh", "trust_domain": "example.org", "spiffe_bundle_file": "{{_folder.Write("bundle.json", ClientKeyPair.Set(key))}}" }
            """,
            $$"""
            {{Client("indexer", "platform", """{ "sub": "system:serviceaccount:shop:indexer" }""")}},
            {{Client("two", "platform", """{ "sub": "system:serviceaccount:shop:*", "/kubernetes.io/namespace": ["bank", "till"] }""")}},
            {{Client("of-other", "other", """{ "sub": "x" }""")}},
            { "client_id": "svid", "token_endpoint_auth_method": "spiffe_jwt", "scope": "catalog.read", "spiffe_id": "{{WorkloadTokens.SpiffeId}}" }
            """)));
        applied.ExitCode.Should().Be(0, applied.Error);
    }

    private Task<Finished> Explain(string client, string token, params string[] more)
        => _cli.Run(["explain", "--client", client, "--assertion", _folder.Write("token.jwt", token), $"--TokenService:Issuer={Issuer}", .. more]);
}
