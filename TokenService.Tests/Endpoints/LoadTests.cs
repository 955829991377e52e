using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Globalization;
using System.IO;
using System.Linq;
using System.Net.Http;
using System.Net.Sockets;
using System.Text;
using System.Threading;
using System.Threading.Tasks;
using FluentAssertions;
using FluentAssertions.Execution;
using TokenService.Endpoints;
using TokenService.Tests.Support;
using Xunit;
using Xunit.Abstractions;

namespace TokenService.Tests.Endpoints;

/// <summary>Tests that measure the service under load: nothing else runs meanwhile.</summary>
[CollectionDefinition(nameof(UnderLoad), DisableParallelization = true)]
public sealed class UnderLoad;

/// <summary>Too much load, slow clients, too many connections: the program as a process, on one core where that can be.</summary>
[Collection(nameof(UnderLoad))]
[Trait("Storage", "Sqlite")]
[Trait("Host", "OwnProgram")]
public sealed class LoadTests(ITestOutputHelper output) : IDisposable
{
    private static readonly byte[] s_token = LoadClients.TokenRequest(Sample.Job, Sample.JobSecret);

    private readonly TemporaryFolder _folder = new();
    private readonly int _port = RunningProgram.FreePort();
    private int _tlsPort;
    private int _managementPort;

    public void Dispose() => _folder.Dispose();

    // Processor time tells what part of the machine went into tokens, whatever else it does meanwhile; tokens a second are printed.
    [NeedsFact("taskset", "apt-get install util-linux")]
    public async Task Beyond_capacity_most_of_it_is_still_served_in_bounded_time_and_the_rest_is_refused_at_once()
    {
        var times = LongForm.Of(2, 10);
        var duration = TimeSpan.FromSeconds(LongForm.Of(15, 60));
        await using var program = await Serve("taskset", "-c", "0");
        await using var load = LoadProcess.Start();
        await Load(16, TimeSpan.FromSeconds(2));

        var lone = await Load(1, TimeSpan.FromSeconds(3));
        var (capacity, costBefore) = await Measured(program, () => Load(16, TimeSpan.FromSeconds(5)));
        var memory = Resident(program);
        var rate = times * capacity.Rate(200);
        var (overload, overloadCost) = await Measured(program, () => Load(400, duration, rate));
        var memoryAfter = Resident(program);
        await Task.Delay(1000);
        var after = await Load(1, TimeSpan.FromSeconds(1));

        // Before and after it: a shared machine is faster at one time than at another.
        var (_, costAfter) = await Measured(program, () => Load(16, TimeSpan.FromSeconds(5)));
        var capacityCost = (costBefore + costAfter) / 2;

        output.WriteLine($"alone {lone}\ncapacity {capacity}, {costBefore:0} µs each, and {costAfter:0} afterwards\n{times} times ({rate:0}/s) {overload}, {overloadCost:0} µs each");
        output.WriteLine($"refused: median {overload.Percentile(503, 50):0.0} ms; {capacityCost / overloadCost:0.00} of the processor for tokens; memory {memory} kB, then {memoryAfter} kB; afterwards {after}");
        using (new AssertionScope())
        {
            overload.Others(200, 503).Should().Be(0);
            overload.Count(503).Should().BePositive("it is more than can be served");
            (capacityCost / overloadCost).Should().BeGreaterThan(0.8, "nearly all of the processor still goes into tokens");
            overload.Rate(200).Should().BeGreaterThan(0.4 * capacity.Rate(200));
            overload.Percentile(200, 99).Should().BeLessThan(Math.Max(250, 5 * capacity.Percentile(200, 99)));
            overload.Percentile(503, 50).Should().BeLessThan(overload.Percentile(200, 50), "a refusal does not wait for its turn");
            ((double)memoryAfter).Should().BeLessThan(1.5 * memory);
            after.Others(200).Should().Be(0);
            after.Percentile(200, 50).Should().BeLessThan(Math.Max(20, 3 * lone.Percentile(200, 50)), "all is as before");
        }

        Task<LoadResult> Load(int clients, TimeSpan time, double requests = 0) => load.Run(_port, clients, time, s_token, requests);
    }

