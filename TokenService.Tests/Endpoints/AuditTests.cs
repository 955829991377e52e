using System;
using System.Buffers;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Net;
using System.Net.Http;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using System.Threading.Tasks;
using FluentAssertions;
using TokenService.Operations;
using TokenService.Tests.Operations;
using TokenService.Tests.Support;
using Xunit;

namespace TokenService.Tests.Endpoints;

/// <summary>The audit log: who got which token, who was refused and why, what was changed; and that nobody can change it unseen.</summary>
public sealed class AuditTests : IDisposable
{
    private const string Grant = "grant_type=client_credentials";

    private readonly TemporaryFolder _folder = new();

    private string Log => _folder.File("audit.log");

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task A_token_a_refusal_and_a_revocation_are_records_and_the_log_ends_signed()
    {
        string token;
        await using (var service = await Start())
        {
            token = await service.GetToken(extra: "&scope=catalog.read");
            var issued = await AuditRecords.Find(Log, "token_issued");
            (issued.Text("client_id"), issued.Text("method"), issued.Text("grant_type"), issued.Text("scope"), issued.Text("outcome"), issued.Text("address"))
                .Should().Be((Sample.Job, "client_secret_basic", "client_credentials", "catalog.read", "issued", "127.0.0.1"));
            issued.Text("credential").Should().MatchRegex("^secret:[0-9a-f]{12}$");
            issued.Text("token_id").Should().Be(TokenDraft.Of(token).Claims["jti"]!.GetValue<string>());
            issued.GetProperty("resource").EnumerateArray().Select(uri => uri.GetString()).Should().Equal(Sample.CatalogUri);
            DateTimeOffset.Parse(issued.Text("expires_at")!, System.Globalization.CultureInfo.InvariantCulture).ToUnixTimeSeconds()
                .Should().Be(TokenDraft.Of(token).Claims["exp"]!.GetValue<long>());
            issued.Text("trace_id").Should().MatchRegex("^[0-9a-f]{32}$");

            var refused = await service.Token(Grant, $"{Sample.Job}:wrong");
            var refusal = await AuditRecords.Find(Log, "token_refused");
            (refusal.Text("client_id"), refusal.Text("outcome"), refusal.Text("check"), refusal.GetProperty("status").GetInt32(), refusal.Text("trace_id"))
                .Should().Be((Sample.Job, "invalid_client", "client_secret", 401, refused.Json.GetProperty("trace_id").GetString()));
            refusal.Text("reason").Should().Be($"client_secret: client \"{Sample.Job}\" sent a wrong secret; expected: one of its secrets");

            (await service.Revoke(token)).Status.Should().Be(200);
            var revoked = await AuditRecords.Find(Log, "token_revoked");
            (revoked.Text("client_id"), revoked.Text("token_id"), revoked.Text("outcome")).Should().Be((Sample.Job, issued.Text("token_id"), "revoked"));
            (await service.Introspect(token, TokenQueries.Job)).Status.Should().Be(403);
            (await AuditRecords.Find(Log, "introspection_refused")).Text("outcome").Should().Be("unauthorized_client");
            (await service.Revoke(token, $"{Sample.Job}:wrong")).Status.Should().Be(401);
            (await AuditRecords.Find(Log, "revocation_refused")).Text("outcome").Should().Be("invalid_client");
            (await service.Token($"{Grant}&scope=nothing", TokenQueries.Job)).Status.Should().Be(400);
            (await AuditRecords.Find(Log, "token_refused", record => record.Text("outcome") == "invalid_scope")).Text("check").Should().Be("scope");
        }

        var records = AuditRecords.Read(Log);
        (records[0].Text("event"), records[0].GetProperty("settings").Text("Audit:OnFailure")).Should().Be(("start", "continue"));
        records.Select(record => record.Text("event")).Should().Contain(["resource_added", "client_added"], "the file was applied at the start");
        records[^1].Text("event").Should().Be("end");
        var verified = await Verify("--complete");
        verified.ExitCode.Should().Be(0, verified.Error);
        verified.Output.Should().StartWith($"Records 1 to {records.Count} are as they were written; the last has the hash {records[^1].Text("hash")}.\n");
        File.ReadAllText(Log).Should().NotContain(token.Split('.')[1]).And.NotContain(Sample.JobSecret);
    }

