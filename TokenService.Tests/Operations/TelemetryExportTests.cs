using System;
using System.Diagnostics;
using System.Linq;
using System.Net.Http;
using System.Threading.Tasks;
using FluentAssertions;
using TokenService.Tests.Support;
using Xunit;

namespace TokenService.Tests.Operations;

/// <summary>The way to a collector, in a process of its own.</summary>
[Trait("Host", "OwnProgram")]
public sealed class TelemetryExportTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task Metrics_and_traces_arrive_by_gRPC_where_no_protocol_is_named()
    {
        await using var receiver = await OtlpReceiver.Start(grpc: true);
        var (program, url) = await Start(receiver);
        await using (program)
        {
            (await TokenQueries.Post(url, "/oauth2/token", "grant_type=client_credentials", TokenQueries.Job)).Status.Should().Be(200);
            await program.Stop();
        }

        receiver.Paths.Should().BeEquivalentTo(["/v1/metrics", "/v1/traces"]);
        receiver.Metrics.Should().Contain(["tokenservice.requests", "tokenservice.tokens"]);
        receiver.Spans.Select(span => span.Name).Should().Contain(["POST /oauth2/token", "authenticate", "sign"]);
    }

    [Fact]
    public async Task A_collector_that_never_answers_holds_up_neither_a_token_nor_the_end()
    {
        await using var receiver = await OtlpReceiver.Start();
        receiver.Hang();
        var (program, url) = await Start(receiver);
        await using (program)
        {
            for (var i = 0; i < 20; i++)
            {
                (await TokenQueries.Post(url, "/oauth2/token", "grant_type=client_credentials", TokenQueries.Job)).Status.Should().Be(200);
            }

            var since = Stopwatch.StartNew();
            await program.Stop();
            since.Elapsed.Should().BeLessThan(TimeSpan.FromSeconds(4), "what ends the service waits half a second for it, and not ten");
        }
    }

    [Theory]
    [InlineData("traceidratio", 0)]
    [InlineData("parentbased_traceidratio", 1)]
    public async Task With_the_sampler_that_the_page_recommends_no_caller_decides_what_goes_out(string sampler, int traces)
    {
        // Of this trace id neither takes one in a hundred; its caller says that it is to go out.
        const string caller = "00-7fffffffffffffff7fffffffffffffff-b7ad6b7169203331-01";
        await using var receiver = await OtlpReceiver.Start();
        var (program, url) = await Start(receiver, ("OTEL_TRACES_SAMPLER", sampler), ("OTEL_TRACES_SAMPLER_ARG", "0.01"));
        await using (program)
        {
            using var http = new HttpClient { BaseAddress = url };
            using var request = new HttpRequestMessage(HttpMethod.Post, "/oauth2/token") { Content = RunningService.Form("grant_type=client_credentials") };
            request.Headers.Add("traceparent", caller);
            using var response = await http.SendAsync(request);
            ((int)response.StatusCode).Should().Be(401);
            await program.Stop();
        }

        receiver.Metrics.Should().Contain("tokenservice.requests");
        receiver.Spans.Select(span => span.TraceId).Distinct().Should().HaveCount(traces);
    }

    private async Task<(RunningProgram Program, Uri Url)> Start(OtlpReceiver receiver, params (string Name, string Value)[] variables)
    {
        var port = RunningProgram.FreePort();
        _folder.Write("clients.json", Sample.File);
        var program = await new Cli(_folder, "Development") { Variables = [.. receiver.Variables, .. variables] }.Serve(port, "--TokenService:ApplyFile=clients.json");
        return (program, new($"http://127.0.0.1:{port}"));
    }
}