    [Fact]
    public async Task While_assertions_wait_for_a_locked_store_tokens_by_secret_are_all_served()
    {
        await using var program = await Serve();
        var issuer = $"http://127.0.0.1:{_port}";
        byte[] Assertion() => LoadClients.AssertionRequest(
            new AssertionDraft(AssertionClients.MacJob, issuer, DateTimeOffset.UtcNow).SignedWith(AssertionClients.MacSecret));
        (await LoadClients.Run(_port, 1, TimeSpan.FromSeconds(1), Assertion)).Others(200).Should().Be(0);

        LoadResult assertions, secrets;
        using (StoreFile.Lock(_folder))
        {
            // More of them than there are places to wait for a turn; each comes again after a second, as it is told to.
            var clients = 2 * 100 * Environment.ProcessorCount;
            var flood = LoadClients.Run(_port, clients, TimeSpan.FromSeconds(8), Assertion, clients);
            secrets = await LoadClients.Run(_port, 4, TimeSpan.FromSeconds(8), () => s_token, rate: 50);
            assertions = await flood;
        }

        output.WriteLine($"assertions {assertions}\nsecrets {secrets}");
        assertions.Others(503).Should().Be(0);
        assertions.Count(503).Should().BeGreaterThan(100 * Environment.ProcessorCount);
        secrets.Others(200).Should().Be(0);
        secrets.Count(200).Should().BeGreaterThan(50);
    }

    [Fact]
    public async Task Slow_and_half_open_connections_hold_nobody_up_and_are_closed_within_15_seconds()
    {
        TestCertificate.Make("localhost").Write(_folder.Path);
        _tlsPort = RunningProgram.FreePort();
        await using var program = await Serve();
        await Good(2);
        var before = await Good(4);
        var descriptors = Descriptors(program);

        var slow = new List<Task<TimeSpan>>();
        var clock = Stopwatch.StartNew();
        for (var i = 0; i < LongForm.Of(500, 5_000); i++)
        {
            // Nothing at all, headers that never end, a TLS handshake that never goes on.
            slow.Add((i % 3) switch
            {
                0 => Slow("", drips: false),
                1 => Slow("POST /oauth2/token HTTP/1.1\r\nHost: x\r\nX-", drips: true),
                _ => Slow("\u0016\u0003\u0001\u0001\u0000", drips: false, _tlsPort),
            });
        }

        for (var i = 0; i < LongForm.Of(100, 1_000); i++)
        {
            slow.Add(Slow(
                "POST /oauth2/token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 60000\r\n\r\n", drips: true));
        }

        output.WriteLine($"{slow.Count} slow connections within {clock.Elapsed.TotalSeconds:0.0} s");
        var during = await Good(4);
        var held = Descriptors(program);
        var ends = await Task.WhenAll(slow).WaitAsync(TimeSpan.FromSeconds(60));
        var left = Descriptors(program);
        for (var patience = Stopwatch.StartNew(); left > descriptors + 16 && patience.Elapsed < TimeSpan.FromSeconds(5); left = Descriptors(program))
        {
            await Task.Delay(50);
        }

        output.WriteLine($"good before: {before}\nduring: {during}\nclosed after {ends.Min().TotalSeconds:0.0} to {ends.Max().TotalSeconds:0.0} s");
        output.WriteLine($"descriptors {descriptors}, then {held}, then {left}");
        during.Others(200).Should().Be(0);
        during.Percentile(200, 99).Should().BeLessThan(Math.Max(50, 3 * before.Percentile(200, 99)));
        held.Should().BeGreaterThan(descriptors + (int)(0.9 * slow.Count), "they are there all the while");
        ends.Max().Should().BeLessThan(TimeSpan.FromSeconds(17), "15 seconds, and what a busy machine takes");
        left.Should().BeLessThanOrEqualTo(descriptors + 16);

        Task<LoadResult> Good(int seconds) => LoadClients.Run(_port, 4, TimeSpan.FromSeconds(seconds), () => s_token, rate: 200);
    }