    [Fact]
    public async Task What_was_changed_dropped_moved_or_cut_is_named_by_verify()
    {
        await using (var service = await Start())
        {
            _ = await service.GetToken();
            _ = await service.GetToken();
            await AuditRecords.Find(Log, "token_issued");
        }

        var lines = File.ReadAllLines(Log);
        var place = Array.FindIndex(lines, line => line.Contains("\"token_issued\"", StringComparison.Ordinal));

        await Names([.. lines[..place], lines[place].Replace("\"issued\"", "\"1ssued\"", StringComparison.Ordinal), .. lines[(place + 1)..]], place + 1, "was changed");
        await Names([.. lines[..place], .. lines[(place + 1)..]], place + 1, "is missing");
        await Names([.. lines[..place], lines[place + 1], lines[place], .. lines[(place + 2)..]], place + 1, "was moved");
        File.WriteAllLines(Log, lines[..^1]);
        (await Verify()).Should().Match<Finished>(run => run.ExitCode == 0 && run.Output.Contains("Runs of the service without an end: 1", StringComparison.Ordinal));
        (await Verify("--complete")).Should().Match<Finished>(
            run => run.ExitCode == 1 && run.Error.StartsWith($"It does not end: behind record {lines.Length - 1} the record is missing", StringComparison.Ordinal));

        async Task Names(string[] changed, int record, string what)
        {
            File.WriteAllLines(Log, changed);
            var verified = await Verify("--json");
            verified.ExitCode.Should().Be(1);
            var json = System.Text.Json.JsonDocument.Parse(verified.Output).RootElement;
            json.GetProperty("fault_seq").GetInt64().Should().Be(record);
            json.Text("fault").Should().Contain($"record {record} {what}");
        }
    }

    [Fact]
    public async Task What_commands_change_is_recorded_by_the_service()
    {
        await using var service = await Start();
        var cli = new Cli(_folder, "Development");

        (await cli.Run("clients", "add", "--id", "new-job", "--scope", "catalog.read")).ExitCode.Should().Be(0);
        var added = await AuditRecords.Find(Log, "client_added", record => record.Text("id") == "new-job");
        (await cli.Run("clients", "disable", "new-job")).ExitCode.Should().Be(0);
        var disabled = await AuditRecords.Find(Log, "client_changed");
        (disabled.Text("id"), disabled.GetProperty("members")[0].GetString()).Should().Be(("new-job", "disabled"));
        disabled.GetProperty("store_version").GetInt64().Should().BeGreaterThan(added.GetProperty("store_version").GetInt64());
        (await cli.Run("clients", "rotate-secret", "new-job")).ExitCode.Should().Be(0);
        (await AuditRecords.Find(Log, "client_changed", record => record.GetProperty("members")[0].GetString() == "client_secret")).Text("id").Should().Be("new-job");
        (await cli.Run("clients", "remove", "new-job")).ExitCode.Should().Be(0);
        (await AuditRecords.Find(Log, "client_removed")).Text("id").Should().Be("new-job");

        var rotated = await cli.Run("keys", "rotate", "--now", "--json");
        var kid = System.Text.Json.JsonDocument.Parse(rotated.Output).RootElement.Text("kid");
        (await AuditRecords.Find(Log, "key_added")).Text("id").Should().Be(kid);
        (await cli.Run("keys", "retire", kid!)).ExitCode.Should().Be(0);
        (await AuditRecords.Find(Log, "key_removed")).Text("id").Should().Be(kid);
        var verified = await Verify();
        verified.ExitCode.Should().Be(0, $"the next key signs at once: {verified.Error}");
    }

    [Fact]
    public async Task A_file_that_is_moved_away_ends_signed_and_the_next_one_goes_on_behind_it()
    {
        await using (var service = await Start())
        {
            _ = await service.GetToken();
            await AuditRecords.Find(Log, "token_issued");
            File.Move(Log, $"{Log}.1");
            _ = await service.GetToken();
            await AuditRecords.Find(Log, "checkpoint");
            await AuditRecords.Find($"{Log}.1", "end");
        }

        AuditRecords.Read(Log)[0].Text("prev").Should().Be(AuditRecords.Read($"{Log}.1")[^1].Text("hash"));
        (await Cli().Run("audit", "verify", $"{Log}.1", "--complete")).ExitCode.Should().Be(0);
        (await Cli().Run("audit", "verify", $"{Log}.1", Log, "--complete")).ExitCode.Should().Be(0);
        (await Verify()).Output.Should().Contain("of an earlier file, which was not looked at");
        (await Cli().Run("audit", "verify", Log, $"{Log}.1")).Output.Should().Contain("It has 2 chains", "the order is wrong");
        AuditRecords.Read($"{Log}.1").Concat(AuditRecords.Read(Log)).Count(record => record.Text("event") == "token_issued").Should().Be(2);
    }

