using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.IO;
using System.Linq;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;
using System.Threading.Tasks;
using FluentAssertions;
using TokenService.Tests.Support;
using Xunit;
using Xunit.Abstractions;

namespace TokenService.Tests.Endpoints;

/// <summary>TLS on the web server itself, with certificates that change while it runs.</summary>
[Trait("Host", "OwnProgram")]
public sealed class TlsCertificateTests(ITestOutputHelper output) : IDisposable
{
    private readonly TemporaryFolder _folder = new();
    private readonly int _port = RunningProgram.FreePort();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task A_changed_certificate_is_served_within_5_seconds_with_its_chain_and_connections_go_on()
    {
        var (first, second) = (TestCertificate.Make("first"), TestCertificate.Make("second"));
        first.Write(_folder.Path);
        await using var program = await Serve(ForUrls("tls.crt", "tls.key"));
        using var before = await Connect();
        Served(before, first).Should().Be("CN=first");
        (await Ask(before)).Should().StartWith("HTTP/1.1 200");

        second.Write(_folder.Path);

        await Serves("CN=second");
        using var after = await Connect();
        Served(after, second).Should().Be("CN=second");
        (await Ask(after)).Should().StartWith("HTTP/1.1 200");
        (await Ask(before)).Should().StartWith("HTTP/1.1 200");
        await program.Prints("Took up the TLS certificate");
        program.Printed.Should().NotContain("PRIVATE KEY");
    }

    [Fact]
    public async Task The_links_that_Kubernetes_swaps_for_a_mounted_secret_are_followed()
    {
        TestCertificate.Make("first").Write(_folder.File("..1"));
        Directory.CreateSymbolicLink(_folder.File("..data"), "..1");
        File.CreateSymbolicLink(_folder.File("tls.crt"), "..data/tls.crt");
        File.CreateSymbolicLink(_folder.File("tls.key"), "..data/tls.key");
        await using var program = await Serve(ForEndpoint("tls.crt", "tls.key"));
        await Serves("CN=first");

        foreach (var (name, number) in (IEnumerable<(string, int)>)[("second", 2), ("third", 3)])
        {
            TestCertificate.Make(name).Write(_folder.File($"..{number}"));
            Directory.CreateSymbolicLink(_folder.File("..data_tmp"), $"..{number}");
            (await RunningProgram.Run("mv", ["-T", _folder.File("..data_tmp"), _folder.File("..data")])).ExitCode.Should().Be(0);
            Directory.Delete(_folder.File($"..{number - 1}"), recursive: true);

            await Serves($"CN={name}");
        }

        program.Printed.Should().NotContain("cannot be used");
    }

