using System;
using System.Buffers.Text;
using System.Linq;
using System.Net.Http;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json;
using System.Threading.Tasks;
using FluentAssertions;
using Microsoft.Extensions.Time.Testing;
using Microsoft.IdentityModel.JsonWebTokens;
using TokenService.Tests.Support;
using Xunit;

namespace TokenService.Tests.Endpoints;

/// <summary>Client certificates (RFC 8705) in TLS that ends at the service.</summary>
[Trait("Host", "InProcess")]
public sealed class MutualTlsTests(MutualTlsTests.Fixture fixture) : IClassFixture<MutualTlsTests.Fixture>
{
    private MutualTlsService Tls => fixture.Tls;

    [Fact]
    public async Task A_certificate_with_the_registered_name_gets_a_token()
    {
        foreach (var (id, certificate) in ((string, X509Certificate2)[])
        [
            ("dn", Issue(Name(("2.5.4.10", "Example, Inc."), ("2.5.4.11", "Search"), ("2.5.4.7", "Bonn"), ("2.5.4.3", "indexer")))),
            ("dns", Tls.Root.Issue("CN=x", names => names.AddDnsName("indexer.example.com"))),
            ("dns", Tls.Root.Issue("CN=x", names => names.AddDnsName("Indexer.Example.COM"))),
            ("dns", Tls.Root.Issue("CN=x", names => Add(names, other: "first.example.com", "indexer.example.com", "last.example.com"))),
            ("uri", Tls.Root.Issue("CN=x", names => names.AddUri(new Uri("spiffe://example.org/indexer")))),
            ("ip", Tls.Root.Issue("CN=x", names => names.AddIpAddress(System.Net.IPAddress.Parse("2001:0db8:0:0::7")))),
            ("email", Tls.Root.Issue("CN=x", names => names.AddEmailAddress("Indexer@EXAMPLE.com"))),
            ("dns", Tls.Root.Issue("CN=x", names => names.AddDnsName("indexer.example.com"), usage: null)),
            ("self", TestAuthority.SelfSigned("CN=anything", Tls.OwnKey)),
        ])
        {
            var answer = await Tls.Token(certificate, $"client_id={id}");

            answer.Status.Should().Be(200, $"{id}: {answer.Body}");
            new JsonWebToken(answer.AccessToken).TryGetPayloadValue<JsonElement>("cnf", out _).Should().BeFalse("it is not registered for bound tokens");
        }
    }