    [Theory]
    [InlineData("{\"audit\":1,\"seq\"", 0)]
    [InlineData("{\"audit\":1,\"seq\"", 100)]
    [InlineData("", 100_000)]
    public async Task The_next_start_goes_on_behind_the_last_record_and_takes_away_an_unfinished_line(string begun, int zeros)
    {
        // Zeros are what a file system leaves where power failed before the content was there.
        var unfinished = begun + new string('\0', zeros);
        await using (await Start())
        {
        }

        var before = AuditRecords.Read(Log);
        File.AppendAllText(Log, unfinished);
        await using (await Start())
        {
        }

        var start = AuditRecords.Read(Log)[before.Count];
        (start.Text("event"), start.GetProperty("torn_bytes").GetInt64(), start.GetProperty("seq").GetInt64(), start.Text("prev"))
            .Should().Be(("start", unfinished.Length, before.Count + 1, before[^1].Text("hash")));
        (await Verify("--complete")).ExitCode.Should().Be(0);
    }

    [Fact]
    [Trait("Host", "OwnProgram")]
    public async Task A_start_that_fails_leaves_the_unfinished_line_for_the_next_one_to_tell_of()
    {
        await using (await Start())
        {
        }

        File.AppendAllText(Log, "{\"audit\":1,\"seq\"");
        var before = File.ReadAllText(Log);
        using var taken = new TcpListener(IPAddress.Loopback, 0);
        taken.Start();
        var failed = await Cli().Run($"--urls=http://{taken.LocalEndpoint}", "--TokenService:Issuer=http://127.0.0.1:5080", $"--TokenService:Audit:File={Log}");
        failed.ExitCode.Should().Be(1);
        failed.Error.Should().Contain("cannot listen");
        File.ReadAllText(Log).Should().Be(before);

        await using (await Start())
        {
        }

        (await AuditRecords.Find(Log, "start")).GetProperty("torn_bytes").GetInt64().Should().Be(16);
        (await Verify("--complete")).ExitCode.Should().Be(0);
    }

    [Theory]
    [InlineData("{ \"clients\": [] }")]
    [InlineData("{\n  \"clients\": []\n}")]
    [InlineData("{\n  \"clients\": []\n}\n")]
    [InlineData("SQLite format 3\0\u0010\n\u0001\u0001\0@ \0\0")]
    [InlineData("{\"audit\":1,\"seq\":1}\nand then something else")]
    [Trait("Host", "OwnProgram")]
    public async Task A_file_that_is_something_else_stops_the_start_with_one_line_and_stays_as_it_is(string content)
    {
        var file = _folder.Write("other", content);

        var refused = await Cli().Run("--urls=http://127.0.0.1:0", "--TokenService:Issuer=http://127.0.0.1:5080", $"--TokenService:Audit:File={file}");

        refused.ExitCode.Should().Be(1);
        refused.Error.TrimEnd().Should().Be(
            $"TokenService:Audit:File is \"{file}\"; accepted: a file that can be written, and that no other process writes: there is something in it that is no audit log");
        File.ReadAllText(file).Should().Be(content);
    }

    [Fact]
    public async Task A_start_is_recorded_with_each_setting_but_the_connection_string()
    {
        var management = $"http://127.0.0.1:{RunningProgram.FreePort()}";
        await using var service = await RunningService.Start(
            _folder, null, Sample.File, $"--TokenService:Audit:File={Log}", $"--TokenService:Management:Url={management}", "--TokenService:Mtls:Enabled=true",
            "--TokenService:Mtls:Url=https://mtls.example.com");

        var settings = (await AuditRecords.Find(Log, "start")).GetProperty("settings");

        settings.EnumerateObject().Select(setting => setting.Name).Should().Contain(SettingsTests.Keys()).And.OnlyHaveUniqueItems();
        (settings.Text("Audit:File"), settings.Text("Management:Url"), settings.Text("Mtls:Enabled"), settings.Text("Mtls:Url"), settings.Text("Mtls:ClientCaFile"))
            .Should().Be((Log, management, "true", "https://mtls.example.com", null));
    }

