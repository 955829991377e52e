using System;
using System.Diagnostics;
using System.IO;
using System.Linq;
using System.Net;
using System.Net.Http;
using System.Net.Sockets;
using System.Security.Cryptography.X509Certificates;
using System.Threading;
using System.Threading.Tasks;
using FluentAssertions;
using TokenService.Tests.Support;
using Xunit;
using Xunit.Abstractions;

namespace TokenService.Tests.Endpoints;

/// <summary>The end of the service on SIGTERM: nobody's request fails, and it does not take long.</summary>
[Trait("Host", "OwnProgram")]
public sealed class GracefulStopTests : IDisposable
{
    // What is promised, and a second for a loaded machine.
    private static readonly TimeSpan s_grace = TimeSpan.FromSeconds(5 + 1);

    private readonly TemporaryFolder _folder = new();
    private readonly int _port = RunningProgram.FreePort();
    private readonly ITestOutputHelper _output;

    public GracefulStopTests(ITestOutputHelper output) => (_output, _) = (output, _folder.Write("clients.json", Sample.File));

    private static int Rounds => LongForm.Of(2, 25);

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task Replicas_are_restarted_one_after_the_other_under_load_and_no_request_fails()
    {
        int[] ports = [_port, RunningProgram.FreePort()];
        var programs = await Task.WhenAll(ports.Select(port => Serve(port)));
        await using var balancer = new Balancer(ports);
        try
        {
            await balancer.Sees(0, up: true);
            await balancer.Sees(1, up: true);
            balancer.Load(clients: 8);
            for (var round = 0; round < Rounds; round++)
            {
                for (var replica = 0; replica < ports.Length; replica++)
                {
                    await balancer.Loads(replica);

                    var since = Stopwatch.StartNew();
                    await programs[replica].Stop();
                    since.Elapsed.Should().BeLessThan(s_grace);
                    programs[replica].ExitCode.Should().Be(0, programs[replica].Printed);
                    _output.WriteLine($"round {round}, replica {replica}: ended after {since.Elapsed.TotalSeconds:0.00} s");
                    await balancer.Sees(replica, up: false);

                    await programs[replica].DisposeAsync();
                    programs[replica] = await Serve(ports[replica]);
                    await balancer.Sees(replica, up: true);
                }
            }
        }
        finally
        {
            await balancer.DisposeAsync();
            foreach (var program in programs)
            {
                await program.DisposeAsync();
            }
        }

        _output.WriteLine($"{balancer.Answered.Sum()} tokens, {balancer.ToldToClose} answers with Connection: close, {balancer.Failures.Length} failures");
        balancer.Failures.Should().BeEmpty();
        balancer.ToldToClose.Should().BePositive("what still came to a replica that was stopping was answered");
    }

    [Fact]
    public async Task Readiness_falls_first_and_requests_are_taken_for_a_while_each_closing_its_connection()
    {
        await using var program = await Serve(_port);
        using var kept = await PlainConnection.Open(_port);
        (await kept.Ask(PlainConnection.TokenRequest())).Should().Be(200);
        kept.Closes.Should().BeFalse();

        await program.Terminate();
        var since = Stopwatch.StartNew();
        using (var http = new HttpClient())
        {
            while ((await http.GetAsync(new Uri($"http://127.0.0.1:{_port}/health/ready"))).StatusCode != HttpStatusCode.ServiceUnavailable)
            {
                since.Elapsed.Should().BeLessThan(TimeSpan.FromSeconds(1), "readiness falls at once");
                await Task.Delay(5);
            }

            (await http.GetAsync(new Uri($"http://127.0.0.1:{_port}/health/live"))).StatusCode.Should().Be(HttpStatusCode.OK);
        }

        (await kept.Ask(PlainConnection.TokenRequest())).Should().Be(200);
        kept.Closes.Should().BeTrue();
        while (since.Elapsed < TimeSpan.FromSeconds(1))
        {
            using var fresh = await PlainConnection.Open(_port);
            (await fresh.Ask(PlainConnection.TokenRequest())).Should().Be(200);
            fresh.Closes.Should().BeTrue();
        }

        await program.Ended();
        program.ExitCode.Should().Be(0);
        program.Printed.Should().NotContain("\"LogLevel\":\"Error\"").And.NotContain("\"LogLevel\":\"Warning\"");
    }