    [Fact]
    public async Task Any_other_certificate_is_refused_as_every_client_is_and_the_operator_is_told_why()
    {
        var (now, stranger) = (DateTimeOffset.UtcNow, TestAuthority.Root("clients"));
        var unknown = await Tls.Token(Right(), "client_id=nobody");
        foreach (var (id, certificate, check, came) in ((string, X509Certificate2?, string, string)[])
        [
            ("nobody", Right(), "client_id", "an unknown client id"),
            ("dns", null, "client_certificate", "no certificate"),
            ("dns", Tls.Root.Issue("CN=x", names => names.AddDnsName("indexer.example.com"), from: now.AddDays(-9), to: now.AddDays(-1)), "client_certificate", "one that is valid from"),
            ("dns", Tls.Root.Issue("CN=x", names => names.AddDnsName("indexer.example.com"), from: now.AddDays(1), to: now.AddDays(9)), "client_certificate", "one that is valid from"),
            ("dns", stranger.Issue("CN=x", names => names.AddDnsName("indexer.example.com")), "client_certificate", "one of \"CN=x\" by \"CN=clients\": "),
            ("dns", TestAuthority.SelfSigned("CN=x", Key(), names => names.AddDnsName("indexer.example.com")), "client_certificate", "one of \"CN=x\" by \"CN=x\": "),
            ("dns", Tls.Root.Issue("CN=x", names => names.AddDnsName("indexer.example.com"), TestAuthority.ForServers), "client_certificate", "NotValidForUsage"),
            ("dns", Tls.Root.Issue("CN=x", names => names.AddDnsName("indexer.example.com.evil.example")), "tls_client_auth_san_dns", "one with \"indexer.example.com.evil.example\""),
            ("dns", Tls.Root.Issue("CN=x", names => names.AddDnsName("*.example.com")), "tls_client_auth_san_dns", "one with \"*.example.com\""),
            ("dns", Tls.Root.Issue("CN=indexer.example.com"), "tls_client_auth_san_dns", "one with none"),
            ("dns", Tls.Root.Issue("CN=x", names => names.AddUri(new Uri("https://indexer.example.com"))), "tls_client_auth_san_dns", "one with none"),
            ("dns", Tls.Root.Issue("CN=x", names => names.AddEmailAddress("indexer.example.com")), "tls_client_auth_san_dns", "one with none"),
            ("uri", Tls.Root.Issue("CN=x", names => names.AddDnsName("spiffe://example.org/indexer")), "tls_client_auth_san_uri", "one with none"),
            ("uri", Tls.Root.Issue("CN=x", names => names.AddUri(new Uri("spiffe://example.org/Indexer"))), "tls_client_auth_san_uri", "one with \"spiffe://example.org/Indexer\""),
            ("ip", Tls.Root.Issue("CN=x", names => names.AddDnsName("2001:db8::7")), "tls_client_auth_san_ip", "one with none"),
            ("ip", Tls.Root.Issue("CN=x", names => names.AddIpAddress(System.Net.IPAddress.Parse("2001:db8::8"))), "tls_client_auth_san_ip", "one with \"2001:db8::8\""),
            ("email", Tls.Root.Issue("CN=x", names => names.AddDnsName("Indexer@example.com")), "tls_client_auth_san_email", "one with none"),
            ("email", Tls.Root.Issue("CN=x", names => names.AddEmailAddress("indexer@example.com")), "tls_client_auth_san_email", "one with \"indexer@example.com\""),
            ("dn", Tls.Root.Issue("O=Example, CN=indexer"), "tls_client_auth_subject_dn", "one with \"O=Example, CN=indexer\""),
            ("dn", Issue(Name(("2.5.4.3", "indexer"), ("2.5.4.11", "Search"), ("2.5.4.7", "Bonn"), ("2.5.4.10", "Example, Inc."))), "tls_client_auth_subject_dn", "one with"),
            ("self", TestAuthority.SelfSigned("CN=anything", Key()), "jwks", "one of \"CN=anything\" with another key"),
            ("self", TestAuthority.SelfSigned("CN=anything", RSA.Create(2048)), "jwks", "one of \"CN=anything\" with another key"),
            ("self", Right(), "jwks", "one of \"CN=x\" with another key"),
            ("self", TestAuthority.SelfSigned("CN=x", Tls.OwnKey, from: now.AddDays(-9), to: now.AddDays(-1)), "client_certificate", "one that is valid from"),
            ("secret", Right(), "token_endpoint_auth_method", "a certificate alone"),
        ])
        {
            var answer = await Tls.Token(certificate, $"client_id={id}");

            (answer.Status, answer.Error).Should().Be((401, "invalid_client"), $"{id} {came}");
            answer.Json.GetProperty("error_description").GetString().Should().Be(unknown.Json.GetProperty("error_description").GetString());
            var reason = await Tls.Reason(answer);
            reason.Check.Should().Be(check, $"{id} {came} {reason.Came}");
            reason.Came.Should().Contain(came);
        }
    }

    [Fact]
    public async Task A_certificate_is_not_enough_for_a_client_with_a_secret_and_a_secret_not_for_one_with_a_certificate()
    {
        (await Tls.Token(Right(), $"client_id=dns&client_secret={MutualTlsService.Secret}")).Status.Should().Be(401);
        (await Tls.Token(Right(), "client_id=secret")).Status.Should().Be(401);
        (await Tls.Token(Right(), "scope=catalog.read")).Status.Should().Be(401, "RFC 8705 section 2: the client id is sent too");
        var both = await Tls.Token(Right(), $"client_id=secret-bound&client_secret={MutualTlsService.Secret}");
        both.Status.Should().Be(200, "a certificate beside a secret binds the token and proves nothing");
    }