    [Fact]
    public async Task A_refusal_says_who_asked_for_what()
    {
        await using var service = await Start();

        (await service.Token($"{Grant}&scope=catalog.read+orders.read&resource={Sample.CatalogUri}&resource=urn:other", TokenQueries.Job)).Error.Should().Be("invalid_scope");
        var refused = await Refusal("invalid_scope");
        (refused.Text("client_id"), refused.Text("method"), refused.Text("grant_type"), refused.Text("scope"))
            .Should().Be((Sample.Job, "client_secret_basic", "client_credentials", "catalog.read orders.read"));
        refused.Text("credential").Should().MatchRegex("^secret:[0-9a-f]{12}$");
        Resources(refused).Should().Equal(Sample.CatalogUri, "urn:other");

        (await service.Token($"{Grant}&scope=catalog.read", $"{Sample.Job}:wrong")).Error.Should().Be("invalid_client");
        refused = await Refusal("invalid_client");
        (refused.Text("method"), refused.Text("credential"), refused.Text("grant_type"), refused.Text("scope"))
            .Should().Be((null, null, "client_credentials", "catalog.read"), "it has not proved itself");

        (await service.Token("scope=catalog.read", TokenQueries.Job)).Error.Should().Be("invalid_request");
        (await Refusal("invalid_request")).Text("scope").Should().Be("catalog.read");

        (await service.Introspect("x", TokenQueries.Job)).Status.Should().Be(403);
        refused = await AuditRecords.Find(Log, "introspection_refused");
        (refused.Text("client_id"), refused.Text("method"), refused.Text("credential") is not null).Should().Be((Sample.Job, "client_secret_basic", true));
    }

    [Fact]
    public async Task What_a_refused_request_asked_for_is_recorded_shortened_and_without_what_may_be_a_secret()
    {
        await using var service = await Start();
        var many = string.Join('+', Enumerable.Repeat("nothing", 40));
        var targets = string.Concat(Enumerable.Range(1, 6).Select(i => $"&resource=urn:other:{i}"));

        (await service.Token($"{Grant}&scope={many}", TokenQueries.Job)).Error.Should().Be("invalid_scope");
        (await Refusal("invalid_scope")).Text("scope").Should().Be(string.Join(' ', Enumerable.Repeat("nothing", 32)) + "… (319 characters)");
        (await service.Token($"{Grant}{targets}", TokenQueries.Job)).Error.Should().Be("invalid_target");
        Resources(await Refusal("invalid_target")).Should().Equal("urn:other:1", "urn:other:2", "urn:other:3", "urn:other:4", "… (6 resources)");
        (await service.Token($"grant_type={Sample.JobSecret}&scope=catalog.read+{Sample.JobSecret}&resource=https://x.example.com/?key={Sample.JobSecret}", TokenQueries.Job))
            .Error.Should().Be("unsupported_grant_type");
        var refused = await Refusal("unsupported_grant_type");
        (refused.Text("grant_type"), refused.Text("scope"), Resources(refused).Single()).Should().Be(("***", "***", "***"));
    }

