using System;
using System.Formats.Asn1;
using System.Globalization;
using System.Linq;
using System.Net.Http;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
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

    [Fact]
    public async Task What_cannot_be_read_in_a_certificate_is_refused_as_any_wrong_one_is_and_a_strange_name_harms_nobody_whose_key_counts()
    {
        await using var tls = await MutualTlsService.StartBehindProxy(Known);

        // An at sign is none of the characters of a PrintableString (X.680), and .NET reads such a name not at all.
        var strange = new X500DistinguishedName([0x30, 0x0E, 0x31, 0x0C, 0x30, 0x0A, 0x06, 0x03, 0x55, 0x04, 0x0A, 0x13, 0x03, 0x61, 0x40, 0x62]);
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var (own, other) = (TestAuthority.SelfSigned(strange, tls.OwnKey), TestAuthority.SelfSigned(strange, key));
        foreach (var (id, der) in ((string, byte[])[])
        [
            ("nobody", other.RawData),
            ("dns", other.RawData),
            ("self", other.RawData),
            ("dn", tls.Root.Issue(strange).RawData),
            ("self", WithTime(TestAuthority.SelfSigned("CN=x", tls.OwnKey), "26010100000aZ")),
            ("dns", WithTime(tls.Root.Issue("CN=x", names => names.AddDnsName("indexer.example.com")), "26010100000aZ")),
            ("dns", tls.Root.Issue("CN=x", extension: new X509Extension("1.3.6.1.5.5.7.1.14", [0x30, 0x0C, 0x30, 0x0A, 0x06, 0x08, 0x2B, 6, 1, 5, 5, 7, 21, 1], critical: true)).RawData),
        ])
        {
            var answer = await Ask(tls, id, ("Client-Cert", Field(der)));

            (answer.Status, answer.Error).Should().Be((401, "invalid_client"), "{0}: {1}", id, answer.Body);
        }

        (await Ask(tls, "self", ("Client-Cert", Field(own.RawData)))).Status.Should().Be(200, "its key is what counts");
    }

    [Fact]
    public async Task A_key_that_is_dear_to_verify_with_is_looked_at_neither_in_the_certificate_nor_in_its_chain()
    {
        await using var tls = await MutualTlsService.StartBehindProxy(Known);
        var right = tls.Root.Issue("CN=x", names => names.AddDnsName("indexer.example.com"));
        byte[] longExponent = [0x7F, .. Enumerable.Repeat((byte)0xFF, 63)];

        // As a key for PSS (RFC 4055) it is the same numbers under another name, and .NET does not call it an RSA key.
        var (rsa, pss, dsa) = ("1.2.840.113549.1.1.1", "1.2.840.113549.1.1.10", "1.2.840.10040.4.1");

        (await Ask(tls, "dns", ("Client-Cert", Field(right.RawData)))).Status.Should().Be(200);
        (await Ask(tls, "dns", ("Client-Cert", Field(Under(pss, Rsa(8192 / 8, [1, 0, 1])))))).Status.Should().Be(200, "its length is usual");
        foreach (var dear in (byte[][])
        [
            Under(rsa, Rsa(16_384 / 8, [1, 0, 1])), Under(rsa, Rsa(3072 / 8, longExponent)), Under(pss, Rsa(16_384 / 8, [1, 0, 1])), Under(pss, Rsa(3072 / 8, longExponent)),
            Under(pss, [0x30, 0x02, 0x05, 0x00]), Under(dsa, Integers(Enumerable.Repeat((byte)0x7F, 3000).ToArray())),
        ])
        {
            foreach (var headers in ((string, string)[][])
            [
                [("Client-Cert", Field(dear))],
                [("Client-Cert", Field(right.RawData)), ("Client-Cert-Chain", Field(dear))],
            ])
            {
                var answer = await Ask(tls, "dns", headers);

                (answer.Status, answer.Error).Should().Be((401, "invalid_client"));
                (await tls.Reason(answer)).Expected.Should().Be("certificates with keys of usual lengths");
            }
        }

        byte[] Under(string kind, byte[] key)
            => tls.Root.Issue("CN=x", new PublicKey(new Oid(kind), null, new AsnEncodedData(key)), names => names.AddDnsName("indexer.example.com")).RawData;

        static byte[] Rsa(int bytes, byte[] exponent) => Integers([0, .. Enumerable.Repeat((byte)0xFF, bytes)], exponent);

        static byte[] Integers(params ReadOnlySpan<byte[]> values)
        {
            var writer = new AsnWriter(AsnEncodingRules.DER);
            using (writer.PushSequence())
            {
                foreach (var value in values)
                {
                    writer.WriteInteger(value);
                }
            }

            return writer.Encode();
        }
    }

    [Fact]
    [Trait("Host", "InProcess")]
    public async Task The_framework_s_own_switch_for_forwarded_headers_changes_nothing()
    {
        await using var tls = await MutualTlsService.StartBehindProxy(Known, "--ForwardedHeaders_Enabled=true");
        var certificate = Field(tls.Root.Issue("CN=x", names => names.AddDnsName("bound.example.com")).RawData);

        (await Ask(tls, "bound", ("Client-Cert", certificate), ("X-Forwarded-For", "203.0.113.9"))).Status.Should().Be(200);
    }

    // The end of its validity, in as many bytes: nobody asks for the signature over it.
    private static byte[] WithTime(X509Certificate2 certificate, string time)
    {
        var der = certificate.RawData;
        var end = Encoding.ASCII.GetBytes(certificate.NotAfter.ToUniversalTime().ToString("yyMMddHHmmss'Z'", CultureInfo.InvariantCulture));
        Encoding.ASCII.GetBytes(time).CopyTo(der, der.AsSpan().IndexOf(end));
        return der;
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
