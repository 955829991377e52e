using System;
using System.Diagnostics;
using System.IO;
using System.Linq;
using System.Net.Http;
using System.Net.Sockets;
using System.Text;
using System.Threading.Tasks;
using FluentAssertions;
using TokenService.Tests.Support;
using Xunit;

namespace TokenService.Tests.Operations;

/// <summary>What the metrics say of the audit log, and of tokens that it holds back, of the program in a process of its own.</summary>
[Trait("Host", "OwnProgram")]
public sealed class AuditMetricsTests : IDisposable
{
    private const string Grant = "grant_type=client_credentials";

    private readonly TemporaryFolder _folder = new();
    private readonly HttpClient _http = new();
    private readonly Uri _url = new($"http://127.0.0.1:{RunningProgram.FreePort()}");
    private readonly Uri _management = new($"http://127.0.0.1:{RunningProgram.FreePort()}");

    public AuditMetricsTests() => _folder.Write("clients.json", Sample.File);

    public void Dispose()
    {
        _http.Dispose();
        _folder.Dispose();
    }

    [Fact]
    public async Task Records_are_counted_as_they_are_written_and_the_seconds_in_which_they_cannot_be()
    {
        var folder = Directory.CreateDirectory(_folder.File("audit")).FullName;
        var log = Path.Combine(folder, "audit.log");
        await using var program = await new Cli(_folder).Serve(
            _url.Port, "--TokenService:ApplyFile=clients.json", $"--TokenService:Audit:File={log}", "--TokenService:Audit:OnFailure=refuse",
            $"--TokenService:Management:Url={_management.GetLeftPart(UriPartial.Authority)}");
        var given = 0;
        for (; given < 5; given++)
        {
            (await Ask()).Status.Should().Be(200);
        }

        await AuditRecords.Find(log, "token_issued", _ => AuditRecords.Read(log).Count(record => record.Text("event") == "token_issued") == 5);
        await Until(metrics => Written(metrics) == AuditRecords.Read(log).Count);
        await Until(metrics => metrics.Sum("tokenservice_audit_staleness_seconds") == 0 && Lost(metrics) == 0);

        Directory.Delete(folder, recursive: true);
        while ((await Ask()).Status == 200)
        {
            given++;
        }

        await Until(metrics => metrics.Sum("tokenservice_audit_staleness_seconds") > 1);
        (await Ask()).Status.Should().Be(503);
        (await Scrape()).Sum("tokenservice_tokens_total").Should().Be(given);
        Directory.CreateDirectory(folder);
        await Until(metrics => metrics.Sum("tokenservice_audit_staleness_seconds") == 0);
        Lost(await Scrape()).Should().Be(0, "they waited");
    }

    [Fact]
    public async Task A_token_that_is_withheld_because_the_queue_has_no_room_for_its_record_is_not_counted_as_given()
    {
        // Nobody reads what it prints, and a pipe takes 64 KiB.
        await using var program = await RunningProgram.Start(
            "sh",
            [
                "-c", "\"$@\" | sleep 60", "sh", Repository.Program, $"--contentRoot={_folder.Path}", $"--urls={_url}", $"--TokenService:Issuer={_url.GetLeftPart(UriPartial.Authority)}",
                "--TokenService:ApplyFile=clients.json", "--TokenService:Audit:File=-", "--TokenService:Audit:OnFailure=refuse",
                $"--TokenService:Management:Url={_management.GetLeftPart(UriPartial.Authority)}",
            ],
            new(_url, "/health/ready"));

        // Each is refused, and recorded, as fast as the connection brings them.
        var flood = Task.Run(() => Refusals(15_000));
        var (given, withheld) = (0, 0);
        for (var since = Stopwatch.StartNew(); since.Elapsed < TimeSpan.FromSeconds(5) || withheld == 0;)
        {
            since.Elapsed.Should().BeLessThan(TimeSpan.FromSeconds(30));
            var answer = await Ask();
            given += answer.Status == 200 ? 1 : 0;
            withheld += answer.Status == 503 && !answer.IsTooBusy ? 1 : 0;
        }

        await flood;
        var metrics = await Scrape();
        metrics.Sum("tokenservice_tokens_total").Should().Be(given);
        Lost(metrics).Should().BePositive();
        metrics.Sum("tokenservice_audit_staleness_seconds").Should().BePositive();
    }

    private async Task Refusals(int count)
    {
        using var client = new TcpClient();
        await client.ConnectAsync(_url.Host, _url.Port);
        var stream = client.GetStream();
        var answers = Task.Run(async () =>
        {
            var buffer = new byte[64 * 1024];
            while (await stream.ReadAsync(buffer) > 0)
            {
                // Whatever they say.
            }
        });
        var requests = string.Concat(Enumerable.Repeat("GET /oauth2/token HTTP/1.1\r\nHost: x\r\n\r\n", count - 1)) + "GET /oauth2/token HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        await stream.WriteAsync(Encoding.ASCII.GetBytes(requests));
        await answers;
    }

    private static double Lost(PrometheusText metrics) => metrics.Sum("tokenservice_audit_records_total", "error_type=\"queue_full\"");

    private static double Written(PrometheusText metrics) => metrics.Sum("tokenservice_audit_records_total") - Lost(metrics);

    private Task<PrometheusText> Scrape() => PrometheusText.Ask(_http, new(_management, "/metrics"));

    private Task<Answer> Ask() => TokenQueries.Post(_url, "/oauth2/token", Grant, TokenQueries.Job);

    private async Task Until(Func<PrometheusText, bool> condition)
    {
        var since = Stopwatch.StartNew();
        PrometheusText metrics;
        do
        {
            await Task.Delay(20);
            metrics = await Scrape();
            since.Elapsed.Should().BeLessThan(TimeSpan.FromSeconds(20), metrics.Text);
        }
        while (!condition(metrics));
    }
}
