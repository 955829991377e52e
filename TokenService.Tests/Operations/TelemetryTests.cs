using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.IO;
using System.Linq;
using System.Net.Http;
using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;
using System.Threading.Tasks;
using FluentAssertions;
using TokenService.Tests.Support;
using Xunit;

namespace TokenService.Tests.Operations;

/// <summary>
/// Metrics and traces of the program in a process of its own: a process has one set of instruments by name, and here other services run beside it.
/// </summary>
public sealed class TelemetryTests : IAsyncLifetime, IDisposable
{
    private const string Grant = "grant_type=client_credentials";

    private readonly TemporaryFolder _folder = new();
    private readonly HttpClient _http = new();
    private readonly List<string> _canaries = [Sample.JobSecret, Sample.WideSecret, AssertionClients.MacSecret, "canary"];
    private OtlpReceiver _receiver = null!;
    private RunningProgram _program = null!;
    private Uri _metrics = null!;

    public async Task InitializeAsync()
    {
        var (port, management) = (RunningProgram.FreePort(), RunningProgram.FreePort());
        _folder.Write("clients.json", Sample.File.Replace(
            "\"clients\": [",
            $$"""
            "clients": [
              { "client_id": "chatty", "client_secret": "{{Sample.WideSecret}}", "scope": "orders.read", "token_reuse": 60 },
              { "client_id": "away", "token_endpoint_auth_method": "private_key_jwt", "scope": "orders.read", "jwks_uri": "http://127.0.0.1:9/" },
              { "client_id": "{{AssertionClients.MacJob}}", "token_endpoint_auth_method": "client_secret_jwt",
                "client_secret": "{{AssertionClients.MacSecret}}", "scope": "catalog.read" },
            """,
            StringComparison.Ordinal));
        _receiver = await OtlpReceiver.Start();
        _http.BaseAddress = new Uri($"http://127.0.0.1:{port}");
        _metrics = new Uri($"http://127.0.0.1:{management}/metrics");
        _program = await Serve(_receiver.Variables);
    }

    public async Task DisposeAsync()
    {
        await _program.DisposeAsync();
        await _receiver.DisposeAsync();
    }

    public void Dispose()
    {
        _http.Dispose();
        _folder.Dispose();
    }

    [Fact]
    public async Task The_metrics_that_the_page_lists_arrive_with_these_names_and_no_others_and_so_do_those_of_the_dashboard_and_the_alerts()
    {
        await SendAllKinds();
        var listed = Listed().ToList();
        listed.Should().HaveCountGreaterThan(15);

        await Until(() => listed.All(row => _receiver.Metrics.Contains(row.Name)));
        _receiver.Metrics.Should().BeEquivalentTo(listed.Select(row => row.Name));
        _receiver.Paths.Should().BeEquivalentTo(["/v1/metrics", "/v1/traces"], "the log is not sent");

        var scraped = await Scrape();
        scraped.Types.Keys.Where(name => name is not "target_info" and not "otel_scope_info").Should().BeEquivalentTo(listed.Select(row => row.Prometheus));
        var labels = scraped.Labels.Append("job").ToHashSet();
        foreach (var row in listed)
        {
            scraped.LabelsOf(row.Prometheus).Should().BeEquivalentTo(row.Labels.Select(label => label.Replace('.', '_')), row.Name);
        }

        foreach (var expression in Expressions())
        {
            Regex.Matches(expression, @"\b(tokenservice|http_server|kestrel|db_client|dotnet)_\w+(?=[{\[)\s]|$)").Select(match => match.Value)
                .Where(name => !labels.Contains(name) && !scraped.Names.Contains(name)).Should().BeEmpty(expression);
            Regex.Matches(expression, "(\\w+)(=|!=|=~)\"").Select(match => match.Groups[1].Value).Where(label => !labels.Contains(label)).Should().BeEmpty(expression);
        }
    }