    [Fact]
    public async Task A_connection_whose_answers_are_not_read_is_closed()
    {
        await using var service = await RunningService.Start();
        var requests = Encoding.ASCII.GetBytes(
            string.Concat(Enumerable.Repeat("GET /.well-known/oauth-authorization-server HTTP/1.1\r\nHost: x\r\n\r\n", 100)));

        var ends = await Task.WhenAll(Enumerable.Range(0, 10).Select(async _ =>
        {
            using var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { ReceiveBufferSize = 4096 };
            await socket.ConnectAsync("127.0.0.1", service.Url.Port);
            var since = Stopwatch.StartNew();
            try
            {
                // Until nothing fits any more, here, there and in between.
                while (since.Elapsed < TimeSpan.FromSeconds(60))
                {
                    await socket.SendAsync(requests);
                }
            }
            catch (SocketException)
            {
                // Closed.
            }

            return since.Elapsed;
        }));

        output.WriteLine($"closed after {ends.Min().TotalSeconds:0.0} to {ends.Max().TotalSeconds:0.0} s");
        ends.Max().Should().BeLessThan(TimeSpan.FromSeconds(40));
    }

    // Only the native program: the other one opens its assemblies when it first needs them, and ends where it cannot.
    [PublishedFact]
    public async Task With_256_descriptors_and_1000_connections_it_lives_honest_clients_get_through_and_it_recovers()
    {
        await using var program = await Serve("prlimit", "--nofile=256:256");
        using var end = new CancellationTokenSource();
        var flood = Enumerable.Range(0, 1000).Select(_ => Task.Run(async () =>
        {
            while (!end.IsCancellationRequested)
            {
                await Slow("", drips: false, cancellation: end.Token);
                await Task.Delay(500, CancellationToken.None);
            }
        })).ToList();
        await Task.Delay(2000);

        var (good, tries, slowest) = (0, 0, TimeSpan.Zero);
        for (var since = Stopwatch.StartNew(); since.Elapsed < TimeSpan.FromSeconds(LongForm.Of(5, 30)); tries++)
        {
            var start = Stopwatch.StartNew();
            // A connection of its own for each.
            good += (await LoadClients.Run(_port, 1, TimeSpan.Zero, () => s_token)).Count(200) > 0 ? 1 : 0;
            slowest = start.Elapsed > slowest ? start.Elapsed : slowest;
            await Task.Delay(20);
        }

        var held = Descriptors(program);
        await end.CancelAsync();
        await Task.WhenAll(flood);
        await Task.Delay(2000);
        var after = await LoadClients.Run(_port, 16, TimeSpan.FromSeconds(1), () => s_token);

        output.WriteLine($"{good} of {tries} got through, the slowest in {slowest.TotalMilliseconds:0} ms; {held} descriptors, then {Descriptors(program)}; after: {after}");
        ((double)good).Should().BeGreaterThan(0.6 * tries);
        held.Should().BeLessThan(256 - 16, "there is room left for files");
        after.Others(200).Should().Be(0);
        after.Count(200).Should().BePositive();
    }

    [NeedsFact("prlimit", "apt-get install util-linux")]
    public async Task Connections_that_give_way_are_counted()
    {
        var metrics = new Uri($"http://127.0.0.1:{_managementPort = RunningProgram.FreePort()}/metrics");
        using var http = new HttpClient();
        await using var program = await Serve("prlimit", "--nofile=1024:1024");
        (await GivenWay()).Should().Be(0);

        using var end = new CancellationTokenSource();
        var idle = Enumerable.Range(0, 900).Select(_ => Slow("", drips: false, cancellation: end.Token)).ToList();
        var counted = 0.0;
        for (var since = Stopwatch.StartNew(); counted == 0 && since.Elapsed < TimeSpan.FromSeconds(8); counted = await GivenWay())
        {
            await Task.Delay(50);
        }

        await end.CancelAsync();
        await Task.WhenAll(idle);
        counted.Should().BeInRange(1, 900, "of those that were opened 768 may stay");

        async Task<double> GivenWay() => (await PrometheusText.Ask(http, metrics)).Sum("tokenservice_connections_given_way_total");
    }

    [Theory]
    [InlineData(256, 128)]
    [InlineData(1024, 768)]
    [InlineData(4096, 3840)]
    [InlineData(1_048_576, 10_000)]
    public void Connections_are_bounded_by_the_descriptors(int descriptors, int connections)
        => WebServerLimits.MostConnectionsWith(descriptors).Should().Be(connections);

