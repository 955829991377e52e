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

/// <summary>The members of RFC 8705, from the file to the listing.</summary>
public sealed class MutualTlsMemberTests
{
    private const string Dns = "\"tls_client_auth_san_dns\": \"a.example.com\"";
    private const string OneOf = "exactly one of tls_client_auth_subject_dn, tls_client_auth_san_dns, tls_client_auth_san_uri, tls_client_auth_san_ip, tls_client_auth_san_email, in a declarative file";
    private const string Key = """{ "keys": [ { "kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0" } ] }""";

    [Theory]
    [InlineData("tls_client_auth", "", "token_endpoint_auth_method tls_client_auth needs " + OneOf)]
    [InlineData("tls_client_auth", Dns + ", \"tls_client_auth_san_ip\": \"192.0.2.7\"", "tls_client_auth_san_ip is one too many: there must be " + OneOf)]
    [InlineData("tls_client_auth", "\"tls_client_auth_san_dns\": \"*.example.com\"", "tls_client_auth_san_dns must be a DNS name in ASCII, such as indexer.example.com, without wildcard")]
    [InlineData("tls_client_auth", "\"tls_client_auth_subject_dn\": \"indexer\"", "tls_client_auth_subject_dn must be a distinguished name as RFC 4514 writes it, such as CN=indexer,O=Example (openssl x509 -noout -subject -nameopt RFC2253)")]
    [InlineData("tls_client_auth", "\"tls_client_auth_san_dns\": [\"a.example.com\"]", "tls_client_auth_san_dns must be a string, and is an array")]
    [InlineData("tls_client_auth", Dns + ", \"client_secret\": \"0123456789abcdef0123456789abcdef\"", "client_secret does not go with tls_client_auth: the client proves itself with its certificate alone")]
    [InlineData("tls_client_auth", Dns + ", \"jwks\": " + Key, "jwks does not go with tls_client_auth")]
    [InlineData("tls_client_auth", Dns + ", \"jwks_uri\": \"https://a.example.com\"", "jwks_uri does not go with tls_client_auth")]
    [InlineData("tls_client_auth", Dns + ", \"token_endpoint_auth_signing_alg\": \"RS256\"", "token_endpoint_auth_signing_alg does not go with tls_client_auth")]
    [InlineData("tls_client_auth", Dns + ", \"tls_client_certificate_bound_access_tokens\": \"true\"", "tls_client_certificate_bound_access_tokens must be true or false, and is a string")]
    [InlineData("self_signed_tls_client_auth", "", "jwks is missing: self_signed_tls_client_auth needs jwks, or jwks_uri")]
    [InlineData("self_signed_tls_client_auth", Dns + ", \"jwks\": " + Key, "tls_client_auth_san_dns does not go with self_signed_tls_client_auth")]
    [InlineData("private_key_jwt", Dns + ", \"jwks\": " + Key, "tls_client_auth_san_dns does not go with private_key_jwt")]
    public void What_does_not_go_together_is_refused_with_the_place(string method, string members, string fault)
    {
        var parse = () => Parse(method, members);

        parse.Should().Throw<OperatorFaultException>().Which.Message.Should().Be($"clients.json: clients[0].{fault}. Nothing was applied.");
    }

    [Theory]
    [InlineData(CertificateName.SubjectDn, "CN=a,O=b")]
    [InlineData(CertificateName.SanDns, "a.example.com")]
    [InlineData(CertificateName.SanUri, "spiffe://example.org/a")]
    [InlineData(CertificateName.SanIp, "192.0.2.7")]
    [InlineData(CertificateName.SanEmail, "a@example.com")]
    public void What_is_registered_is_kept_and_compared(string member, string value)
    {
        using var folder = new TemporaryFolder();
        using var store = TokenService.Storage.Store.Open(Operations.SettingsTests.Read(folder.Path));
        ApplyFile.Once(Parse("tls_client_auth", $"\"{member}\": \"{value}\", \"tls_client_certificate_bound_access_tokens\": true"), store.Registry, DateTimeOffset.UnixEpoch);

        var client = store.Registry.Read().FindClient("c")!;
        (client.CertificateName, client.CertificateBound).Should().Be((new CertificateName(member, value), true));
        Plan($"\"{member}\": \"{value}\", \"tls_client_certificate_bound_access_tokens\": true").Changes.Should().BeEmpty();
        Plan($"\"{member}\": \"{value}\"").Changes.Single().Members.Should().Equal("tls_client_certificate_bound_access_tokens");
        Plan("\"tls_client_auth_san_dns\": \"b.example.com\"").Changes.Single().Members.Should().Equal("tls_client_auth_san_dns");
        Plan("\"tls_client_auth_san_uri\": \"urn:b\"").Changes.Single().Members.Should().Equal("tls_client_auth_san_uri");

        ApplyPlan Plan(string members) => ApplyFile.Once(Parse("tls_client_auth", members), store.Registry, DateTimeOffset.UnixEpoch);
    }

    [Fact]
    public async Task Commands_show_it_and_rotate_nothing()
    {
        using var folder = new TemporaryFolder();
        var cli = new Cli(folder);
        var file = folder.Write("clients.json", File("tls_client_auth", Dns + ", \"tls_client_certificate_bound_access_tokens\": true"));
        (await cli.Run("apply", file)).ExitCode.Should().Be(0);

        using var shown = JsonDocument.Parse((await cli.Run("clients", "show", "c", "--json")).Output);
        shown.RootElement.GetProperty("tls_client_auth_san_dns").GetString().Should().Be("a.example.com");
        shown.RootElement.GetProperty("tls_client_certificate_bound_access_tokens").GetBoolean().Should().BeTrue();
        (await cli.Run("clients", "show", "c")).Output.Should()
            .Contain("\ntls_client_auth_san_dns         a.example.com\ntls_client_certificate_bound_access_tokens true\n");
        var rotated = await cli.Run("clients", "rotate-secret", "c");
        (rotated.ExitCode, rotated.Error).Should().Be((1, "Client \"c\" has no secret: it proves itself with its certificate (tls_client_auth).\n"));
    }

    private static DeclarativeFile Parse(string method, string members)
        => DeclarativeFile.Parse(Encoding.UTF8.GetBytes(File(method, members)), "clients.json", development: false, TimeSpan.FromHours(1));

    private static string File(string method, string members) => $$"""
        { "resources": [ { "resource": "urn:a", "scopes": [ { "name": "s" } ] } ],
          "clients": [ { "client_id": "c", "scope": "s", "token_endpoint_auth_method": "{{method}}"{{(members.Length == 0 ? "" : ", " + members)}} } ] }
        """;
}