    [Fact]
    public async Task Counts_go_up_exactly_as_requests_were_sent()
    {
        var before = await Scrape();

        for (var i = 0; i < 7; i++)
        {
            (await Send(Grant, Sample.Job, Sample.JobSecret)).Status.Should().Be(200);
        }

        for (var i = 0; i < 3; i++)
        {
            (await Send(Grant, "chatty", Sample.WideSecret)).Status.Should().Be(200);
            (await Send(Grant, Sample.Job, "canary-wrong")).Error.Should().Be("invalid_client");
        }

        (await Send($"{Grant}&scope=orders.read", Sample.Job, Sample.JobSecret)).Error.Should().Be("invalid_scope");
        (await Send("token=x", Sample.Introspector, Sample.IntrospectorSecret, TokenQueries.Introspection)).Status.Should().Be(200);
        (await Send("token=x", Sample.Job, Sample.JobSecret, TokenQueries.Revocation)).Status.Should().Be(200);
        var assertion = new AssertionDraft(AssertionClients.MacJob, Issuer, DateTimeOffset.UtcNow).SignedWith(AssertionClients.MacSecret);
        (await Send(AssertionDraft.Form(assertion))).Status.Should().Be(200);
        (await Send(AssertionDraft.Form(assertion))).Error.Should().Be("invalid_client");

        var after = await Scrape();
        Counted("tokenservice_requests_total").Should().Be(18);
        Counted("tokenservice_requests_total", "error_type=\"invalid_client\"").Should().Be(4);
        Counted("tokenservice_requests_total", "http_route=\"/oauth2/token\"", "tokenservice_check=\"client_secret\"").Should().Be(3);
        Counted("tokenservice_requests_total", "tokenservice_check=\"jti\"").Should().Be(1);
        Counted("tokenservice_requests_total", "error_type=\"invalid_scope\"", "tokenservice_check=\"scope\"").Should().Be(1);
        Counted("tokenservice_requests_total", "http_route=\"/oauth2/introspect\"").Should().Be(1);
        Counted("tokenservice_requests_total", "http_route=\"/oauth2/revoke\"").Should().Be(1);
        Counted("tokenservice_tokens_total", "reused=\"true\"").Should().Be(2, "the first was signed, two were given again");
        Counted("tokenservice_tokens_total", "grant_type=\"client_credentials\"").Should().Be(11);
        Counted("tokenservice_signature_duration_seconds_count", "jws_algorithm=\"RS256\"").Should().Be(9);
        Counted("http_server_request_duration_seconds_count", "http_route=\"/oauth2/token\"", "http_response_status_code=\"200\"").Should().Be(11);
        Counted("http_server_request_duration_seconds_count", "/metrics").Should().Be(0, "what operators ask is not counted");
        after.Sum("tokenservice_clients").Should().Be(7);
        after.Sum("tokenservice_signing_keys", "state=\"signing\"").Should().Be(1);
        after.Sum("tokenservice_store_staleness_seconds").Should().BeInRange(0, 3);

        double Counted(string name, params string[] labels) => after.Count(name, labels) - before.Count(name, labels);
    }

    [Fact]
    public async Task Used_assertions_and_the_age_of_the_keys_are_what_the_store_has()
    {
        var since = Stopwatch.StartNew();
        for (var i = 0; i < 4; i++)
        {
            var assertion = new AssertionDraft(AssertionClients.MacJob, Issuer, DateTimeOffset.UtcNow).SignedWith(AssertionClients.MacSecret);
            (await Send(AssertionDraft.Form(assertion))).Status.Should().Be(200);
        }

        // They are counted twice a minute at most, for whoever asks first: so without a collector, who has asked already. The key was there before the first of them.
        await _program.DisposeAsync();
        _program = await Serve([]);
        var age = since.Elapsed.TotalSeconds;
        var scraped = await Scrape();
        scraped.Sum("tokenservice_used_assertions").Should().Be(4);
        scraped.Sum("tokenservice_signing_key_age_seconds", "state=\"signing\"").Should().BeInRange(age, 60);
    }

