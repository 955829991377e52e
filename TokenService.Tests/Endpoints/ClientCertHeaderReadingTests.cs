using System;
using System.Linq;
using System.Net;
using System.Threading.Tasks;
using CsCheck;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using TokenService.Endpoints;
using TokenService.Protocol;
using TokenService.Tests.Support;
using Xunit;

namespace TokenService.Tests.Endpoints;

/// <summary>Reading the header Client-Cert of a known proxy (RFC 9440 §2.1).</summary>
[Trait("Host", "InProcess")]
public sealed class ClientCertHeaderReadingTests
{
    private static readonly byte[] s_der = TestAuthority.Root("root").Issue("CN=job", names => names.AddDnsName("job.example.com")).RawData;

    private readonly RequestDelegate _read;

    public ClientCertHeaderReadingTests()
    {
        var reader = new ClientCertificates([System.Net.IPNetwork.Parse("127.0.0.0/8")]);
        var app = new ApplicationBuilder(new ServiceCollection().BuildServiceProvider());
        ClientCertificates.NotePeer(app);
        app.Run(http =>
        {
            http.Items["error"] = reader.Read(http, out var certificate, out _);
            http.Items["certificate"] = certificate;
            return Task.CompletedTask;
        });
        _read = app.Build();
    }

    [Fact]
    public void A_certificate_is_read_back_byte_for_byte_with_spaces_around_it_or_not() => Gen.Select(Gen.Int[0, 3], Gen.Int[0, 3]).Sample(
        (before, after) => Read($"{new string(' ', before)}:{Convert.ToBase64String(s_der)}:{new string(' ', after)}") is (null, { } read) && read.Certificate.RawData.SequenceEqual(s_der),
        iter: 50);

    [Fact]
    public void What_is_changed_is_an_invalid_request_or_the_certificate_that_it_says_now() => Gen.Select(
        Gen.Int[0, s_der.Length - 1], Gen.Byte, Gen.Int[0, 2]).Sample(
        (at, with, how) =>
        {
            byte[] changed = how switch { 0 => [.. s_der[..at], with, .. s_der[(at + 1)..]], 1 => [.. s_der[..at], with, .. s_der[at..]], _ => [.. s_der[..at], .. s_der[(at + 1)..]] };
            var (error, read) = Read($":{Convert.ToBase64String(changed)}:");
            return error is null ? read!.Certificate.RawData.SequenceEqual(changed) : error.Code == "invalid_request" && read is null;
        },
        iter: 3_000);

    [Fact]
    public void Whatever_is_sent_is_read_or_an_invalid_request() => Gen.OneOf(Gen.String, Gen.String[Gen.Char[":AZaz09+/= ,\t"], 0, 60], Gen.Byte.Array[0, 60].Select(bytes => $":{Convert.ToBase64String(bytes)}:")).Sample(
        text => Read(text) is ({ Code: "invalid_request" }, null), iter: 5_000);

    private (OAuthError? Error, ClientCertificate? Certificate) Read(string header)
    {
        var http = new DefaultHttpContext();
        http.Connection.RemoteIpAddress = IPAddress.Loopback;
        http.Request.Headers["Client-Cert"] = header;
        _read(http).GetAwaiter().GetResult();
        return (http.Items["error"] as OAuthError, http.Items["certificate"] as ClientCertificate);
    }
}
