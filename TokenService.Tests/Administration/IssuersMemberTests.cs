using System;
using System.Linq;
using System.Text;
using System.Text.Json;
using System.Threading.Tasks;
using FluentAssertions;
using TokenService.Administration;
using TokenService.Clients;
using TokenService.Protocol;
using TokenService.Tests.Support;
using Xunit;

namespace TokenService.Tests.Administration;

/// <summary>The members <c>issuers</c>, <c>federation</c> and <c>spiffe_id</c>, from the file to the listing.</summary>
public sealed class IssuersMemberTests : IDisposable
{
    private const string Cluster = """{ "name": "c", "issuer": "https://cluster.example.com" }""";
    private const string Mesh = """{ "name": "m", "trust_domain": "example.org", "spiffe_bundle_file": "/etc/bundle.json" }""";
    private const string Rule = """{ "issuer": "c", "claims": { "sub": "system:serviceaccount:shop:indexer" } }""";

    private static readonly string s_keys = ClientKeyPair.Set(AssertionClients.Rsa.Jwk());
    private static readonly string s_moreKeys = ClientKeyPair.Set(ClientKeyPair.OfRsa().Jwk("9"), AssertionClients.Rsa.Jwk());

    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData("""{ "name": "a.b-c_1", "issuer": "https://x.example.com" }""")]
    [InlineData("""{ "name": "a", "issuer": "http://127.0.0.1:8080/path/" }""")]
    [InlineData("""{ "name": "a", "issuer": "kubernetes/serviceaccount", "jwks": KEYS }""")]
    [InlineData("""{ "name": "a", "issuer": "https://k", "jwks_uri": "https://k:6443/openid/v1/jwks", "ca_file": "/ca", "bearer_token_file": "/t", "audience": "me" }""")]
    [InlineData("""{ "name": "a", "issuer": "https://k", "ca_file": "/ca", "bearer_token_file": "/t" }""")]
    [InlineData("""{ "name": "a", "trust_domain": "example.org", "spiffe_bundle_endpoint": "https://b.example.com/" }""")]
    [InlineData("""{ "name": "a", "trust_domain": "a_b-1.c", "spiffe_bundle_file": "/b" }""")]
    [InlineData("""{ "name": "a", "issuer": "https://k", "jwks": KEYS }, { "name": "b", "issuer": "https://k", "jwks_uri": "https://k/keys" }, { "name": "d", "issuer": "https://k" }""")]
    public void Issuers_are_taken(string issuers) => Parse(issuers, "").Issuers.Should().NotBeEmpty();

    [Theory]
    [InlineData("""{ "issuer": "https://k" }""", "issuers[0].name must have 1 to 64 letters")]
    [InlineData("""{ "name": "a/b", "issuer": "https://k" }""", "issuers[0].name must have 1 to 64 letters")]
    [InlineData("""{ "name": "a" }""", "issuers[0].issuer is missing: the iss of its tokens (or trust_domain, for SPIFFE)")]
    [InlineData("""{ "name": "a", "issuer": "https://k", "trust_domain": "x", "spiffe_bundle_file": "/b" }""", "issuers[0].issuer does not go with trust_domain")]
    [InlineData("""{ "name": "a", "issuer": "", "jwks": KEYS }""", "issuers[0].issuer must have 1 to 1024 printable")]
    [InlineData("""{ "name": "a", "issuer": "spiffe://example.org", "jwks": KEYS }""", "issuers[0].issuer must have 1 to 1024 printable")]
    [InlineData("""{ "name": "a", "issuer": "a b", "jwks": KEYS }""", "issuers[0].issuer must have 1 to 1024 printable")]
    [InlineData("""{ "name": "a", "issuer": "kubernetes/serviceaccount" }""", "issuers[0].issuer must be an https URL (http on loopback only) where neither")]
    [InlineData("""{ "name": "a", "issuer": "http://k.example.com" }""", "issuers[0].issuer must be an https URL (http on loopback only) where neither")]
    [InlineData("""{ "name": "a", "issuer": "https://k?x=y" }""", "issuers[0].issuer must be an https URL (http on loopback only) where neither")]
    [InlineData("""{ "name": "a", "issuer": "https://k", "jwks": KEYS, "jwks_uri": "https://k" }""", "issuers[0].jwks_uri does not go with jwks")]
    [InlineData("""{ "name": "a", "issuer": "https://k", "jwks_uri": "http://k" }""", "issuers[0].jwks_uri must be an https URL")]
    [InlineData("""{ "name": "a", "issuer": "https://k", "jwks_uri": "https://169.254.169.254/" }""", "issuers[0].jwks_uri must be an https URL")]
    [InlineData("""{ "name": "a", "issuer": "https://k", "jwks": { "keys": [] } }""", "issuers[0].jwks.keys must have 1 to 32 keys")]
    [InlineData("""{ "name": "a", "issuer": "https://k", "jwks": KEYS, "ca_file": "/ca" }""", "issuers[0].ca_file goes with keys that are fetched by https only")]
    [InlineData("""{ "name": "a", "issuer": "https://k", "jwks_uri": "http://localhost", "ca_file": "/ca" }""", "issuers[0].ca_file goes with keys that are fetched by https only")]
    [InlineData("""{ "name": "a", "issuer": "https://k", "ca_file": "ca" }""", "issuers[0].ca_file must be the absolute path")]
    [InlineData("""{ "name": "a", "issuer": "https://k", "jwks": KEYS, "bearer_token_file": "/t" }""", "issuers[0].bearer_token_file goes with keys that are fetched only")]
    [InlineData("""{ "name": "a", "issuer": "https://k", "bearer_token_file": "../t" }""", "issuers[0].bearer_token_file must be the absolute path")]
    [InlineData("""{ "name": "a", "issuer": "https://k", "audience": "a b" }""", "issuers[0].audience must have 1 to 1024 printable")]
    [InlineData("""{ "name": "a", "issuer": "https://k", "audience": ["a"] }""", "issuers[0].audience must be a string, and is an array")]
    [InlineData("""{ "name": "a", "issuer": "https://k", "spiffe_bundle_file": "/b" }""", "issuers[0].spiffe_bundle_file goes with trust_domain only")]
    [InlineData("""{ "name": "a", "issuer": "https://k", "spiffe_bundle_endpoint": "https://b" }""", "issuers[0].spiffe_bundle_endpoint goes with trust_domain only")]
    [InlineData("""{ "name": "a", "trust_domain": "example.org" }""", "issuers[0].spiffe_bundle_endpoint is missing")]
    [InlineData("""{ "name": "a", "trust_domain": "x", "spiffe_bundle_endpoint": "https://b", "spiffe_bundle_file": "/b" }""", "issuers[0].spiffe_bundle_endpoint does not go with spiffe_bundle_file")]
    [InlineData("""{ "name": "a", "trust_domain": "x", "spiffe_bundle_endpoint": "http://b.example.com" }""", "issuers[0].spiffe_bundle_endpoint must be an https URL")]
    [InlineData("""{ "name": "a", "trust_domain": "x", "spiffe_bundle_file": "b.json" }""", "issuers[0].spiffe_bundle_file must be the absolute path")]
    [InlineData("""{ "name": "a", "trust_domain": "Example.org", "spiffe_bundle_file": "/b" }""", "issuers[0].trust_domain must be the name of a SPIFFE trust domain")]
    [InlineData("""{ "name": "a", "trust_domain": "spiffe://x", "spiffe_bundle_file": "/b" }""", "issuers[0].trust_domain must be the name of a SPIFFE trust domain")]
    [InlineData("""{ "name": "a", "trust_domain": "x", "spiffe_bundle_file": "/b", "jwks_uri": "https://k" }""", "issuers[0].jwks_uri does not go with trust_domain")]
    [InlineData("""{ "name": "a", "trust_domain": "x", "spiffe_bundle_file": "/b", "jwks": KEYS }""", "issuers[0].jwks does not go with trust_domain")]
    [InlineData("""{ "name": "a", "trust_domain": "x", "spiffe_bundle_file": "/b", "ca_file": "/ca" }""", "issuers[0].ca_file goes with keys that are fetched by https only")]
    [InlineData("""{ "name": "a", "issuer": "https://k", "discovery": true }""", "issuers[0].discovery is not a member that this service knows")]
    [InlineData("""{ "name": "a", "issuer": "https://k" }, { "name": "a", "issuer": "https://l" }""", "issuers[1].name \"a\" stands already at issuers[0].name")]
    [InlineData("""{ "name": "a", "issuer": "https://k" }, { "name": "b", "issuer": "https://k" }""", "issuers[1].issuer \"https://k\" stands already at issuers[0].issuer, with the same keys")]
    [InlineData("""{ "name": "a", "issuer": "https://k", "jwks": KEYS }, { "name": "b", "issuer": "https://k", "jwks": MORE }""", "issuers[1].issuer \"https://k\" stands already at issuers[0].issuer, with the same keys")]
    [InlineData("""{ "name": "a", "trust_domain": "x", "spiffe_bundle_file": "/b" }, { "name": "b", "trust_domain": "x", "spiffe_bundle_file": "/c" }""", "issuers[1].trust_domain \"x\" stands already at issuers[0].trust_domain")]
    public void Issuers_with_a_fault_are_refused_with_the_place(string issuers, string fault) => Refused(issuers, "", fault);

    [Theory]
    [InlineData("""{ "issuer": "c", "claims": { "sub": ["a", "b:*"], "/kubernetes.io/namespace": "shop" } }""")]
    [InlineData("""{ "issuer": "c", "claims": { "sub": "a" } }, { "issuer": "c", "claims": { "sub": "b" } }""")]
    [InlineData("""{ "issuer": "c", "claims": { "sub": "repo:acme/*" } }""")]
    public void Rules_are_taken(string rules) => Parse(Cluster, Federated(rules)).Clients[0].Federation.Should().NotBeEmpty();

    [Theory]
    [InlineData("", "clients[0].federation is missing: federated_jwt needs at least one rule, in a declarative file")]
    [InlineData("{}", "clients[0].federation[0].issuer is missing")]
    [InlineData("""{ "issuer": "c" }""", "clients[0].federation[0].claims must have 1 to 64 claims: without any, every token of the issuer would do")]
    [InlineData("""{ "issuer": "c", "claims": {} }""", "clients[0].federation[0].claims must have 1 to 64 claims")]
    [InlineData("""{ "issuer": "d", "claims": { "sub": "a" } }""", "clients[0].federation[0].issuer names \"d\", which is the name of none of the issuers")]
    [InlineData("""{ "issuer": "m", "claims": { "sub": "a" } }""", "clients[0].federation[0].issuer names \"m\", which is the name of none of the issuers but of a trust domain")]
    [InlineData("""{ "issuer": "https://cluster.example.com", "claims": { "sub": "a" } }""", "clients[0].federation[0].issuer names \"https://cluster.example.com\"")]
    [InlineData("""{ "issuer": "c", "claims": { "sub": "*" } }""", "clients[0].federation[0].claims.sub must have a character that separates")]
    [InlineData("""{ "issuer": "c", "claims": { "sub": "repo:acme/shop*" } }""", "clients[0].federation[0].claims.sub must have a character that separates")]
    [InlineData("""{ "issuer": "c", "claims": { "sub": ["a", "b*"] } }""", "clients[0].federation[0].claims.sub[1] must have a character that separates")]
    [InlineData("""{ "issuer": "c", "claims": { "sub": "repo:*:main" } }""", "clients[0].federation[0].claims.sub may have * at its end only")]
    [InlineData("""{ "issuer": "c", "claims": { "sub": "repo:**" } }""", "clients[0].federation[0].claims.sub may have * at its end only")]
    [InlineData("""{ "issuer": "c", "claims": { "sub": "" } }""", "clients[0].federation[0].claims.sub must have 1 to 1024 characters")]
    [InlineData("""{ "issuer": "c", "claims": { "sub": [] } }""", "clients[0].federation[0].claims.sub must have 1 to 64 values")]
    [InlineData("""{ "issuer": "c", "claims": { "sub": 5 } }""", "clients[0].federation[0].claims.sub must be a string, and is a number")]
    [InlineData("""{ "issuer": "c", "claims": { "sub": null } }""", "clients[0].federation[0].claims.sub must be a string, and is null")]
    [InlineData("""{ "issuer": "c", "claims": { "": "a" } }""", "clients[0].federation[0].claims. must be the name of a claim")]
    [InlineData("""{ "issuer": "c", "claims": { "/a~2": "a" } }""", "clients[0].federation[0].claims./a~2 must be a JSON Pointer")]
    [InlineData("""{ "issuer": "c", "claims": { "sub": "a" }, "audience": "x" }""", "clients[0].federation[0].audience is not a member")]
    public void Rules_with_a_fault_are_refused_with_the_place(string rules, string fault) => Refused($"{Cluster}, {Mesh}", Federated(rules), fault);

    [Theory]
    [InlineData("""{ "client_id": "a", "scope": "s", "token_endpoint_auth_method": "federated_jwt", "federation": [ RULE ], "client_secret": "x" }""", "clients[0].client_secret does not go with federated_jwt: the client proves itself by where it runs")]
    [InlineData("""{ "client_id": "a", "scope": "s", "token_endpoint_auth_method": "federated_jwt", "federation": [ RULE ], "jwks": KEYS }""", "clients[0].jwks does not go with federated_jwt")]
    [InlineData("""{ "client_id": "a", "scope": "s", "token_endpoint_auth_method": "federated_jwt", "federation": [ RULE ], "jwks_uri": "https://k" }""", "clients[0].jwks_uri does not go with federated_jwt")]
    [InlineData("""{ "client_id": "a", "scope": "s", "token_endpoint_auth_method": "federated_jwt", "federation": [ RULE ], "token_endpoint_auth_signing_alg": "RS256" }""", "clients[0].token_endpoint_auth_signing_alg does not go with federated_jwt")]
    [InlineData("""{ "client_id": "a", "scope": "s", "token_endpoint_auth_method": "federated_jwt", "federation": [ RULE ], "spiffe_id": "spiffe://example.org/a" }""", "clients[0].spiffe_id does not go with federated_jwt")]
    [InlineData("""{ "client_id": "a", "scope": "s", "client_secret": "0123456789abcdef0123456789abcdef", "federation": [ RULE ] }""", "clients[0].federation does not go with client_secret_basic")]
    [InlineData("""{ "client_id": "a", "scope": "s", "token_endpoint_auth_method": "private_key_jwt", "jwks": KEYS, "federation": [ RULE ] }""", "clients[0].federation does not go with private_key_jwt")]
    [InlineData("""{ "client_id": "a", "scope": "s", "token_endpoint_auth_method": "spiffe_jwt" }""", "clients[0].spiffe_id is missing: spiffe_jwt needs it, in a declarative file")]
    [InlineData("""{ "client_id": "a", "scope": "s", "token_endpoint_auth_method": "spiffe_jwt", "spiffe_id": "spiffe://example.org/a", "federation": [ RULE ] }""", "clients[0].federation does not go with spiffe_jwt")]
    [InlineData("""{ "client_id": "a", "scope": "s", "token_endpoint_auth_method": "spiffe_jwt", "spiffe_id": "spiffe://example.org" }""", "clients[0].spiffe_id must be a SPIFFE ID with a path")]
    [InlineData("""{ "client_id": "a", "scope": "s", "token_endpoint_auth_method": "spiffe_jwt", "spiffe_id": "spiffe://example.org/a*" }""", "clients[0].spiffe_id must be a SPIFFE ID with a path")]
    [InlineData("""{ "client_id": "a", "scope": "s", "token_endpoint_auth_method": "spiffe_jwt", "spiffe_id": "spiffe://example.org/../a" }""", "clients[0].spiffe_id must be a SPIFFE ID with a path")]
    [InlineData("""{ "client_id": "a", "scope": "s", "token_endpoint_auth_method": "spiffe_jwt", "spiffe_id": "spiffe://*/a" }""", "clients[0].spiffe_id must be a SPIFFE ID with a path")]
    [InlineData("""{ "client_id": "a", "scope": "s", "token_endpoint_auth_method": "spiffe_jwt", "spiffe_id": "https://example.org/a" }""", "clients[0].spiffe_id must be a SPIFFE ID with a path")]
    [InlineData("""{ "client_id": "a", "scope": "s", "token_endpoint_auth_method": "spiffe_jwt", "spiffe_id": "spiffe://example.com/a" }""", "clients[0].spiffe_id is of \"spiffe://example.com\", which is the trust_domain of none of the issuers")]
    public void Members_that_do_not_go_together_are_refused(string client, string fault)
        => Refused($"{Cluster}, {Mesh}", client.Replace("RULE", Rule, StringComparison.Ordinal), fault);

    [Fact]
    public async Task Commands_print_them_as_the_file_has_them_and_apply_tells_what_changed()
    {
        var cli = new Cli(_folder);
        var clients = $$"""
            { "client_id": "pod", "scope": "s", "token_endpoint_auth_method": "federated_jwt", "federation": [ {{Rule}} ] },
            { "client_id": "svid", "scope": "s", "token_endpoint_auth_method": "spiffe_jwt", "spiffe_id": "spiffe://example.org/ns/shop/*" }
            """;
        (await Apply(Cluster + ", " + Mesh, clients)).Should().Be("added resource urn:r\nadded issuer c\nadded issuer m\nadded client pod\nadded client svid\nDone.\n");
        (await Apply(Cluster + ", " + Mesh, clients)).Should().Be("Nothing to change.\n");

        Json((await cli.Run("clients", "show", "pod", "--json")).Output).GetProperty("federation").GetRawText()
            .Should().Be("""[{"issuer":"c","claims":{"sub":["system:serviceaccount:shop:indexer"]}}]""");
        Json((await cli.Run("clients", "show", "svid", "--json")).Output).GetProperty("spiffe_id").GetString().Should().Be("spiffe://example.org/ns/shop/*");
        (await cli.Run("clients", "show", "pod")).Output.Should()
            .Contain("federation                      [{\"issuer\":\"c\",\"claims\":{\"sub\":[\"system:serviceaccount:shop:indexer\"]}}]\n");
        (await cli.Run("clients", "show", "svid")).Output.Should().Contain("spiffe_id                       spiffe://example.org/ns/shop/*\n").And.NotContain("federation");
        (await cli.Run("clients", "list")).Output.Should().Contain("federated_jwt").And.Contain("spiffe_jwt");

        (await Apply(
            """{ "name": "c", "issuer": "https://cluster.example.com", "audience": "x", "jwks_uri": "https://k/keys" }, """ + Mesh.Replace("/etc", "/opt", StringComparison.Ordinal),
            clients.Replace("indexer", "other", StringComparison.Ordinal).Replace("/ns/shop/*", "/ns/*", StringComparison.Ordinal)))
            .Should().Be("changed issuer c (jwks_uri, audience)\nchanged issuer m (spiffe_bundle_file)\nchanged client pod (federation)\nchanged client svid (spiffe_id)\nDone.\n");
        (await Apply("", "")).Should().Be("removed client pod\nremoved client svid\nremoved issuer c\nremoved issuer m\nDone.\n");

        async Task<string> Apply(string issuers, string members)
        {
            var finished = await cli.Run("apply", _folder.Write("clients.json", File(issuers, members)));
            finished.ExitCode.Should().Be(0, finished.Error);
            return finished.Output;
        }
    }

    [Theory]
    [InlineData("federated_jwt", "federation is missing: federated_jwt needs at least one rule, in a declarative file.\n")]
    [InlineData("spiffe_jwt", "spiffe_id is missing: spiffe_jwt needs it, in a declarative file.\n")]
    public async Task A_command_does_not_register_them(string method, string error)
    {
        var finished = await new Cli(_folder).Run("clients", "add", "--id", "x", "--scope", "s", "--auth", method);

        (finished.ExitCode, finished.Output, finished.Error).Should().Be((1, "", error));
    }

    [Fact]
    public async Task They_have_no_secret_to_rotate()
    {
        var cli = new Cli(_folder);
        await cli.Run("apply", _folder.Write("clients.json", File(Cluster, Federated(Rule))));

        var finished = await cli.Run("clients", "rotate-secret", "a");

        (finished.ExitCode, finished.Output, finished.Error).Should()
            .Be((1, "", "Client \"a\" has no secret: it proves itself by where it runs (federated_jwt).\n"));
    }

    [Fact]
    public void A_secret_made_by_a_command_ends_with_the_change_to_a_workload()
    {
        var secret = new ClientSecret(ClientSecret.Digest(new Secret("x")), null, Origin.Command);
        var before = new Client
        {
            ClientId = "a",
            AuthenticationMethod = "client_secret_basic",
            GrantTypes = ["client_credentials"],
            Scopes = ["s"],
            Secrets = [secret],
            Origin = Origin.File,
        };

        var plan = ApplyPlan.Make(new Registry([before], []), Parse(Cluster, Federated(Rule)), DateTimeOffset.UnixEpoch);

        plan.Write.Clients.Single().Secrets.Should().BeEmpty();
    }

    private static string Federated(string rules)
        => $$"""{ "client_id": "a", "scope": "s", "token_endpoint_auth_method": "federated_jwt", "federation": [ {{rules}} ] }""";

    private static string File(string issuers, string clients) => $$"""
        { "resources": [ { "resource": "urn:r", "scopes": [ { "name": "s" } ] } ], "issuers": [ {{issuers}} ], "clients": [ {{clients}} ] }
        """.Replace("KEYS", s_keys, StringComparison.Ordinal).Replace("MORE", s_moreKeys, StringComparison.Ordinal);

    private static DeclarativeFile Parse(string issuers, string clients)
        => DeclarativeFile.Parse(Encoding.UTF8.GetBytes(File(issuers, clients)), "clients.json", development: true);

    private static void Refused(string issuers, string clients, string fault)
    {
        var parse = () => Parse(issuers, clients);

        parse.Should().Throw<OperatorFaultException>().Which.Message.Should()
            .StartWith($"clients.json: {fault}").And.EndWith("Nothing was applied.").And.NotContain("; ");
    }

    private static JsonElement Json(string text) => JsonDocument.Parse(text).RootElement;
}