    [Fact]
    public async Task An_intermediate_is_taken_from_the_client_and_is_needed()
    {
        var intermediate = Tls.Root.Intermediate("intermediate");
        var certificate = intermediate.Issue("CN=x", names => names.AddDnsName("indexer.example.com"));

        (await Tls.Token(certificate, "client_id=dns", intermediate.Certificate)).Status.Should().Be(200);
        var alone = await Tls.Token(certificate, "client_id=dns");
        alone.Status.Should().Be(401);
        (await Tls.Reason(alone)).Came.Should().Be("one of \"CN=x\" by \"CN=intermediate\": PartialChain");
        var stranger = TestAuthority.Root("stranger").Intermediate("intermediate");
        var foreign = stranger.Issue("CN=x", names => names.AddDnsName("indexer.example.com"));
        (await Tls.Token(foreign, "client_id=dns", stranger.Certificate)).Status.Should().Be(401);
        var leaf = Tls.Root.Issue("CN=leaf", names => names.AddDnsName("bound.example.com"));
        using var key = Key();
        var request = new CertificateRequest("CN=forged", key, HashAlgorithmName.SHA256);
        var names = new SubjectAlternativeNameBuilder();
        names.AddDnsName("indexer.example.com");
        request.CertificateExtensions.Add(names.Build());
        var forged = request.Create(leaf.SubjectName, X509SignatureGenerator.CreateForECDsa(leaf.GetECDsaPrivateKey()!), leaf.NotBefore, leaf.NotAfter, [1, 2, 3]);
        (await Tls.Token(forged.CopyWithPrivateKey(key), "client_id=dns", leaf)).Status.Should().Be(401, "a client's certificate signs no other");
    }

    [Fact]
    public async Task A_connection_may_bring_32_KiB_of_certificates_beside_the_clients_own_and_no_more()
    {
        var (fits, beyond) = (Under(31 * 1024), Under(33 * 1024));

        (await Tls.Token(fits.Issue("CN=x", names => names.AddDnsName("indexer.example.com")), "client_id=dns", fits.Certificate)).Status.Should().Be(200);
        var ask = () => Tls.Token(beyond.Issue("CN=x", names => names.AddDnsName("indexer.example.com")), "client_id=dns", beyond.Certificate);
        await ask.Should().ThrowAsync<HttpRequestException>("what stays with each connection is bounded");

        TestAuthority Under(int bytes) => Tls.Root.Intermediate("large", new X509Extension("1.3.6.1.4.1.99999.1", new byte[bytes], critical: false));
    }

    [Fact]
    public async Task A_bound_token_names_the_certificate_and_introspection_tells_it()
    {
        var certificate = Bound();
        var answer = await Tls.Token(certificate, "client_id=bound");

        answer.Json.GetProperty("token_type").GetString().Should().Be("Bearer");
        Thumbprint(answer.AccessToken).Should().Be(Base64Url.EncodeToString(SHA256.HashData(certificate.RawData)));
        using var http = Tls.Client(null);
        using var request = new HttpRequestMessage(HttpMethod.Post, new Uri(Tls.Service.Url, "/oauth2/introspect")) { Content = RunningService.Form($"token={answer.AccessToken}") };
        request.Headers.Authorization = new("Basic", Convert.ToBase64String(Encoding.UTF8.GetBytes(MutualTlsService.Introspector)));
        using var response = await http.SendAsync(request);
        var told = await Answer.Of(response);
        told.Json.GetProperty("cnf").GetRawText().Should().Be($$"""{"x5t#S256":"{{Thumbprint(answer.AccessToken)}}"}""");
    }

    [Fact]
    public async Task A_connection_goes_on_with_its_certificate_and_what_came_beside_it()
    {
        var intermediate = Tls.Root.Intermediate("intermediate");
        using var http = Tls.Client(intermediate.Issue("CN=x", names => names.AddDnsName("bound.example.com")), intermediate.Certificate);
        var tokens = new string[3];
        for (var i = 0; i < tokens.Length; i++)
        {
            using var response = await http.PostAsync(
                new Uri(Tls.Service.Url, "/oauth2/token"), RunningService.Form("grant_type=client_credentials&client_id=bound"));
            tokens[i] = (await Answer.Of(response)).AccessToken;
        }

        tokens.Distinct().Should().ContainSingle("it is the same certificate");
    }

    [Theory]
    [InlineData("missing.pem")]
    [InlineData("tls.key")]
    [InlineData("leaf.pem")]
    [InlineData(".")]
    public async Task Authorities_that_cannot_be_used_stop_the_start(string file)
    {
        using var folder = new TemporaryFolder();
        folder.Write("tls.key", Key().ExportPkcs8PrivateKeyPem());
        folder.Write("leaf.pem", Right().ExportCertificatePem());
        var start = () => RunningService.Start(folder, null, Sample.File, "--TokenService:Mtls:Enabled=true", $"--TokenService:Mtls:ClientCaFile={file}");

        (await start.Should().ThrowAsync<TokenService.Protocol.OperatorFaultException>()).Which.Message
            .Should().StartWith($"TokenService:Mtls:ClientCaFile: the file {System.IO.Path.GetFullPath(file, folder.Path)} cannot be used: ").And.NotContain("\n");
    }