    [Fact]
    public async Task Refuses_headers_that_are_too_many_or_too_large()
    {
        await using var service = await RunningService.Start();

        (await Head(string.Concat(Enumerable.Repeat("a: b\r\n", 65)))).Should().StartWith("HTTP/1.1 431");
        (await Head($"a: {new string('b', 17 * 1024)}\r\n")).Should().StartWith("HTTP/1.1 431");
        (await Head(string.Concat(Enumerable.Repeat($"a: {new string('b', 250)}\r\n", 60)))).Should().StartWith("HTTP/1.1 200");

        Task<string> Head(string headers) => RawHttp.Send(service.Url, $"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n");
    }

    private Task<RunningProgram> Serve(params string[] before)
    {
        var clients = AssertionClients.Resources($$"""
            { "client_id": "{{Sample.Job}}", "client_secret": "{{Sample.JobSecret}}", "scope": "catalog.read" },
            { "client_id": "{{AssertionClients.MacJob}}", "token_endpoint_auth_method": "client_secret_jwt",
              "client_secret": "{{AssertionClients.MacSecret}}", "scope": "catalog.read" }
            """);
        string[] line =
        [
            .. before, Repository.Program, $"--contentRoot={_folder.Path}", "--environment=Production", $"--urls=http://127.0.0.1:{_port}{(_tlsPort > 0 ? $";https://127.0.0.1:{_tlsPort}" : "")}",
            .. (_managementPort > 0 ? (string[])[$"--TokenService:Management:Url=http://127.0.0.1:{_managementPort}"] : []),
            .. (_tlsPort > 0 ? (string[])["--Kestrel:Certificates:Default:Path=tls.crt", "--Kestrel:Certificates:Default:KeyPath=tls.key"] : []),
            $"--TokenService:Issuer=http://127.0.0.1:{_port}", $"--TokenService:ApplyFile={_folder.Write("clients.json", clients)}",
        ];
        return RunningProgram.Start(line[0], line[1..], new($"http://127.0.0.1:{_port}/health/ready"), _folder.Path);
    }

    // How long it was open.
    private async Task<TimeSpan> Slow(string begin, bool drips, int port = 0, CancellationToken cancellation = default)
    {
        using var socket = new Socket(SocketType.Stream, ProtocolType.Tcp);
        var buffer = new byte[1024];
        var since = Stopwatch.StartNew();
        try
        {
            await socket.ConnectAsync("127.0.0.1", port > 0 ? port : _port, cancellation);
            since.Restart();
            await socket.SendAsync(Encoding.Latin1.GetBytes(begin), cancellation);
            using var closed = new CancellationTokenSource();
            var dripping = drips ? Drip(socket, closed.Token) : Task.CompletedTask;
            try
            {
                while (await socket.ReceiveAsync(buffer, cancellation) > 0)
                {
                }
            }
            finally
            {
                await closed.CancelAsync();
                await dripping;
            }
        }
        catch (Exception fault) when (fault is SocketException or OperationCanceledException)
        {
            // Closed by the one or the other.
        }

        return since.Elapsed;
    }

    private static async Task Drip(Socket socket, CancellationToken cancellation)
    {
        try
        {
            while (true)
            {
                await Task.Delay(1000, cancellation);
                await socket.SendAsync("a"u8.ToArray(), cancellation);
            }
        }
        catch (Exception fault) when (fault is SocketException or OperationCanceledException)
        {
            // Closed.
        }
    }

    private static async Task<(LoadResult Result, double Microseconds)> Measured(RunningProgram program, Func<Task<LoadResult>> load)
    {
        var before = ProcessorTicks(program);
        var result = await load();
        return (result, (ProcessorTicks(program) - before) * 10_000.0 / result.Count(200));
    }

    // User and system time of all threads, in hundredths of a second (proc(5)).
    private static long ProcessorTicks(RunningProgram program)
    {
        var stat = File.ReadAllText($"/proc/{program.Id}/stat");
        var fields = stat[(stat.LastIndexOf(')') + 2)..].Split(' ');
        return long.Parse(fields[11], CultureInfo.InvariantCulture) + long.Parse(fields[12], CultureInfo.InvariantCulture);
    }

    private static int Resident(RunningProgram program) => int.Parse(
        File.ReadLines($"/proc/{program.Id}/status").Single(line => line.StartsWith("VmRSS:", StringComparison.Ordinal)).Split(
            [' ', '\t'], StringSplitOptions.RemoveEmptyEntries)[1],
        CultureInfo.InvariantCulture);

    private static int Descriptors(RunningProgram program) => Directory.GetFiles($"/proc/{program.Id}/fd").Length;
}