    [Fact]
    public async Task A_request_under_way_is_answered_after_the_service_has_stopped_listening()
    {
        await using var program = await Serve(_port);
        using var slow = await PlainConnection.Open(_port);
        var request = PlainConnection.TokenRequest();
        await slow.Send(request[..^5]);

        await program.Terminate();
        var since = Stopwatch.StartNew();
        while (await Listens())
        {
            since.Elapsed.Should().BeLessThan(s_grace, "it stops listening");
            await Task.Delay(20);
        }

        since.Elapsed.Should().BeGreaterThan(TimeSpan.FromSeconds(1.5), "a load balancer has the time to notice");
        (await slow.Ask(request[^5..])).Should().Be(200);
        slow.Closes.Should().BeTrue();
        await program.Ended();
        since.Elapsed.Should().BeLessThan(s_grace);
        program.ExitCode.Should().Be(0);
    }

    [Fact]
    public async Task A_client_that_never_ends_its_request_does_not_hold_up_the_end()
    {
        await using var program = await Serve(_port);
        using var endless = await PlainConnection.Open(_port);
        await endless.Send(PlainConnection.TokenRequest()[..^5]);
        using var idle = await PlainConnection.Open(_port);

        await EndsInTime(program, "with a request that never ends");
    }

    [Fact]
    public async Task A_locked_store_does_not_hold_up_the_end()
    {
        await using var program = await Serve(_port, "--TokenService:RateLimit:FailuresPerMinute=0");
        using var locked = StoreFile.Lock(_folder);
        using var connection = await PlainConnection.Open(_port);

        // Both leave something to write: when the client was last used, and a refusal.
        (await connection.Ask(PlainConnection.TokenRequest())).Should().Be(200);
        (await connection.Ask(PlainConnection.TokenRequest(secret: "wrong"))).Should().Be(401);

        await EndsInTime(program, "with a locked store");
        program.Printed.Should().Contain("The store does not take what is left to write");
    }

    [Fact]
    public async Task A_second_signal_ends_it_at_once()
    {
        await using var program = await Serve(_port);
        await program.Terminate();
        await Task.Delay(300);
        var since = Stopwatch.StartNew();

        await program.Stop();

        _output.WriteLine($"ended {since.Elapsed.TotalSeconds:0.00} s after the second signal");
        program.ExitCode.Should().Be(143);
        since.Elapsed.Should().BeLessThan(TimeSpan.FromSeconds(1.5), "the while for load balancers would have lasted longer");
    }

    [Fact]
    public async Task In_Development_nobody_waits_for_a_load_balancer()
    {
        await using var program = await new Cli(_folder, "Development").Serve(_port);
        await using var production = await Serve(RunningProgram.FreePort());

        var since = Stopwatch.StartNew();
        await program.Stop();
        var development = since.Elapsed;
        since.Restart();
        await production.Stop();

        _output.WriteLine($"Development {development.TotalSeconds:0.00} s, Production {since.Elapsed.TotalSeconds:0.00} s");
        development.Should().BeLessThan(since.Elapsed);
        (program.ExitCode, production.ExitCode).Should().Be((0, 0));
    }