    [Fact]
    public async Task A_bound_client_gets_no_token_without_a_certificate()
    {
        var answer = await Tls.Token(null, $"client_id=secret-bound&client_secret={MutualTlsService.Secret}");

        (answer.Status, answer.Error).Should().Be((400, "invalid_request"));
        answer.Json.GetProperty("error_description").GetString().Should().Be(
            "The client's tokens are bound to its certificate (tls_client_certificate_bound_access_tokens). Send the request over mutual TLS.");
        (await Tls.Reason(answer)).Should().Be(("tls_client_certificate_bound_access_tokens", "a request with a certificate to bind the token to", "no certificate"));
    }

    [Fact]
    public async Task The_same_token_is_given_again_for_the_same_certificate_and_never_for_another()
    {
        var (first, second) = (Bound(), Bound());

        var token = (await Tls.Token(first, "client_id=bound&scope=catalog.read")).AccessToken;
        (await Tls.Token(first, "client_id=bound&scope=catalog.read")).AccessToken.Should().Be(token);
        var other = (await Tls.Token(second, "client_id=bound&scope=catalog.read")).AccessToken;
        Thumbprint(other).Should().NotBe(Thumbprint(token));
        (await Tls.Token(first, "client_id=bound&scope=catalog.read")).AccessToken.Should().Be(token);
    }

    [Fact]
    public async Task An_exchange_gives_a_bound_client_a_bound_token_and_takes_no_bound_one()
    {
        var certificate = Bound();
        var subject = (await Tls.Token(Right(), "client_id=dns")).AccessToken;

        var exchanged = await Tls.Post("/oauth2/token", certificate, Exchange("bound", subject));
        exchanged.Status.Should().Be(200, exchanged.Body);
        Thumbprint(exchanged.AccessToken).Should().Be(Base64Url.EncodeToString(SHA256.HashData(certificate.RawData)));

        var again = await Tls.Post("/oauth2/token", Right(), Exchange("dns", exchanged.AccessToken));
        (again.Status, again.Json.GetProperty("error_description").GetString()).Should().Be((400, "The subject token is bound to a key (cnf). Such a token is not exchanged."));

        static string Exchange(string id, string token) =>
            $"grant_type=urn:ietf:params:oauth:grant-type:token-exchange&client_id={id}&subject_token={token}&subject_token_type=urn:ietf:params:oauth:token-type:access_token";
    }

    [Fact]
    public async Task Introspection_and_revocation_take_the_certificate_too()
    {
        var certificate = Right();
        var token = (await Tls.Token(certificate, "client_id=dns")).AccessToken;

        (await Tls.Post("/oauth2/introspect", certificate, $"client_id=dns&token={token}")).Status.Should().Be(403, "it is known, and may not ask");
        (await Tls.Post("/oauth2/revoke", null, $"client_id=dns&token={token}")).Status.Should().Be(401);
        (await Tls.Post("/oauth2/revoke", certificate, $"client_id=dns&token={token}")).Status.Should().Be(200);
    }

    [Fact]
    public async Task A_Client_Cert_header_of_somebody_who_is_no_known_proxy_is_ignored()
    {
        using var http = Tls.Client(null);
        using var request = new HttpRequestMessage(HttpMethod.Post, new Uri(Tls.Service.Url, "/oauth2/token")) { Content = RunningService.Form("grant_type=client_credentials&client_id=dns") };
        request.Headers.Add("Client-Cert", $":{Convert.ToBase64String(Right().RawData)}:");
        using var response = await http.SendAsync(request);
        var answer = await Answer.Of(response);

        (answer.Status, answer.Error).Should().Be((401, "invalid_client"));
        (await Tls.Reason(answer)).Came.Should().Be(
            "no certificate of its own; a Client-Cert header was ignored, since it does not come from a known proxy (TokenService:ForwardedHeaders:KnownProxies)");
    }

