using System;
using System.Linq;
using System.Net.Http;
using System.Threading.Tasks;
using FluentAssertions;
using Microsoft.IdentityModel.JsonWebTokens;
using TokenService.Tests.Support;
using Xunit;

namespace TokenService.Tests.Endpoints;

/// <summary>The certificate of a client whose TLS ends at a proxy (RFC 9440).</summary>
public sealed class ClientCertHeaderTests
{
    private const string Known = "--TokenService:ForwardedHeaders:KnownProxies=127.0.0.1";

    [Fact]
    public async Task A_known_proxy_is_believed_with_the_chain_that_it_tells_and_whomever_it_speaks_for()
    {
        await using var tls = await MutualTlsService.StartBehindProxy(Known);
        var direct = tls.Root.Issue("CN=x", names => names.AddDnsName("bound.example.com"));
        var outermost = tls.Root.Intermediate("o");
        var innermost = outermost.Intermediate("i");
        var below = innermost.Issue("CN=x", names => names.AddDnsName("bound.example.com"));

        var answer = await Ask(tls, "bound", ("Client-Cert", Field(direct.RawData)), ("X-Forwarded-For", "203.0.113.9"));
        answer.Status.Should().Be(200, answer.Body);
        new JsonWebToken(answer.AccessToken).TryGetPayloadValue<System.Text.Json.JsonElement>("cnf", out _).Should().BeTrue();
        (await Ask(tls, "bound", ("Client-Cert", Field(below.RawData)))).Status.Should().Be(401);
        (await Ask(tls, "bound", ("Client-Cert", Field(below.RawData)), ("Client-Cert-Chain", $"{Field(innermost.Certificate.RawData)}, {Field(outermost.Certificate.RawData)}")))
            .Status.Should().Be(200);
        (await Ask(tls, "bound")).Status.Should().Be(401);
    }

    [Fact]
    public async Task Nobody_else_is_believed_and_the_operator_is_told()
    {
        await using var tls = await MutualTlsService.StartBehindProxy("--TokenService:ForwardedHeaders:KnownProxies=127.0.0.2 10.0.0.0/8 ::1");
        var certificate = Field(tls.Root.Issue("CN=x", names => names.AddDnsName("indexer.example.com")).RawData);

        foreach (var header in (string[])[certificate, "malformed"])
        {
            var answer = await Ask(tls, "dns", ("Client-Cert", header), ("X-Forwarded-For", "127.0.0.2"));

            (answer.Status, answer.Error).Should().Be((401, "invalid_client"));
            (await tls.Reason(answer)).Should().Be((
                "client_certificate", "a certificate: it is registered for tls_client_auth",
                "no certificate of its own; a Client-Cert header was ignored, since it does not come from a known proxy (TokenService:ForwardedHeaders:KnownProxies)"));
        }
    }

    [Fact]
    public async Task What_a_known_proxy_sends_malformed_is_an_invalid_request()
    {
        await using var tls = await MutualTlsService.StartBehindProxy(Known);
        var certificate = tls.Root.Issue("CN=x", names => names.AddDnsName("indexer.example.com"));
        var base64 = Convert.ToBase64String(certificate.RawData);

        foreach (var field in (string[])
        [
            "", ":", "::", ":AAAA:", base64, $":{base64}", $"{base64}:", $":{base64}:;a=1", $":{base64}:, :{base64}:", $":{base64[..^8]}:", $":{base64[..40]} {base64[40..]}:",
            Field([.. certificate.RawData, 0]), Field("x"u8.ToArray()), $":{Uri.EscapeDataString(certificate.ExportCertificatePem())}:", "\"x\"", $":{new string('A', 8000)}:",
        ])
        {
            var answer = await Ask(tls, "dns", ("Client-Cert", field));

            (answer.Status, answer.Error).Should().Be((400, "invalid_request"), field);
            answer.Json.GetProperty("error_description").GetString().Should().Be(
                "The header Client-Cert, which the proxy before this service writes, is malformed. It must be one certificate in DER, as base64 between two colons (RFC 9440).");
        }

        var twice = await Ask(tls, "dns", ("Client-Cert", Field(certificate.RawData)), ("Client-Cert", Field(certificate.RawData)));
        (twice.Status, twice.Error).Should().Be((400, "invalid_request"));
        foreach (var chain in (string[])["x", ":AAAA:", string.Join(", ", Enumerable.Repeat(Field(certificate.RawData), 9))])
        {
            var answer = await Ask(tls, "dns", ("Client-Cert", Field(certificate.RawData)), ("Client-Cert-Chain", chain));
            (answer.Status, answer.Json.GetProperty("error_description").GetString()).Should().Be((400,
                "The header Client-Cert-Chain, which the proxy before this service writes, is malformed. It must be at most 8 certificates in DER, each as base64 between two colons, with commas between them (RFC 9440)."));
        }
    }

    [Fact]
    public async Task The_header_does_nothing_where_mutual_TLS_is_off()
    {
        await using var tls = await MutualTlsService.StartBehindProxy(Known, "--TokenService:Mtls:Enabled=false");
        var certificate = tls.Root.Issue("CN=x", names => names.AddDnsName("indexer.example.com"));

        (await Ask(tls, "dns", ("Client-Cert", Field(certificate.RawData)))).Status.Should().Be(401);
        (await Ask(tls, "dns", ("Client-Cert", "malformed"))).Status.Should().Be(401);
    }

    private static string Field(byte[] der) => $":{Convert.ToBase64String(der)}:";

    private static Task<Answer> Ask(MutualTlsService tls, string id, params ReadOnlySpan<(string Name, string Value)> headers)
    {
        var request = new HttpRequestMessage(HttpMethod.Post, "/oauth2/token") { Content = RunningService.Form($"grant_type=client_credentials&client_id={id}") };
        foreach (var (name, value) in headers)
        {
            request.Headers.TryAddWithoutValidation(name, value);
        }

        return tls.Service.Send(request);
    }
}