    [Fact]
    public async Task A_fault_of_the_store_is_counted_by_its_kind_and_so_is_a_key_set_that_was_not_fetched()
    {
        var before = await Scrape();
        before.Count("db_client_operation_duration_seconds_count", "error_type=").Should().Be(0);
        before.Sum("tokenservice_key_set_failures_total").Should().Be(0);

        await SendWhileTheStoreFails();
        await SendByKeysThatAreAway();

        var after = await Scrape();
        after.Sum("db_client_operation_duration_seconds_count", "db_operation_name=\"write\"", "error_type=\"_OTHER\"").Should().BePositive();
        after.Sum("tokenservice_requests_total", "error_type=\"temporarily_unavailable\"", "tokenservice_check=\"jti\"").Should().Be(1);
        after.Sum("tokenservice_key_set_failures_total").Should().BePositive();
    }

    [Fact]
    public async Task Requests_that_wait_for_a_processor_are_counted_while_they_do()
    {
        (await Scrape()).Sum("tokenservice_requests_waiting").Should().Be(0);

        var load = LoadClients.Run(_http.BaseAddress!.Port, 64, TimeSpan.FromSeconds(4), () => LoadClients.TokenRequest(Sample.Job, Sample.JobSecret));
        var most = 0.0;
        while (!load.IsCompleted && most == 0)
        {
            most = (await Scrape()).Sum("tokenservice_requests_waiting");
        }

        await load;
        most.Should().BeInRange(1, 64);
        (await Scrape()).Sum("tokenservice_requests_waiting").Should().Be(0);
    }