    [Fact]
    public async Task The_next_start_does_not_sign_for_what_was_put_there_meanwhile()
    {
        await using (await Start())
        {
        }

        // All of it made anew, as whoever can write the file can do without a key.
        var forged = new ArrayBufferWriter<byte>();
        var chain = new AuditChain(0, null);
        chain.Append(forged, new AuditRecord(AuditEvents.Start, DateTimeOffset.UtcNow));
        chain.Append(forged, new AuditRecord(AuditEvents.TokenIssued, DateTimeOffset.UtcNow) { ClientId = Sample.Job, Outcome = "issued" });
        File.WriteAllBytes(Log, forged.WrittenSpan.ToArray());
        await using (await Start())
        {
        }

        AuditRecords.Read(Log)[2].GetProperty("seq").GetInt64().Should().Be(1, "a chain begins anew behind it");
        (await Verify()).Should().Match<Finished>(run => run.ExitCode == 1 && run.Error.Contains(
            "line 1: nothing in the chain that begins here is signed: it was put there, or its service was killed as it began.", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Verify_with_the_store_of_no_service_says_which_key_it_lacks()
    {
        await using (await Start())
        {
        }

        using var other = new TemporaryFolder();
        var verified = await new Cli(other).Run("audit", "verify", Log);
        verified.ExitCode.Should().Be(1);
        verified.Error.TrimEnd().Should().EndWith("which is not known here; name a JWKS that has it with --jwks.").And.NotContain("\n");
    }

    [Fact]
    public async Task With_refuse_no_token_is_given_while_the_folder_is_away_and_it_recovers_by_itself()
    {
        var folder = Directory.CreateDirectory(_folder.File("audit")).FullName;
        var log = Path.Combine(folder, "audit.log");
        await using var service = await RunningService.Start(_folder, null, Sample.File, $"--TokenService:Audit:File={log}", "--TokenService:Audit:OnFailure=refuse");
        _ = await service.GetToken();

        Directory.Delete(folder, recursive: true);
        var refused = await Until(service, 503);
        (refused.Error, refused.Response.Headers.RetryAfter!.Delta).Should().Be(("temporarily_unavailable", TimeSpan.FromSeconds(1)));
        refused.Json.Text("error_description").Should().Be("The service cannot check this now. Send a new request after the seconds in Retry-After.");
        (await service.Http.GetStringAsync("/health/ready")).Should().StartWith("Degraded: the audit log cannot be written, since ");

        Directory.CreateDirectory(folder);
        await Until(service, 200);
        (await AuditRecords.Find(log, "token_refused", record => record.Text("check") == "audit")).Text("outcome").Should().Be("temporarily_unavailable");
        await AuditRecords.Find(log, "token_issued");
        (await service.Http.GetStringAsync("/health/ready")).Should().Be("Healthy");
        (await Cli().Run("audit", "verify", log)).ExitCode.Should().Be(0);
    }

    [Fact]
    public async Task With_continue_tokens_go_out_while_the_folder_is_away_and_are_recorded_later()
    {
        var folder = Directory.CreateDirectory(_folder.File("audit")).FullName;
        var log = Path.Combine(folder, "audit.log");
        await using var service = await RunningService.Start(_folder, null, Sample.File, $"--TokenService:Audit:File={log}");
        await AuditRecords.Find(log, "checkpoint");

        Directory.Delete(folder, recursive: true);
        _ = await service.GetToken();
        while (await service.Http.GetStringAsync("/health/ready") == "Healthy")
        {
            await Task.Delay(20);
        }

        var token = await service.GetToken();
        Directory.CreateDirectory(folder);
        var tokenId = TokenDraft.Of(token).Claims["jti"]!.GetValue<string>();
        (await AuditRecords.Find(log, "token_issued", record => record.Text("token_id") == tokenId)).Text("outcome").Should().Be("issued");
    }

    [TmpfsFact]
    public async Task A_full_disk_refuses_tokens_with_refuse_and_recovers_without_a_restart()
    {
        await using var disk = await Tmpfs.Mount(_folder.File("disk"), "512k");
        var log = Path.Combine(disk.Path, "audit.log");
        await using (var service = await RunningService.Start(
            _folder, null, Sample.File, $"--TokenService:Audit:File={log}", "--TokenService:Audit:OnFailure=refuse"))
        {
            _ = await service.GetToken();
            var ballast = disk.Fill();
            await Until(service, 503);
            File.Delete(ballast);
            await Until(service, 200);
        }

        var verified = await Cli().Run("audit", "verify", log, "--complete");
        verified.ExitCode.Should().Be(0, verified.Error);
    }

    [Fact]
    [Trait("Host", "OwnProgram")]
    public async Task A_killed_service_leaves_a_log_that_verifies_with_the_tokens_that_it_acknowledged()
    {
        var (port, cli) = (RunningProgram.FreePort(), Cli());
        _folder.Write("clients.json", Sample.File);
        var acknowledged = new List<(string TokenId, DateTimeOffset At)>();
        for (var round = 1; round <= 3; round++)
        {
            var before = AuditRecords.Read(Log).Count;
            await using var program = await cli.Serve(port, "--TokenService:ApplyFile=clients.json", "--TokenService:Audit:File=audit.log");
            var url = new Uri($"http://127.0.0.1:{port}");
            var load = Task.WhenAll(Enumerable.Range(0, 4).Select(_ => Task.Run(async () =>
            {
                try
                {
                    while (true)
                    {
                        var answer = await TokenQueries.Post(url, "/oauth2/token", Grant, TokenQueries.Job);
                        if (answer.Status == 200)
                        {
                            lock (acknowledged)
                            {
                                acknowledged.Add((TokenDraft.Of(answer.AccessToken).Claims["jti"]!.GetValue<string>(), DateTimeOffset.UtcNow));
                            }
                        }
                    }
                }
                catch (HttpRequestException)
                {
                    // It was killed.
                }
            })));

            // A program that has just begun is still being compiled.
            await AuditRecords.Find(Log, "token_issued", record => record.GetProperty("seq").GetInt64() > before);
            await Task.Delay(Random.Shared.Next(800, 1200));
            var killed = DateTimeOffset.UtcNow;
            await program.Kill();
            await load;

            var verified = await Verify();
            verified.ExitCode.Should().Be(0, verified.Error);
            var recorded = AuditRecords.Read(Log).Select(record => record.Text("token_id")).ToHashSet();
            var due = acknowledged.Where(token => token.At < killed - TimeSpan.FromMilliseconds(500)).ToList();
            due.Should().HaveCountGreaterThan(round);
            due.Should().OnlyContain(token => recorded.Contains(token.TokenId));

            // What was on its way may be lost with the process, and is not looked for after the next one.
            acknowledged.RemoveAll(token => !due.Contains(token));
        }

        (await Verify()).Output.Should().Contain("Runs of the service without an end: 3");
    }

    [Fact]
    [Trait("Host", "OwnProgram")]
    public async Task On_standard_output_the_records_stand_among_the_lines_of_the_log()
    {
        var port = RunningProgram.FreePort();
        _folder.Write("clients.json", Sample.File);
        await using var program = await Cli().Serve(port, "--TokenService:ApplyFile=clients.json", "--TokenService:Audit:File=-");
        (await TokenQueries.Post(new($"http://127.0.0.1:{port}"), "/oauth2/token", Grant, TokenQueries.Job)).Status.Should().Be(200);
        await program.Prints("\"event\":\"token_issued\"");
        await program.Stop();
        await program.Prints("\"event\":\"end\"");

        File.WriteAllLines(Log, program.Printed.Split('\n').Where(line => line.StartsWith("{\"audit\":1,", StringComparison.Ordinal)));
        var verified = await Verify("--complete");
        verified.ExitCode.Should().Be(0, verified.Error);
        program.Printed.Should().Contain("\"EventId\":1,", "the log is there too");
    }

    [Theory]
    [InlineData("head -n 1")]
    [InlineData("sleep 60")]
    [Trait("Host", "OwnProgram")]
    public async Task With_refuse_no_token_is_given_once_nobody_reads_standard_output(string reader)
    {
        var url = new Uri($"http://127.0.0.1:{RunningProgram.FreePort()}");
        _folder.Write("clients.json", Sample.File);
        await using var program = await RunningProgram.Start(
            "sh",
            [
                "-c", $"\"$@\" | {reader}", "sh", Repository.Program, $"--contentRoot={_folder.Path}", $"--urls={url}", $"--TokenService:Issuer={url.GetLeftPart(UriPartial.Authority)}",
                "--TokenService:ApplyFile=clients.json", "--TokenService:Audit:File=-", "--TokenService:Audit:OnFailure=refuse",
            ],
            new(url, "/health/ready"));

        // A pipe that is not read takes 64 KiB.
        var refusal = $"{Grant}&scope={string.Join('+', Enumerable.Repeat("nothing", 100))}";
        var since = System.Diagnostics.Stopwatch.StartNew();
        Answer answer;
        do
        {
            await TokenQueries.Post(url, "/oauth2/token", refusal, TokenQueries.Job);
            answer = await TokenQueries.Post(url, "/oauth2/token", Grant, TokenQueries.Job);
            since.Elapsed.Should().BeLessThan(TimeSpan.FromSeconds(20));
        }
        while (answer.Status == 200 || answer.IsTooBusy);

        (answer.Status, answer.Error).Should().Be((503, "temporarily_unavailable"));
        using var http = new HttpClient();
        (await http.GetStringAsync(new Uri(url, "/health/ready"))).Should().StartWith("Degraded: the audit log cannot be written, since ");
    }

    [Fact]
    [Trait("Host", "OwnProgram")]
    public async Task A_file_that_cannot_be_written_or_that_another_process_writes_stops_the_start_with_one_line()
    {
        string[] serve = ["--urls=http://127.0.0.1:0", "--TokenService:Issuer=http://127.0.0.1:5080"];
        foreach (var file in (string[])[_folder.Path, _folder.File("missing/audit.log"), "/dev/null"])
        {
            var refused = await Cli().Run([.. serve, $"--TokenService:Audit:File={file}"]);
            refused.ExitCode.Should().Be(1);
            refused.Error.TrimEnd().Should().StartWith($"TokenService:Audit:File is \"{file}\"; accepted: a file that can be written, and that no other process writes: ").And.NotContain("\n");
        }

        await using var service = await Start();
        (await Cli().Run([.. serve, $"--TokenService:Audit:File={Log}"])).Should().Match<Finished>(
            run => run.ExitCode == 1 && run.Error.StartsWith($"TokenService:Audit:File is \"{Log}\"", StringComparison.Ordinal));
    }

    [Fact]
    public async Task No_secret_assertion_or_token_is_in_a_record()
    {
        List<string> canaries = ["canary-", Sample.JobSecret, AssertionClients.MacSecret];
        await using (var service = await RunningService.Start(
            _folder,
            null,
            Sample.File.Replace("\"clients\": [", $$"""
                "clients": [ { "client_id": "{{AssertionClients.MacJob}}", "token_endpoint_auth_method": "client_secret_jwt",
                  "client_secret": "{{AssertionClients.MacSecret}}", "scope": "catalog.read" },
                """, StringComparison.Ordinal),
            $"--TokenService:Audit:File={Log}",
            $"--TokenService:Issuer={AssertionClients.Issuer}"))
        {
            canaries.AddRange((await service.GetToken()).Split('.')[1..]);
            foreach (var secret in (string[])[AssertionClients.MacSecret, "canary-secret-0123456789abcdef0123456789"])
            {
                var assertion = new AssertionDraft(AssertionClients.MacJob, AssertionClients.Issuer, DateTimeOffset.UtcNow).SignedWith(secret);
                canaries.AddRange(assertion.Split('.')[1..]);
                _ = await service.Token(AssertionDraft.Form(assertion));
                _ = await service.Token(AssertionDraft.Form(assertion));
                _ = await service.Token($"{Grant}&client_id={assertion}&client_secret=canary-x");
            }

            var generated = Convert.ToBase64String(Encoding.UTF8.GetBytes("canary-generated-secret-32-bytes"))[..43];
            canaries.Add(generated);
            _ = await service.Token(Grant, $"{generated}:{Sample.Job}");
            _ = await service.Token(Grant, $"{Sample.JobSecret}:{Sample.Job}");
            _ = await service.Token(Grant, $"{Sample.Job}:canary-wrong");
            _ = await service.Token($"{Grant}&client_secret=canary-alone");
            _ = await service.Token($"{Grant}&password=canary-password", TokenQueries.Job);
            _ = await service.Token("token=canary.token.x", $"{Sample.Job}:canary-wrong", TokenQueries.Introspection);
            _ = await service.Token("token=canary.token.x", $"{Sample.Job}:canary-wrong", TokenQueries.Revocation);
        }

        var text = File.ReadAllText(Log);
        text.Should().Contain("\"outcome\":\"issued\"").And.Contain("\"check\":\"signature\"").And.Contain("sent a wrong secret");
        foreach (var canary in canaries)
        {
            text.Should().NotContain(canary);
        }
    }

    private Task<JsonElement> Refusal(string outcome) => AuditRecords.Find(Log, "token_refused", record => record.Text("outcome") == outcome);

    private static IEnumerable<string?> Resources(JsonElement record) => record.GetProperty("resource").EnumerateArray().Select(uri => uri.GetString());

    private static async Task<Answer> Until(RunningService service, int status)
    {
        var until = DateTimeOffset.UtcNow.AddSeconds(10);
        while (true)
        {
            var answer = await service.Token(Grant, TokenQueries.Job);
            if (answer.Status == status && !answer.IsTooBusy)
            {
                return answer;
            }

            DateTimeOffset.UtcNow.Should().BeBefore(until, answer.Body);
            await Task.Delay(20);
        }
    }

    private Task<RunningService> Start() => RunningService.Start(_folder, null, Sample.File, $"--TokenService:Audit:File={Log}");

    private Cli Cli() => new(_folder);

    private Task<Finished> Verify(params string[] options) => Cli().Run(["audit", "verify", Log, .. options]);
}