    [Fact]
    public async Task A_start_that_fails_does_not_wait_either()
    {
        using var taken = new TcpListener(IPAddress.Loopback, 0);
        taken.Start();
        var port = ((IPEndPoint)taken.LocalEndpoint).Port;
        await using var program = await Serve(_port);

        var since = Stopwatch.StartNew();
        (await new Cli(_folder).Run($"--urls=http://127.0.0.1:{port}", "--TokenService:Issuer=https://auth.example.com")).ExitCode.Should().Be(1);
        var failed = since.Elapsed;
        since.Restart();
        await program.Stop();

        failed.Should().BeLessThan(since.Elapsed + TimeSpan.FromSeconds(1));
    }

    [Fact]
    public async Task A_client_of_HTTP_2_is_told_to_open_another_connection_and_none_of_its_requests_fails()
    {
        var certificate = TestCertificate.Make("h2");
        certificate.Write(_folder.Path);
        var url = $"https://127.0.0.1:{_port}";
        await using var program = await RunningProgram.Start(
            Repository.Program,
            [
                $"--contentRoot={_folder.Path}", "--environment=Production", $"--urls={url}", $"--TokenService:Issuer={url}", "--TokenService:ApplyFile=clients.json",
                "--Kestrel:Certificates:Default:Path=tls.crt", "--Kestrel:Certificates:Default:KeyPath=tls.key",
            ],
            new Uri($"{url}/health/ready"));
        var connections = 0;
        using var handler = new SocketsHttpHandler
        {
            ConnectCallback = async (context, cancellation) =>
            {
                Interlocked.Increment(ref connections);
                var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
                await socket.ConnectAsync(context.DnsEndPoint, cancellation);
                return new NetworkStream(socket, ownsSocket: true);
            },
        };
        handler.SslOptions.CertificateChainPolicy = new X509ChainPolicy
        {
            TrustMode = X509ChainTrustMode.CustomRootTrust,
            CustomTrustStore = { X509Certificate2.CreateFromPem(certificate.Root) },
            RevocationMode = X509RevocationMode.NoCheck,
        };
        using var http = new HttpClient(handler) { BaseAddress = new Uri(url), DefaultRequestVersion = HttpVersion.Version20, DefaultVersionPolicy = HttpVersionPolicy.RequestVersionExact };
        for (var i = 0; i < 5; i++)
        {
            (await Token()).Should().Be(HttpStatusCode.OK);
        }

        connections.Should().Be(1);

        await program.Terminate();
        var since = Stopwatch.StartNew();
        while (since.Elapsed < TimeSpan.FromSeconds(1))
        {
            (await Token()).Should().Be(HttpStatusCode.OK);
        }

        connections.Should().BeGreaterThan(1);
        await program.Ended();
        program.ExitCode.Should().Be(0);

        async Task<HttpStatusCode> Token()
        {
            using var response = await http.PostAsync("/oauth2/token", RunningService.Form($"grant_type=client_credentials&client_id={Sample.FormJob}&client_secret={Sample.FormSecret}"));
            return response.StatusCode;
        }
    }

    private Task<RunningProgram> Serve(int port, params string[] settings) => new Cli(_folder).Serve(
        port, ["--TokenService:Issuer=https://auth.example.com", "--TokenService:ApplyFile=clients.json", .. settings]);

    private async Task EndsInTime(RunningProgram program, string how)
    {
        var since = Stopwatch.StartNew();
        await program.Stop();
        _output.WriteLine($"ended after {since.Elapsed.TotalSeconds:0.00} s {how}");
        since.Elapsed.Should().BeLessThan(s_grace);
        program.ExitCode.Should().Be(0, program.Printed);
    }

    private async Task<bool> Listens()
    {
        try
        {
            using var connection = await PlainConnection.Open(_port);
            return true;
        }
        catch (SocketException)
        {
            return false;
        }
    }

    /// <summary>Sends requests to replicas in turn, to those that say that they are ready; and tries nothing again.</summary>
    private sealed class Balancer : IAsyncDisposable
    {
        private readonly int[] _ports;
        private readonly int[] _generations;
        private readonly bool[] _up;
        private readonly CancellationTokenSource _ending = new();
        private readonly System.Collections.Concurrent.ConcurrentQueue<string> _failures = new();
        private readonly System.Collections.Concurrent.ConcurrentBag<Task> _running = [];
        private int _toldToClose;