    [Fact]
    public async Task Files_that_cannot_be_used_are_logged_and_the_certificate_before_them_stays()
    {
        var (first, second) = (TestCertificate.Make("first"), TestCertificate.Make("second"));
        first.Write(_folder.Path);
        await using var program = await Serve(ForUrls("tls.crt", "tls.key"));
        var faults = 0;

        // The new certificate with the old key: half of a change.
        _folder.Write("tls.crt", second.Chain);
        await StaysFirst("does not match");
        _folder.Write("tls.crt", second.Chain[..200]);
        await StaysFirst("tls.crt");
        _folder.Write("tls.crt", "");
        await StaysFirst("tls.crt");
        File.Delete(_folder.File("tls.crt"));
        await StaysFirst("There is no file");
        Directory.CreateDirectory(_folder.File("tls.crt"));
        await StaysFirst("is no file of at most 1 MiB");
        Directory.Delete(_folder.File("tls.crt"));
        TestCertificate.Make("client", usage: "1.3.6.1.5.5.7.3.2").Write(_folder.Path);
        await program.Prints("is not for servers");
        await StaysFirst("tls.crt");
        program.Printed.Should().NotContain("PRIVATE KEY").And.NotContain(second.Key.Split('\n')[1]);

        second.Write(_folder.Path);
        await Serves("CN=second");

        async Task StaysFirst(string fault)
        {
            faults++;
            var since = Stopwatch.StartNew();
            while (Faults().Length < faults)
            {
                since.Elapsed.Should().BeLessThan(TimeSpan.FromSeconds(30), "it is logged");
                await Task.Delay(50);
            }

            Faults()[^1].Should().Contain(fault);
            faults = Faults().Length;
            using var connection = await Connect();
            Served(connection, first).Should().Be("CN=first");
            (await Ask(connection)).Should().StartWith("HTTP/1.1 200");
        }

        string[] Faults() => [.. program.Printed.Split('\n').Where(line => line.Contains("cannot be used; the one before it stays", StringComparison.Ordinal))];
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_pair_that_does_not_belong_together_stops_the_start_in_one_line(bool forUrls)
    {
        TestCertificate.Make("first").Write(_folder.Path);
        TestCertificate.Make("other").Write(_folder.File("other"));

        var finished = await RunningProgram.Run(Repository.Program, Arguments(forUrls ? ForUrls("tls.crt", "other/tls.key") : ForEndpoint("tls.crt", "other/tls.key")));

        finished.ExitCode.Should().Be(1);
        finished.Error.Trim().Should().StartWith($"Kestrel:{(forUrls ? "Certificates:Default" : "Endpoints:Https:Certificate")}: the certificate in tls.crt with the key in other/tls.key cannot be used: ")
            .And.NotContain("\n");
    }

    [Fact]
    public async Task Each_endpoint_has_the_certificate_of_its_own()
    {
        TestCertificate.Make("own").Write(_folder.File("own"));
        TestCertificate.Make("default").Write(_folder.File("default"));
        var other = RunningProgram.FreePort();
        await using var program = await Serve(
        [
            .. ForEndpoint("own/tls.crt", "own/tls.key"), $"--Kestrel:Endpoints:Other:Url=https://127.0.0.1:{other}",
            "--Kestrel:Certificates:Default:Path=default/tls.crt", "--Kestrel:Certificates:Default:KeyPath=default/tls.key",
        ]);
        await Serves("CN=own");
        await Serves("CN=default", other);

        TestCertificate.Make("new").Write(_folder.File("own"));

        await Serves("CN=new");
        await Serves("CN=default", other);
    }

    [NeedsFact("openssl", "apt-get install openssl")]
    public async Task TLS_before_1_2_is_refused()
    {
        TestCertificate.Make("first").Write(_folder.Path);
        await using var program = await Serve(ForUrls("tls.crt", "tls.key"));

        (await OpenSsl("-tls1_3")).Output.Should().Contain("TLSv1.3, Cipher is TLS_");
        (await OpenSsl("-tls1_2")).Output.Should().Contain("TLSv1.2, Cipher is ECDHE");
        (await OpenSsl("-tls1_1")).ExitCode.Should().NotBe(0);
        (await OpenSsl("-tls1")).ExitCode.Should().NotBe(0);

        Task<Finished> OpenSsl(string version) => RunningProgram.Run(
            "sh", ["-c", $"openssl s_client -connect 127.0.0.1:{_port} {version} -cipher ALL:@SECLEVEL=0 < /dev/null"]);
    }

    private static string[] ForUrls(string file, string keyFile) => [$"--Kestrel:Certificates:Default:Path={file}", $"--Kestrel:Certificates:Default:KeyPath={keyFile}"];

    private string[] ForEndpoint(string file, string keyFile) =>
    [
        $"--Kestrel:Endpoints:Https:Url=https://127.0.0.1:{_port}", $"--Kestrel:Endpoints:Https:Certificate:Path={file}",
        $"--Kestrel:Endpoints:Https:Certificate:KeyPath={keyFile}",
    ];

    private string[] Arguments(string[] settings) =>
        [$"--contentRoot={_folder.Path}", "--environment=Production", $"--urls=https://127.0.0.1:{_port}", $"--TokenService:Issuer=https://127.0.0.1:{_port}", .. settings];

    private Task<RunningProgram> Serve(string[] settings)
        => RunningProgram.Start(Repository.Program, Arguments(settings), new($"https://127.0.0.1:{_port}/health/ready"));

    private async Task Serves(string subject, int? port = null)
    {
        var since = Stopwatch.StartNew();
        while (true)
        {
            using var connection = await Connect(port);
            if (Served(connection, null) == subject)
            {
                output.WriteLine($"{subject} after {since.Elapsed.TotalSeconds:0.00} s");
                since.Elapsed.Should().BeLessThan(TimeSpan.FromSeconds(5), "a change is taken up within 5 seconds");
                return;
            }

            since.Elapsed.Should().BeLessThan(TimeSpan.FromSeconds(30), $"{subject} is served");
            await Task.Delay(50);
        }
    }

    // What a client sees that knows nothing but the root.
    private async Task<SslStream> Connect(int? port = null)
    {
        var tcp = new TcpClient();
        await tcp.ConnectAsync("127.0.0.1", port ?? _port);
        var tls = new SslStream(tcp.GetStream(), leaveInnerStreamOpen: false, (_, _, chain, _) =>
        {
            _sent = [.. chain!.ChainPolicy.ExtraStore.Select(certificate => certificate.RawData)];
            return true;
        });
        await tls.AuthenticateAsClientAsync(new SslClientAuthenticationOptions { TargetHost = "127.0.0.1", EnabledSslProtocols = SslProtocols.None });
        return tls;
    }

    private byte[][] _sent = [];

    private string Served(SslStream tls, TestCertificate? expected)
    {
        var certificate = new X509Certificate2(tls.RemoteCertificate!);
        if (expected is not null)
        {
            using var chain = new X509Chain();
            chain.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
            chain.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
            chain.ChainPolicy.DisableCertificateDownloads = true;
            chain.ChainPolicy.CustomTrustStore.Add(X509Certificate2.CreateFromPem(expected.Root));
            foreach (var sent in _sent)
            {
                chain.ChainPolicy.ExtraStore.Add(X509CertificateLoader.LoadCertificate(sent));
            }

            chain.Build(certificate).Should().BeTrue("the intermediate is sent too");
        }

        return certificate.Subject;
    }

    private static async Task<string> Ask(SslStream tls)
    {
        await tls.WriteAsync("GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"u8.ToArray());
        var (buffer, answer) = (new byte[4096], "");
        while (!answer.EndsWith("\r\n0\r\n\r\n", StringComparison.Ordinal))
        {
            var read = await tls.ReadAsync(buffer).AsTask().WaitAsync(TimeSpan.FromSeconds(30));
            read.Should().BePositive("the connection goes on");
            answer += System.Text.Encoding.ASCII.GetString(buffer, 0, read);
        }

        return answer;
    }
}