    [Fact]
    public async Task Validity_goes_by_the_clock_of_the_service()
    {
        var clock = new FakeTimeProvider(DateTimeOffset.UtcNow);
        await using var tls = await MutualTlsService.Start(clock);
        var certificate = tls.Root.Issue("CN=x", names => names.AddDnsName("indexer.example.com"), to: clock.GetUtcNow().AddHours(1));
        var own = TestAuthority.SelfSigned("CN=x", tls.OwnKey, to: clock.GetUtcNow().AddHours(1));

        (await tls.Token(certificate, "client_id=dns")).Status.Should().Be(200);
        (await tls.Token(own, "client_id=self")).Status.Should().Be(200);
        clock.SetUtcNow(clock.GetUtcNow().AddHours(1).AddSeconds(2));
        (await tls.Token(certificate, "client_id=dns")).Status.Should().Be(401);
        (await tls.Token(own, "client_id=self")).Status.Should().Be(401);
    }

    [Fact]
    public async Task No_handshake_asks_for_a_certificate_where_the_settings_do_not()
    {
        (await IsAsked(Tls)).Should().BeTrue();
        await using var plain = await MutualTlsService.Start(null, "--TokenService:Mtls:Enabled=false");

        (await IsAsked(plain)).Should().BeFalse();
        await using var excepted = await MutualTlsService.Start(
            null, "--Kestrel:Endpoints:Https:Url=https://127.0.0.1:0", "--Kestrel:Endpoints:Https:ClientCertificateMode=NoCertificate");
        (await IsAsked(excepted)).Should().BeFalse("an endpoint may be left out");
        var answer = await plain.Token(plain.Root.Issue("CN=x", names => names.AddDnsName("indexer.example.com")), "client_id=dns");
        (answer.Status, answer.Error).Should().Be((401, "invalid_client"));
        var metadata = await Metadata(plain);
        metadata.TryGetProperty("tls_client_certificate_bound_access_tokens", out _).Should().BeFalse();
        metadata.GetProperty("token_endpoint_auth_methods_supported").GetRawText().Should().NotContain("tls_client_auth");

        static async Task<bool> IsAsked(MutualTlsService service)
        {
            using var tcp = new TcpClient("127.0.0.1", service.Service.Url.Port);
            await using var tls = new SslStream(tcp.GetStream());
            var asked = false;
            await tls.AuthenticateAsClientAsync(new SslClientAuthenticationOptions
            {
                TargetHost = "127.0.0.1",
                CertificateChainPolicy = service.Trust,
                LocalCertificateSelectionCallback = (_, _, _, remote, _) =>
                {
                    // It is called before the handshake too, when nothing of the server is known.
                    asked |= remote is not null;
                    return null!;
                },
            });
            await tls.WriteAsync("GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"u8.ToArray());
            (await new System.IO.StreamReader(tls).ReadToEndAsync()).Should().StartWith("HTTP/1.1 200");
            return asked;
        }
    }

    [Fact]
    public async Task The_metadata_says_what_is_offered_and_where()
    {
        await using var tls = await MutualTlsService.Start(null, "--TokenService:Issuer=https://auth.example.com/tenant", "--TokenService:Mtls:Url=https://mtls.example.com:8443");
        var metadata = await Metadata(tls, "/tenant");

        metadata.GetProperty("tls_client_certificate_bound_access_tokens").GetBoolean().Should().BeTrue();
        metadata.GetProperty("mtls_endpoint_aliases").GetRawText().Should().Be(
            """{"token_endpoint":"https://mtls.example.com:8443/tenant/oauth2/token","introspection_endpoint":"https://mtls.example.com:8443/tenant/oauth2/introspect","revocation_endpoint":"https://mtls.example.com:8443/tenant/oauth2/revoke"}""");
        metadata.GetProperty("token_endpoint_auth_methods_supported").EnumerateArray().Select(method => method.GetString())
            .Should().EndWith(["tls_client_auth", "self_signed_tls_client_auth"]);
    }

    [NeedsFact("openssl sh", "apt-get install openssl")]
    public async Task No_session_is_resumed_so_that_each_connection_proves_its_certificate_with_its_chain()
    {
        foreach (var version in (string[])["-tls1_2", "-tls1_3"])
        {
            var finished = await RunningProgram.Run("sh", ["-c",
                $"(printf 'GET /health/live HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n'; sleep 0.3) | openssl s_client -connect 127.0.0.1:{Tls.Service.Url.Port} {version} -reconnect 2>&1"]);

            finished.Output.Should().Contain("New, ").And.NotContain("Reused, ");
        }
    }