        public Balancer(int[] ports)
        {
            (_ports, _generations, _up, Answered) = (ports, new int[ports.Length], new bool[ports.Length], new int[ports.Length]);
            foreach (var replica in Enumerable.Range(0, ports.Length))
            {
                _running.Add(Task.Run(() => Probe(replica)));
            }
        }

        public int[] Answered { get; }

        public int ToldToClose => _toldToClose;

        public string[] Failures => [.. _failures];

        public void Load(int clients)
        {
            for (var client = 0; client < clients; client++)
            {
                _running.Add(Task.Run(Client));
            }
        }

        public async Task Sees(int replica, bool up)
        {
            var since = Stopwatch.StartNew();
            while (Volatile.Read(ref _up[replica]) != up)
            {
                since.Elapsed.Should().BeLessThan(TimeSpan.FromSeconds(30));
                await Task.Delay(20);
            }
        }

        /// <summary>Waits until a replica is under load.</summary>
        public async Task Loads(int replica)
        {
            var (since, before) = (Stopwatch.StartNew(), Volatile.Read(ref Answered[replica]));
            while (Volatile.Read(ref Answered[replica]) < before + 50)
            {
                since.Elapsed.Should().BeLessThan(TimeSpan.FromSeconds(60));
                await Task.Delay(20);
            }
        }

        public async ValueTask DisposeAsync()
        {
            await _ending.CancelAsync();
            await Task.WhenAll(_running);
        }

        private async Task Probe(int replica)
        {
            while (!_ending.IsCancellationRequested)
            {
                var ready = false;
                try
                {
                    using var connection = await PlainConnection.Open(_ports[replica]);
                    ready = await connection.Ask("GET /health/ready HTTP/1.1\r\nHost: x\r\n\r\n") == 200;
                }
                catch (Exception fault) when (fault is SocketException or IOException)
                {
                    // It is not there.
                }

                if (_up[replica] && !ready)
                {
                    Interlocked.Increment(ref _generations[replica]);
                }

                Volatile.Write(ref _up[replica], ready);
                await Task.Delay(100);
            }
        }

        private async Task Client()
        {
            var connections = new (PlainConnection? Connection, int Generation)[_ports.Length];
            for (var turn = Random.Shared.Next(2); !_ending.IsCancellationRequested; turn++)
            {
                var replica = turn % _ports.Length;
                if (!Volatile.Read(ref _up[replica]))
                {
                    replica = (replica + 1) % _ports.Length;
                }

                try
                {
                    var (connection, generation) = connections[replica];
                    if (connection is null || generation != Volatile.Read(ref _generations[replica]))
                    {
                        connection?.Dispose();
                        connections[replica] = (null, Volatile.Read(ref _generations[replica]));
                        connection = await PlainConnection.Open(_ports[replica]);
                        connections[replica].Connection = connection;
                    }

                    var status = await connection.Ask(PlainConnection.TokenRequest());
                    if (status != 200)
                    {
                        _failures.Enqueue($"{DateTime.UtcNow:ss.fff} replica {replica} answered {status}");
                    }

                    Interlocked.Increment(ref Answered[replica]);
                    if (connection.Closes)
                    {
                        Interlocked.Increment(ref _toldToClose);
                        connection.Dispose();
                        connections[replica].Connection = null;
                    }
                }
                catch (Exception fault)
                {
                    _failures.Enqueue($"{DateTime.UtcNow:ss.fff} replica {replica}: {fault.Message}");
                    connections[replica].Connection = null;
                }

                await Task.Delay(5);
            }

            foreach (var (connection, _) in connections)
            {
                connection?.Dispose();
            }
        }
    }
}
