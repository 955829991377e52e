using System;
using System.Net.Http;
using System.Net.Http.Headers;
using System.Security.Cryptography.X509Certificates;
using System.Threading.Tasks;
using FluentAssertions;
using TokenService.Tests.Support;
using Xunit;

namespace TokenService.Tests.Samples;

/// <summary>What a token that is bound to a certificate is good for at the sample API, and for whom.</summary>
[Trait("Host", "InProcess")]
public sealed class CertificateBindingTests
{
    [Fact]
    public async Task A_bound_token_is_good_with_its_certificate_alone_and_the_reporting_job_uses_it_so()
    {
        await using var tls = await MutualTlsService.Start();
        var api = new Uri($"https://127.0.0.1:{RunningProgram.FreePort()}");
        (string, string) trust = ("SSL_CERT_FILE", tls.Folder.File("root.crt"));
        await using var program = await RunningProgram.Start(
            Repository.Built("samples/CatalogApi", "CatalogApi"),
            [
                $"--urls={api}", "--environment=Development", $"--Issuer={tls.Service.Url.ToString().TrimEnd('/')}", $"--Audience={Sample.CatalogUri}",
                $"--Kestrel:Certificates:Default:Path={tls.Folder.File("tls.crt")}", $"--Kestrel:Certificates:Default:KeyPath={tls.Folder.File("tls.key")}",
            ],
            new Uri(api, "/documents"),
            null,
            trust);
        var (own, another) = (Certificate(), Certificate());
        var bound = (await tls.Token(own, "client_id=bound")).AccessToken;

        (await Get(own, bound)).Status.Should().Be(200);
        foreach (var thief in (X509Certificate2?[])[null, another])
        {
            var stolen = await Get(thief, bound);
            stolen.Status.Should().Be(401);
            stolen.Response.Headers.WwwAuthenticate.ToString().Should().StartWith("Bearer error=\"invalid_token\"");
        }

        var unbound = (await tls.Token(tls.Root.Issue("CN=x", names => names.AddDnsName("indexer.example.com")), "client_id=dns")).AccessToken;
        (await Get(null, unbound)).Status.Should().Be(200);

        var finished = await RunningProgram.Run(
            Repository.Built("samples/ReportingJob", "ReportingJob"),
            [],
            null,
            trust,
            ("TOKEN_ISSUER", tls.Service.Url.ToString().TrimEnd('/')),
            ("CATALOG_API", api.ToString()),
            ("CLIENT_ID", "bound"),
            ("CLIENT_CERTIFICATE", tls.Folder.Write("client.crt", own.ExportCertificatePem())),
            ("CLIENT_CERTIFICATE_KEY", tls.Folder.Write("client.key", own.GetECDsaPrivateKey()!.ExportPkcs8PrivateKeyPem())),
            ("ROUNDS", "2"));
        finished.ExitCode.Should().Be(0, finished.Error);
        finished.Output.Should().Contain("Report 2: [{").And.EndWith("2 reports, 1 token.\n");

        X509Certificate2 Certificate() => tls.Root.Issue("CN=x", names => names.AddDnsName("bound.example.com"));

        async Task<Answer> Get(X509Certificate2? certificate, string token)
        {
            using var http = tls.Client(certificate);
            using var request = new HttpRequestMessage(HttpMethod.Get, new Uri(api, "/documents")) { Headers = { Authorization = new AuthenticationHeaderValue("Bearer", token) } };
            using var response = await http.SendAsync(request);
            return await Answer.Of(response);
        }
    }
}
