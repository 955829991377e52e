using System;
using System.Globalization;
using System.Linq;
using System.Text.Json;
using System.Threading.Tasks;
using FluentAssertions;
using TokenService.Tests.Support;

namespace TokenService.Tests.Contracts;

/// <summary>Behind nginx, which terminates TLS before two replicas.</summary>
public sealed class NginxTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();
    private readonly TestCertificate _certificate = TestCertificate.Make("nginx");
    private readonly int _port = RunningProgram.FreePort();

    public NginxTests()
    {
        _folder.Write("clients.json", Sample.File);
        _folder.Write("root.crt", _certificate.Root);
        _certificate.Write(_folder.File("nginx"));
    }

    private string Issuer => $"https://127.0.0.1:{_port}";

    public void Dispose() => _folder.Dispose();

    [NeedsFact("nginx curl", "apt-get install nginx-light curl")]
    public async Task Clients_get_tokens_of_the_https_issuer_and_each_is_known_by_its_own_address()
    {
        await using var replicas = await Replicas.Start(this, "--TokenService:ForwardedHeaders:KnownProxies=127.0.0.1");

        var metadata = Json(await Curl("127.0.0.7", "/.well-known/oauth-authorization-server"));
        metadata.GetProperty("issuer").GetString().Should().Be(Issuer);
        metadata.GetProperty("token_endpoint").GetString().Should().Be($"{Issuer}/oauth2/token");
        for (var i = 0; i < 4; i++)
        {
            var token = Json(await Curl("127.0.0.7", "/oauth2/token", "-u", $"{Sample.Job}:{Sample.JobSecret}", "-d", "grant_type=client_credentials"));
            new Microsoft.IdentityModel.JsonWebTokens.JsonWebToken(token.GetProperty("access_token").GetString()).Issuer.Should().Be(Issuer);
        }

        // Some more than two replicas let pass together.
        (await Failures("127.0.0.7", 8)).Should().StartWith("401").And.EndWith("429");
        (await Failures("127.0.0.7", 1, "-H", "X-Forwarded-For: 127.0.0.9")).Should().Be("429", "what a client writes itself stands before its address");
        (await Failures("127.0.0.8", 1)).Should().Be("401");
        await replicas.Prints("from 127.0.0.7: invalid_client");
        await replicas.Prints("from 127.0.0.8: invalid_client");
        replicas.Printed.Should().NotContain("from 127.0.0.1").And.NotContain("from 127.0.0.9");
    }

    [NeedsFact("nginx curl", "apt-get install nginx-light curl")]
    public async Task A_proxy_that_is_not_known_is_taken_for_the_client_of_all()
    {
        await using var replicas = await Replicas.Start(this);

        (await Failures("127.0.0.7", 8)).Should().StartWith("401").And.EndWith("429");
        (await Failures("127.0.0.8", 1)).Should().Be("429");
        await replicas.Prints("from 127.0.0.1: invalid_client");
        replicas.Printed.Should().NotContain("from 127.0.0.7").And.NotContain("from 127.0.0.8");

        // And the right secret is answered all the same.
        Json(await Curl("127.0.0.8", "/oauth2/token", "-u", $"{Sample.Job}:{Sample.JobSecret}", "-d", "grant_type=client_credentials"))
            .GetProperty("token_type").GetString().Should().Be("Bearer");
    }

    private static JsonElement Json(Finished finished)
    {
        finished.ExitCode.Should().Be(0, finished.Error);
        return JsonDocument.Parse(finished.Output).RootElement;
    }

    private async Task<string> Failures(string from, int count, params string[] args)
    {
        var statuses = new string[count];
        for (var i = 0; i < count; i++)
        {
            statuses[i] = (await Curl(
                from, "/oauth2/token", ["-o", "/dev/null", "-w", "%{http_code}", "-u", $"{Sample.Job}:wrong", "-d", "grant_type=client_credentials", .. args])).Output;
        }

        return string.Join(' ', statuses);
    }

    // A client with this address: all of 127.0.0.0/8 is this machine's.
    private Task<Finished> Curl(string from, string path, params string[] args)
        => RunningProgram.Run("curl", ["-sS", "--interface", from, "--cacert", _folder.File("root.crt"), .. args, Issuer + path]);

    private sealed class Replicas(RunningProgram[] programs) : IAsyncDisposable
    {
        public string Printed => string.Join('\n', programs.Select(program => program.Printed));

        public static async Task<Replicas> Start(NginxTests test, params string[] settings)
        {
            int[] ports = [RunningProgram.FreePort(), RunningProgram.FreePort()];
            var cli = new Cli(test._folder);
            var replicas = await Task.WhenAll(ports.Select(port => cli.Serve(
                port, [$"--TokenService:Issuer={test.Issuer}", "--TokenService:ApplyFile=clients.json", "--TokenService:RateLimit:FailuresPerMinute=2", .. settings])));
            var configuration = test._folder.Write("nginx.conf", string.Create(CultureInfo.InvariantCulture, $$"""
                daemon off;
                master_process off;
                pid nginx.pid;
                error_log stderr;
                events { worker_connections 256; }
                http {
                    access_log off;
                    client_body_temp_path temp; proxy_temp_path temp; fastcgi_temp_path temp; uwsgi_temp_path temp; scgi_temp_path temp;
                    upstream token_service { server 127.0.0.1:{{ports[0]}}; server 127.0.0.1:{{ports[1]}}; keepalive 8; }
                    server {
                        listen 127.0.0.1:{{test._port}} ssl;
                        ssl_certificate tls.crt;
                        ssl_certificate_key tls.key;
                        location / {
                            proxy_pass http://token_service;
                            proxy_http_version 1.1;
                            proxy_set_header Connection "";
                            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
                        }
                    }
                }
                """));
            System.IO.File.Move(configuration, test._folder.File("nginx/nginx.conf"));
            var nginx = await RunningProgram.Start(
                "nginx", ["-e", "stderr", "-p", test._folder.File("nginx"), "-c", "nginx.conf"], new($"{test.Issuer}/health/ready"));
            return new Replicas([.. replicas, nginx]);
        }

        public async Task Prints(string text)
        {
            var since = System.Diagnostics.Stopwatch.StartNew();
            while (!Printed.Contains(text, StringComparison.Ordinal))
            {
                since.Elapsed.Should().BeLessThan(TimeSpan.FromSeconds(30), $"one of them prints {text}, not only\n{Printed}");
                await Task.Delay(50);
            }
        }

        public async ValueTask DisposeAsync()
        {
            foreach (var program in programs)
            {
                await program.DisposeAsync();
            }
        }
    }
}
