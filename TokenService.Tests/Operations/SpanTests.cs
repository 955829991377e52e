using System;
using System.IO;
using System.Linq;
using System.Net.Http;
using System.Text.RegularExpressions;
using System.Threading.Tasks;
using FluentAssertions;
using TokenService.Tests.Support;
using Xunit;

namespace TokenService.Tests.Operations;

/// <summary>Which spans the program sends, and what they call an error, in a process of its own.</summary>
[Trait("Host", "OwnProgram")]
public sealed class SpanTests : IDisposable
{
    private const string Grant = "grant_type=client_credentials";

    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task With_the_sampler_that_the_page_names_for_much_traffic_no_caller_has_its_requests_sent()
    {
        var named = Regex.Match(File.ReadAllText(Repository.File("docs", "metrics.md")), "take `([a-z_]+)` and `([0-9.]+)`");
        await using var receiver = await OtlpReceiver.Start();
        var (program, url) = await Start(receiver, [("OTEL_TRACES_SAMPLER", named.Groups[1].Value), ("OTEL_TRACES_SAMPLER_ARG", named.Groups[2].Value)]);
        await using (program)
        {
            // The ids that begin with 0 are among those that are sent, and the ones that begin with 7 are not.
            foreach (var id in Enumerable.Range(0, 20).Select(i => $"7fffffffffffff{i:x2}0123456789abcdef").Append("00000000000000010123456789abcdef"))
            {
                using var http = new HttpClient();
                using var request = new HttpRequestMessage(HttpMethod.Post, new Uri(url, "/oauth2/token")) { Content = RunningService.Form(Grant) };
                request.Headers.Add("traceparent", $"00-{id}-b7ad6b7169203331-01");
                using var response = await http.SendAsync(request);
                (await Answer.Of(response)).Json.GetProperty("trace_id").GetString().Should().Be(id);
            }

            await program.Stop();
        }

        receiver.Spans.Select(span => span.TraceId).Distinct().Should().Equal("00000000000000010123456789abcdef");
    }

    [Fact]
    public async Task What_a_caller_sent_wrong_is_no_error_of_the_span_and_what_the_service_fails_in_is()
    {
        var folder = Directory.CreateDirectory(_folder.File("audit")).FullName;
        await using var receiver = await OtlpReceiver.Start();
        var (program, url) = await Start(receiver, [], $"--TokenService:Audit:File={Path.Combine(folder, "audit.log")}", "--TokenService:Audit:OnFailure=refuse");
        await using (program)
        {
            (await TokenQueries.Post(url, "/oauth2/token", Grant, $"{Sample.Job}:wrong")).Status.Should().Be(401);
            Directory.Delete(folder, recursive: true);
            for (var status = 200; status == 200;)
            {
                status = (await TokenQueries.Post(url, "/oauth2/token", Grant, TokenQueries.Job)).Status;
            }

            await program.Stop();
        }

        var requests = receiver.Spans.Where(span => span.Name == "POST /oauth2/token").ToList();
        requests.Single(span => span.Attributes["http.response.status_code"] == "401").Attributes
            .Should().Contain("oauth.error", "invalid_client").And.Contain("tokenservice.check", "client_secret").And.NotContainKey("error.type");
        requests.Single(span => span.Attributes["http.response.status_code"] == "503").Attributes
            .Should().Contain("oauth.error", "temporarily_unavailable").And.Contain("tokenservice.check", "audit").And.Contain("error.type", "temporarily_unavailable");
        requests.First(span => span.Attributes["http.response.status_code"] == "200").Attributes.Should().NotContainKeys("oauth.error", "error.type");
    }

    private async Task<(RunningProgram Program, Uri Url)> Start(OtlpReceiver receiver, (string Name, string Value)[] variables, params string[] settings)
    {
        var port = RunningProgram.FreePort();
        _folder.Write("clients.json", Sample.File);
        var program = await new Cli(_folder) { Variables = [.. receiver.Variables, .. variables] }.Serve(port, ["--TokenService:ApplyFile=clients.json", .. settings]);
        return (program, new($"http://127.0.0.1:{port}"));
    }
}
