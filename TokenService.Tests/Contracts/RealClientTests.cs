using System;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json;
using System.Threading.Tasks;
using Duende.IdentityModel.Client;
using FluentAssertions;
using TokenService.Tests.Support;
using Xunit;

namespace TokenService.Tests.Contracts;

/// <summary>Clients that nobody here wrote: curl, and Duende.IdentityModel from .NET.</summary>
public sealed class RealClientTests
{
    [NeedsFact("curl", "apt-get install curl")]
    public async Task Curl_gets_a_token_by_Basic_and_by_the_form()
    {
        await using var service = await RunningService.Start();
        var endpoint = new Uri(service.Url, "/oauth2/token").ToString();

        var basic = await Curl("-u", $"{Sample.Job}:{Sample.JobSecret}", "-d", "grant_type=client_credentials", "-d", "scope=catalog.read", endpoint);
        basic.GetProperty("scope").GetString().Should().Be("catalog.read");

        var form = await Curl(
            "-d", "grant_type=client_credentials", "--data-urlencode", $"client_id={Sample.FormJob}", "--data-urlencode", $"client_secret={Sample.FormSecret}", endpoint);
        form.GetProperty("token_type").GetString().Should().Be("Bearer");

        var refused = await Curl("-u", $"{Sample.Job}:wrong", "-d", "grant_type=client_credentials", endpoint);
        refused.GetProperty("error").GetString().Should().Be("invalid_client");

        static async Task<JsonElement> Curl(params string[] args)
            => JsonDocument.Parse((await RunningProgram.Run("curl", ["-sS", .. args])).Output).RootElement;
    }

    [NeedsFact("curl", "apt-get install curl")]
    public async Task Curl_gets_a_token_over_TLS_with_a_certificate_that_it_trusts()
    {
        using var folder = new TemporaryFolder();
        folder.Write("clients.json", Sample.File);
        WriteCertificate(folder);
        var port = RunningProgram.FreePort();
        var url = $"https://127.0.0.1:{port}";
        await using var program = await RunningProgram.Start(
            Repository.Program,
            [
                $"--contentRoot={folder.Path}", "--environment=Production", $"--urls={url}", $"--TokenService:Issuer={url}",
                "--TokenService:ApplyFile=clients.json", "--Kestrel:Certificates:Default:Path=tls.crt", "--Kestrel:Certificates:Default:KeyPath=tls.key",
            ],
            new Uri($"{url}/health/ready"));

        var answer = await RunningProgram.Run(
            "curl", ["-sS", "--cacert", folder.File("tls.crt"), "-u", $"{Sample.Job}:{Sample.JobSecret}", "-d", "grant_type=client_credentials", $"{url}/oauth2/token"]);

        answer.ExitCode.Should().Be(0, answer.Error);
        JsonDocument.Parse(answer.Output).RootElement.GetProperty("token_type").GetString().Should().Be("Bearer");
    }

    private static void WriteCertificate(TemporaryFolder folder)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=127.0.0.1", key, HashAlgorithmName.SHA256);
        var names = new SubjectAlternativeNameBuilder();
        names.AddIpAddress(System.Net.IPAddress.Loopback);
        request.CertificateExtensions.Add(names.Build());
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(certificateAuthority: true, hasPathLengthConstraint: false, 0, critical: true));
        using var certificate = request.CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(1));
        folder.Write("tls.crt", certificate.ExportCertificatePem());
        folder.Write("tls.key", key.ExportPkcs8PrivateKeyPem());
    }

    [Theory]
    [InlineData(BasicAuthenticationHeaderStyle.Rfc6749)]
    [InlineData(BasicAuthenticationHeaderStyle.Rfc2617)]
    public async Task Duende_IdentityModel_discovers_the_service_and_gets_a_token_by_Basic(BasicAuthenticationHeaderStyle style)
    {
        await using var service = await RunningService.Start();
        var discovery = await service.Http.GetDiscoveryDocumentAsync(service.Url.ToString().TrimEnd('/'));
        discovery.IsError.Should().BeFalse(discovery.Error);
        discovery.KeySet!.Keys.Should().ContainSingle();

        using var request = new ClientCredentialsTokenRequest
        {
            Address = discovery.TokenEndpoint,
            ClientId = Sample.Job,
            ClientSecret = Sample.JobSecret,
            Scope = "catalog.search",
            ClientCredentialStyle = ClientCredentialStyle.AuthorizationHeader,
            AuthorizationHeaderStyle = style,
        };
        var token = await service.Http.RequestClientCredentialsTokenAsync(request);

        token.IsError.Should().BeFalse(token.Error);
        (token.TokenType, token.ExpiresIn, token.Scope).Should().Be(("Bearer", 600, "catalog.search"));
    }

    [Fact]
    public async Task Duende_IdentityModel_gets_a_token_by_the_form_and_reads_a_refusal()
    {
        await using var service = await RunningService.Start();

        (await Ask(Sample.FormSecret)).IsError.Should().BeFalse();
        var refused = await Ask("wrong");
        (refused.ErrorType, refused.HttpStatusCode).Should().Be((ResponseErrorType.Http, System.Net.HttpStatusCode.Unauthorized));
        JsonDocument.Parse(await refused.HttpResponse!.Content.ReadAsStringAsync()).RootElement.GetProperty("error").GetString().Should().Be("invalid_client");

        async Task<TokenResponse> Ask(string secret)
        {
            using var request = new ClientCredentialsTokenRequest
            {
                Address = new Uri(service.Url, "/oauth2/token").ToString(),
                ClientId = Sample.FormJob,
                ClientSecret = secret,
                ClientCredentialStyle = ClientCredentialStyle.PostBody,
                Resource = { Sample.CatalogUri },
            };
            return await service.Http.RequestClientCredentialsTokenAsync(request);
        }
    }
}
