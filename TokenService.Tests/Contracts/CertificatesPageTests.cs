using System;
using System.IO;
using System.Linq;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using System.Threading.Tasks;
using FluentAssertions;
using Microsoft.IdentityModel.JsonWebTokens;
using TokenService.Tests.Support;
using Xunit;

namespace TokenService.Tests.Contracts;

/// <summary>The page about certificates: its commands and its nginx configuration, as they stand but for addresses and paths, with openssl, curl and nginx.</summary>
[Trait("Storage", "Sqlite")]
[Trait("Host", "OwnProgram")]
public sealed partial class CertificatesPageTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();
    private readonly int _port = RunningProgram.FreePort();
    private readonly string _page = File.ReadAllText(Repository.File("docs", "certificates.md"));

    public void Dispose() => _folder.Dispose();

    [NeedsFact("bash curl openssl", "apt-get install bash curl openssl")]
    public async Task Every_command_works_where_TLS_ends_at_the_service()
    {
        await Prepare();
        await using var service = await RunningProgram.Start(
            Repository.Program,
            [.. Command("--urls=").Split(' ')[1..].Select(Local), $"--contentRoot={_folder.Path}", "--environment=Production", "--TokenService:ApplyFile=clients.json"],
            new($"https://127.0.0.1:{_port}/health/ready"));

        IsBound(await Shell(Command("--cert indexer.crt")), bound: true);
        IsBound(await Shell(Command("--cert crawler.crt")), bound: false);
        var wrong = await Shell(Command("--cert crawler.crt").Replace("client_id=crawler", "client_id=indexer", StringComparison.Ordinal));
        wrong.Output.Should().Contain("\"error\":\"invalid_client\"");
        await Explained(wrong, "client_certificate", "by \"CN=crawler\": ");
        var none = await Shell(Command("--cert crawler.crt").Replace("--cert crawler.crt --key crawler.key", "", StringComparison.Ordinal));
        await Explained(none, "client_certificate", "no certificate");
    }

    [NeedsFact("bash curl openssl", "apt-get install bash curl openssl")]
    public async Task Any_other_certificate_of_openssl_is_refused()
    {
        await Prepare();
        await using var service = await RunningProgram.Start(
            Repository.Program,
            [.. Command("--urls=").Split(' ')[1..].Select(Local), $"--contentRoot={_folder.Path}", "--environment=Production", "--TokenService:ApplyFile=clients.json"],
            new($"https://127.0.0.1:{_port}/health/ready"));
        _folder.Write("ca.cnf", """
            [ca]
            default_ca = own
            [own]
            database = index.txt
            new_certs_dir = .
            rand_serial = yes
            default_md = sha256
            policy = any
            [any]
            organizationName = optional
            commonName = supplied
            """);
        const string sign = "openssl x509 -req -in indexer.csr -CA clients-ca.pem -CAkey clients-ca.key -CAcreateserial -days 365 -extfile wrong.ext -out wrong.crt";
        const string ext = "printf 'subjectAltName={0}\nextendedKeyUsage={1}\n' > wrong.ext\n";
        const string right = "DNS:indexer.example.com";
        foreach (var (client, make, check, came) in ((string, string, string, string)[])
        [
            ("indexer", "touch index.txt; openssl ca -batch -notext -config ca.cnf -cert clients-ca.pem -keyfile clients-ca.key -in indexer.csr -extfile indexer.ext " +
                "-startdate 20250101000000Z -enddate 20250201000000Z -out wrong.crt", "client_certificate", "one that is valid from 2025-01-01 00:00:00Z to 2025-02-01 00:00:00Z"),
            ("indexer", "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 9 -subj '/O=Example/CN=Client CA' -keyout other.key -out other.pem\n" +
                "openssl x509 -req -in indexer.csr -CA other.pem -CAkey other.key -CAcreateserial -days 9 -extfile indexer.ext -out wrong.crt",
                "client_certificate", "one of \"CN=indexer, O=Example\" by \"CN=Client CA, O=Example\": "),
            ("indexer", Ext("DNS:indexer.example.org", "clientAuth") + sign, "tls_client_auth_san_dns", "one with \"indexer.example.org\""),
            ("indexer", Ext("DNS:*.example.com", "clientAuth") + sign, "tls_client_auth_san_dns", "one with \"*.example.com\""),
            ("indexer", Ext("URI:indexer.example.com", "clientAuth") + sign, "tls_client_auth_san_dns", "one with none"),
            ("indexer", Ext("email:indexer.example.com", "clientAuth") + sign, "tls_client_auth_san_dns", "one with none"),
            ("indexer", Ext("otherName:1.3.6.1.4.1.311.20.2.3;UTF8:indexer.example.com", "clientAuth") + sign, "tls_client_auth_san_dns", "one with none"),
            ("indexer", Ext(right, "serverAuth") + sign, "client_certificate", "NotValidForUsage"),
            ("indexer", $"openssl req -x509 -key indexer.key -days 9 -subj /CN=indexer -addext subjectAltName={right} -out wrong.crt", "client_certificate", "one of \"CN=indexer\" by \"CN=indexer\": "),
            ("crawler", "openssl req -x509 -key indexer.key -days 9 -subj /CN=crawler -out wrong.crt", "jwks", "one of \"CN=crawler\" with another key"),
        ])
        {
            var made = await Shell($"set -euo pipefail\n{make}");
            made.ExitCode.Should().Be(0, made.Error);

            var refused = await Shell($"curl --cert wrong.crt --key indexer.key -d grant_type=client_credentials -d client_id={client} https://auth.example.com/oauth2/token");

            refused.Output.Should().Contain("\"error\":\"invalid_client\"", "{0}: {1}", make, refused.Error);
            await Explained(refused, check, came);
        }

        static string Ext(string name, string usage) => string.Format(System.Globalization.CultureInfo.InvariantCulture, ext, name, usage);
    }

    [NeedsFact("bash curl openssl nginx", "apt-get install bash curl openssl nginx-light")]
    public async Task The_configuration_of_nginx_tells_the_certificate_of_the_client_and_nothing_that_a_client_writes()
    {
        await Prepare();
        var port = RunningProgram.FreePort();
        await using var service = await new Cli(_folder).Serve(
            port, $"--TokenService:Issuer=https://127.0.0.1:{_port}", "--TokenService:ApplyFile=clients.json", "--TokenService:Mtls:Enabled=true",
            "--TokenService:Mtls:ClientCaFile=clients-ca.pem", "--TokenService:ForwardedHeaders:KnownProxies=127.0.0.1", $"--TokenService:Mtls:Url=https://127.0.0.1:{_port}");
        _folder.Write("nginx.conf", $$"""
            daemon off; master_process off; pid nginx.pid; error_log stderr;
            events { worker_connections 256; }
            http {
                access_log off; variables_hash_max_size 2048;
                client_body_temp_path temp; proxy_temp_path temp; fastcgi_temp_path temp; uwsgi_temp_path temp; scgi_temp_path temp;
                {{NginxBlock().Match(_page).Groups[1].Value
                    .Replace("listen 443", $"listen 127.0.0.1:{_port}", StringComparison.Ordinal)
                    .Replace("127.0.0.1:5080", $"127.0.0.1:{port}", StringComparison.Ordinal)
                    .Replace("/etc/ssl/mtls.auth.example.com.crt", "tls.crt", StringComparison.Ordinal)
                    .Replace("/etc/ssl/mtls.auth.example.com.key", "tls.key", StringComparison.Ordinal)}}
            }
            """);
        await using var nginx = await RunningProgram.Start(
            "nginx", ["-e", "stderr", "-p", _folder.Path, "-c", "nginx.conf"], new($"https://127.0.0.1:{_port}/health/ready"));

        IsBound(await Shell(Command("--cert indexer.crt")), bound: true);
        IsBound(await Shell(Command("--cert crawler.crt")), bound: false);
        var header = $"""-H "Client-Cert: :$(openssl x509 -in indexer.crt -outform DER | openssl base64 -A):" """;
        var indexer = Command("--cert indexer.crt").Replace("--cert indexer.crt --key indexer.key", header, StringComparison.Ordinal);
        await Explained(await Shell(indexer), "client_certificate", "no certificate");
        await Explained(await Shell(Command("--cert crawler.crt").Replace("curl ", $"curl {header}", StringComparison.Ordinal).Replace("=crawler ", "=indexer ", StringComparison.Ordinal)),
            "client_certificate", "by \"CN=crawler\": ");

        // Past the proxy, from an address that is none.
        var direct = await Shell($"curl -sS --interface 127.0.0.9 {header} -d grant_type=client_credentials -d client_id=indexer http://127.0.0.1:{port}/oauth2/token");
        await Explained(direct, "client_certificate", "a Client-Cert header was ignored, since it does not come from a known proxy");
        nginx.Printed.Should().NotContain("[warn]").And.NotContain("[emerg]");
    }

    private static void IsBound(Finished finished, bool bound)
    {
        finished.Output.Should().StartWith("{\"access_token\":", finished.Error);
        var token = new JsonWebToken(JsonDocument.Parse(finished.Output).RootElement.GetProperty("access_token").GetString());
        token.TryGetPayloadValue<JsonElement>("cnf", out _).Should().Be(bound);
    }

    // All that comes before the service runs: certificates, keys, clients.
    private async Task Prepare()
    {
        var certificate = TestCertificate.Make("service");
        certificate.Write(_folder.Path);
        _folder.Write("root.crt", certificate.Root);
        var file = JsonNode.Parse(JsonBlocks().Match(_page).Groups[1].Value)!;
        file["resources"] = JsonNode.Parse("""[ { "resource": "https://catalog.example.com", "scopes": [ { "name": "catalog.read" } ] } ]""");
        var clients = _folder.Write("clients.json", file.ToJsonString());
        (await new Cli(_folder).Run("apply", clients)).ExitCode.Should().Be(0);
        foreach (var block in Blocks().Where(block => !block.StartsWith("curl", StringComparison.Ordinal) && !block.Contains("--urls", StringComparison.Ordinal)))
        {
            var finished = await Shell($"set -euo pipefail\n{block}");
            finished.ExitCode.Should().Be(0, finished.Error);
        }
    }

    private async Task Explained(Finished refused, string check, string came)
    {
        var trace = JsonDocument.Parse(refused.Output).RootElement.GetProperty("trace_id").GetString();
        await StoreFile.Until(() => StoreFile.Texts(_folder, $"SELECT came FROM refusals WHERE trace_id = '{trace}'").Count > 0);
        (await new Cli(_folder).Run("explain", trace!)).Output.Should().Contain($"\ncheck      {check}\n").And.Contain(came);
    }

    private string[] Blocks() => [.. ShellBlocks().Matches(_page).Select(match => match.Groups[1].Value)];

    private string Command(string part) => Blocks().Single(block => block.Contains(part, StringComparison.Ordinal)).Trim();

    private Task<Finished> Shell(string script) => RunningProgram.Run("bash", ["-c", Local(script)], _folder.Path);

    private string Local(string text) => text
        .Replace("https://auth.example.com", $"https://127.0.0.1:{_port}", StringComparison.Ordinal)
        .Replace("https://*:8443", $"https://127.0.0.1:{_port}", StringComparison.Ordinal)
        .Replace("curl --cert", "curl -sS --cacert root.crt --cert", StringComparison.Ordinal)
        .Replace("curl  -d", "curl -sS --cacert root.crt -d", StringComparison.Ordinal)
        .Replace("curl -H", "curl -sS --cacert root.crt -H", StringComparison.Ordinal)
        .Replace("\nTokenService ", $"\n'{Repository.Program}' --contentRoot='{_folder.Path}' ", StringComparison.Ordinal);

    [GeneratedRegex("```sh\n(.*?)```", RegexOptions.Singleline)]
    private static partial Regex ShellBlocks();

    [GeneratedRegex("```json\n(.*?)```", RegexOptions.Singleline)]
    private static partial Regex JsonBlocks();

    [GeneratedRegex("```nginx\n(.*?)```", RegexOptions.Singleline)]
    private static partial Regex NginxBlock();
}