    [Fact]
    public async Task The_keys_of_a_self_signed_client_may_be_behind_a_jwks_uri_and_change_there()
    {
        using var key = Key();
        await using var keys = await KeySetHost.Start(ClientKeyPair.Set(ClientKeyPair.For("ES256").Jwk()));
        var file = $$"""
            { "resources": [ { "resource": "urn:a", "scopes": [ { "name": "s" } ] } ],
              "clients": [ { "client_id": "c", "scope": "s", "token_endpoint_auth_method": "self_signed_tls_client_auth", "jwks_uri": "{{keys.Uri}}" } ] }
            """;
        await using var service = await RunningService.Start(folder: null, clock: null, file, "--TokenService:Mtls:Enabled=true", "--TokenService:ForwardedHeaders:KnownProxies=127.0.0.1");
        var certificate = TestAuthority.SelfSigned("CN=c", key);

        (await Ask()).Status.Should().Be(401);
        var q = key.ExportParameters(false).Q;
        keys.Publish($$"""{"keys":[{"kty":"EC","crv":"P-256","x":"{{Base64Url.EncodeToString(q.X)}}","y":"{{Base64Url.EncodeToString(q.Y)}}","x5c":["{{Convert.ToBase64String(certificate.RawData)}}"]}]}""");
        (await Ask()).Status.Should().Be(200, "a key that is not there is looked for again at once");

        Task<Answer> Ask()
        {
            var request = new HttpRequestMessage(HttpMethod.Post, "/oauth2/token") { Content = RunningService.Form("grant_type=client_credentials&client_id=c") };
            request.Headers.Add("Client-Cert", $":{Convert.ToBase64String(certificate.RawData)}:");
            return service.Send(request);
        }
    }

    private static async Task<JsonElement> Metadata(MutualTlsService tls, string path = "")
    {
        using var http = tls.Client(null);
        return JsonDocument.Parse(await http.GetStringAsync(new Uri(tls.Service.Url, path + "/.well-known/openid-configuration"))).RootElement;
    }

    private static string Thumbprint(string token) => new JsonWebToken(token).GetPayloadValue<JsonElement>("cnf").GetProperty("x5t#S256").GetString()!;

    private static ECDsa Key() => ECDsa.Create(ECCurve.NamedCurves.nistP256);

    private static void Add(SubjectAlternativeNameBuilder names, string other, params ReadOnlySpan<string> more)
    {
        names.AddDnsName(other);
        foreach (var name in more)
        {
            names.AddDnsName(name);
        }
    }

    // With Search and Bonn in one part, whatever their order there.
    private static X500DistinguishedName Name(params ReadOnlySpan<(string Type, string Value)> attributes)
    {
        var writer = new System.Formats.Asn1.AsnWriter(System.Formats.Asn1.AsnEncodingRules.DER);
        using (writer.PushSequence())
        {
            for (var i = 0; i < attributes.Length; i++)
            {
                using (writer.PushSetOf())
                {
                    Write(writer, attributes[i]);
                    if (attributes[i].Value == "Search")
                    {
                        Write(writer, attributes[++i]);
                    }
                }
            }
        }

        return new X500DistinguishedName(writer.Encode());

        static void Write(System.Formats.Asn1.AsnWriter writer, (string Type, string Value) attribute)
        {
            using (writer.PushSequence())
            {
                writer.WriteObjectIdentifier(attribute.Type);
                writer.WriteCharacterString(System.Formats.Asn1.UniversalTagNumber.UTF8String, attribute.Value);
            }
        }
    }

    private X509Certificate2 Issue(X500DistinguishedName subject) => Tls.Root.Issue(subject);

    private X509Certificate2 Right() => Tls.Root.Issue("CN=x", names => names.AddDnsName("indexer.example.com"));

    private X509Certificate2 Bound() => Tls.Root.Issue("CN=x", names => names.AddDnsName("bound.example.com"));

    public sealed class Fixture : IAsyncLifetime
    {
        internal MutualTlsService Tls { get; private set; } = null!;

        public async Task InitializeAsync() => Tls = await MutualTlsService.Start(null, "--TokenService:RateLimit:FailuresPerMinute=0");

        public async Task DisposeAsync() => await Tls.DisposeAsync();
    }
}