    [Fact]
    public async Task A_trace_has_the_id_that_the_refusal_told_its_caller_and_goes_on_from_that_of_the_caller()
    {
        var refused = await Send(Grant, Sample.Job, "canary-wrong");
        var traceId = refused.Json.GetProperty("trace_id").GetString()!;
        var given = await Send(Grant, Sample.Job, Sample.JobSecret, parent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
        given.Status.Should().Be(200);
        var dropped = await Send(Grant, Sample.Job, "canary-wrong", parent: "00-11111111111111111111111111111111-b7ad6b7169203331-00");
        dropped.Json.GetProperty("trace_id").GetString().Should().Be("11111111111111111111111111111111");

        await Until(() => _receiver.Spans.Any(span => span.TraceId == traceId && span.Name == "POST /oauth2/token")
            && _receiver.Spans.Count(span => span.TraceId == "0af7651916cd43dd8448eb211c80319c") == 3);
        var refusal = _receiver.Spans.Single(span => span.TraceId == traceId && span.Name == "POST /oauth2/token");
        refusal.Attributes.Should().Contain("oauth.error", "invalid_client").And.Contain("tokenservice.check", "client_secret")
            .And.Contain("http.response.status_code", "401").And.Contain("http.request.method", "POST").And.Contain("http.route", "/oauth2/token");
        refusal.Parent.Should().BeEmpty();
        var spans = _receiver.Spans.Where(span => span.TraceId == "0af7651916cd43dd8448eb211c80319c").ToDictionary(span => span.Name);
        spans.Keys.Should().BeEquivalentTo(["POST /oauth2/token", "authenticate", "sign"]);
        spans["POST /oauth2/token"].Parent.Should().Be("b7ad6b7169203331");
        spans["authenticate"].Parent.Should().Be(spans["POST /oauth2/token"].SpanId);
        spans["sign"].Parent.Should().Be(spans["POST /oauth2/token"].SpanId);
        _receiver.Spans.Should().NotContain(span => span.TraceId == "11111111111111111111111111111111", "its caller takes no part in it");
    }

    [Fact]
    public async Task Nothing_that_a_caller_sent_and_no_secret_or_token_is_in_what_is_exported()
    {
        await SendAllKinds();
        await Until(() => _receiver.Spans.Any(span => span.Name == "HTTP /oauth2/token") && _receiver.Metrics.Contains("tokenservice.requests"));
        await Until(() => _receiver.Spans.Count(span => span.Name.EndsWith("/oauth2/token", StringComparison.Ordinal)) >= 10
            && _receiver.Spans.Any(span => span.TraceId == "22222222222222222222222222222222"));

        var scraped = (await Scrape()).Text;
        scraped.Should().Contain("http_request_method=\"_OTHER\"");
        foreach (var canary in _canaries)
        {
            scraped.Should().NotContain(canary);
            foreach (var body in _receiver.Bodies)
            {
                body.AsSpan().IndexOf(Encoding.UTF8.GetBytes(canary)).Should().Be(-1);
            }
        }
    }

    [Theory]
    [InlineData("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318")]
    [InlineData("OTEL_EXPORTER_OTLP_ENDPOINT", "not an address")]
    public async Task An_address_that_is_none_stops_the_start_with_one_line(string name, string value)
    {
        var finished = await new Cli(_folder) { Variables = [(name, value)] }.Run("--TokenService:Issuer=https://auth.example.com");

        finished.ExitCode.Should().Be(1);
        finished.Error.Trim().Should().Be($"{name} is \"{value}\"; accepted: the http or https URL of a collector, such as http://localhost:4318.");
    }

    [NeedsPythonFact("yaml", "apt-get install python3-yaml")]
    public async Task Each_alert_says_how_bad_it_is_and_what_it_means()
    {
        var finished = await RunningProgram.Run(
            NeedsPythonFactAttribute.Python,
            ["-c", "import json, sys, yaml; print(json.dumps(yaml.safe_load(open(sys.argv[1]))))", Repository.File("deploy", "alerts.yaml")]);
        finished.ExitCode.Should().Be(0, finished.Error);

        var rules = JsonDocument.Parse(finished.Output).RootElement.GetProperty("groups")[0].GetProperty("rules").EnumerateArray().ToList();
        rules.Should().HaveCountGreaterThan(5);
        foreach (var rule in rules)
        {
            rule.GetProperty("alert").GetString().Should().StartWith("TokenService");
            rule.GetProperty("expr").GetString().Should().NotBeEmpty();
            rule.GetProperty("labels").GetProperty("severity").GetString().Should().BeOneOf("critical", "warning");
            rule.GetProperty("annotations").GetProperty("summary").GetString().Should().NotBeEmpty();
        }

        rules.Select(rule => rule.GetProperty("alert").GetString()).Should().OnlyHaveUniqueItems();
    }

    private string Issuer => _http.BaseAddress!.GetLeftPart(UriPartial.Authority);

    private Task<RunningProgram> Serve((string Name, string Value)[] variables) => new Cli(_folder) { Variables = variables }.Serve(
        _http.BaseAddress!.Port, "--TokenService:ApplyFile=clients.json", $"--TokenService:Management:Url={_metrics.GetLeftPart(UriPartial.Authority)}");

    private Task<PrometheusText> Scrape() => PrometheusText.Ask(_http, _metrics);

    // The rows of the page: | `name` | `name in Prometheus` | kind | attributes | says |
    private static IEnumerable<(string Name, string Prometheus, string[] Labels)> Listed() => File.ReadLines(Repository.File("docs", "metrics.md"))
        .Select(line => Regex.Match(line, @"^\| `([a-z_.]+)` \| `([a-z_]+)` \| [^|]+ \|([^|]*)\|"))
        .Where(row => row.Success)
        .Select(row => (row.Groups[1].Value, row.Groups[2].Value, Regex.Matches(row.Groups[3].Value, "`([a-z_.]+)`").Select(label => label.Groups[1].Value).ToArray()));

    private static IEnumerable<string> Expressions()
    {
        using var dashboard = JsonDocument.Parse(File.ReadAllText(Repository.File("deploy", "grafana-dashboard.json")));
        var shown = dashboard.RootElement.GetProperty("panels").EnumerateArray().Where(panel => panel.TryGetProperty("targets", out _))
            .SelectMany(panel => panel.GetProperty("targets").EnumerateArray()).Select(target => target.GetProperty("expr").GetString()!).ToList();
        var alerts = Regex.Matches(File.ReadAllText(Repository.File("deploy", "alerts.yaml")), "^ *expr: (.*)$", RegexOptions.Multiline).Select(match => match.Groups[1].Value).ToList();
        shown.Should().HaveCountGreaterThan(8);
        alerts.Should().HaveCountGreaterThan(5);
        return [.. shown, .. alerts];
    }

    private async Task SendAllKinds()
    {
        (await Send(Grant, Sample.Job, Sample.JobSecret)).Status.Should().Be(200);
        (await Send(Grant, "chatty", Sample.WideSecret)).Status.Should().Be(200);
        (await Send(Grant, Sample.Job, "canary-wrong-secret")).Status.Should().Be(401);
        (await Send(Grant, "canary-unknown", "canary-secret")).Status.Should().Be(401);
        (await Send("grant_type=canary-grant", Sample.Job, Sample.JobSecret)).Status.Should().Be(400);
        (await Send($"{Grant}&scope=canary-scope&resource=https://canary.example.com", Sample.Job, Sample.JobSecret)).Status.Should().Be(400);
        (await Send($"canary-name=canary-value&canary-name=2&{Grant}")).Status.Should().Be(400);
        (await Send(Grant, path: "/OAuth2/Token?client_secret=canary-in-query")).Status.Should().Be(400);
        (await Send(Grant, path: "/canary-path?canary=1")).Status.Should().Be(404);
        (await Send(Grant, parent: "00-22222222222222222222222222222222-b7ad6b7169203331-01")).Status.Should().Be(401);
        (await Send(Grant, method: "CANARY")).Status.Should().Be(405);
        (await Send("token=canary-token", Sample.Job, Sample.JobSecret, TokenQueries.Introspection)).Status.Should().Be(403);
        (await Send("token=canary-token", Sample.Job, Sample.JobSecret, TokenQueries.Revocation)).Status.Should().Be(200);
        foreach (var secret in (string[])[AssertionClients.MacSecret, "canary-secret-0123456789abcdef0123456789"])
        {
            var assertion = new AssertionDraft(AssertionClients.MacJob, Issuer, DateTimeOffset.UtcNow).SignedWith(secret);
            _canaries.AddRange(assertion.Split('.')[1..]);
            await Send(AssertionDraft.Form(assertion));
        }

        await SendByKeysThatAreAway();
        await SendWhileTheStoreFails();
    }

    private async Task SendByKeysThatAreAway()
        => (await Send(AssertionDraft.Form(new AssertionDraft("away", Issuer, DateTimeOffset.UtcNow).SignedBy(AssertionClients.Rsa)))).Status.Should().Be(503);

    private async Task SendWhileTheStoreFails()
    {
        StoreFile.Execute(_folder, "ALTER TABLE used_assertions RENAME TO away");
        var assertion = new AssertionDraft(AssertionClients.MacJob, Issuer, DateTimeOffset.UtcNow).SignedWith(AssertionClients.MacSecret);
        _canaries.AddRange(assertion.Split('.')[1..]);
        (await Send(AssertionDraft.Form(assertion))).Status.Should().Be(503);
        StoreFile.Execute(_folder, "ALTER TABLE away RENAME TO used_assertions");
    }

    private async Task<Answer> Send(string form, string? clientId = null, string? secret = null, string path = "/oauth2/token", string method = "POST", string? parent = null)
    {
        using var request = new HttpRequestMessage(new HttpMethod(method), path) { Content = RunningService.Form(form) };
        if (clientId is not null)
        {
            var credentials = Convert.ToBase64String(Encoding.UTF8.GetBytes($"{clientId}:{secret}"));
            _canaries.Add(credentials);
            request.Headers.Authorization = new("Basic", credentials);
        }

        if (parent is not null)
        {
            request.Headers.Add("traceparent", parent);
            request.Headers.Add("tracestate", "canary=canary-state");
        }

        using var response = await _http.SendAsync(request);
        var answer = await Answer.Of(response);
        if (answer.Status == 200 && answer.Body.Contains("access_token", StringComparison.Ordinal))
        {
            _canaries.AddRange(answer.AccessToken.Split('.').Skip(1));
        }

        return answer;
    }

    private static async Task Until(Func<bool> arrived)
    {
        var since = Stopwatch.StartNew();
        while (!arrived() && since.Elapsed < TimeSpan.FromSeconds(20))
        {
            await Task.Delay(50);
        }

        arrived().Should().BeTrue("it arrives within 20 seconds");
    }
}
