using System;
using System.Data.Common;
using System.Diagnostics;
using System.IO;
using System.Linq;
using System.Net.Http;
using System.Threading.Tasks;
using FluentAssertions;
using Microsoft.Extensions.Time.Testing;
using TokenService.Tests.Endpoints;
using TokenService.Tests.Support;
using Xunit;
using Xunit.Abstractions;

namespace TokenService.Tests.Storage;

/// <summary>
/// The store away, full, locked, broken: tokens by secret go out all the while, what needs the store is answered with 503, and all is well
/// again within five seconds of the repair, without a restart.
/// </summary>
[Trait("Storage", "Sqlite")]
public sealed class StoreFaultTests(ITestOutputHelper output) : IDisposable
{
    private const string Basic = $"{AssertionClients.BasicJob}:{AssertionClients.BasicSecret}";
    private const string Asker = Ledger.Asker;

    private static readonly TimeSpan s_longestWait = TimeSpan.FromSeconds(3);
    private static readonly TimeSpan s_longestRecovery = TimeSpan.FromSeconds(5);

    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task A_store_that_another_program_holds_locked()
    {
        await using var service = await Start();
        using var held = StoreFile.Lock(_folder);

        // The first that come wait; those after them are refused at once, but for one at a time.
        var firsts = await Task.WhenAll(Enumerable.Range(0, 50).Select(_ => TimedAssertion(service)));
        firsts.Should().OnlyContain(timed => timed.Answer.Status == 503);
        firsts.Max(timed => timed.Took).Should().BeLessThan(s_longestWait);
        var rest = await Task.WhenAll(Enumerable.Range(0, 50).Select(_ => TimedAssertion(service)));
        rest.Should().OnlyContain(timed => timed.Answer.Status == 503);
        rest.Count(timed => timed.Took < TimeSpan.FromSeconds(1.5)).Should().BeGreaterThanOrEqualTo(48);
        await TokensGoOut(service);
        (await Ready(service)).Should().MatchRegex("^Degraded: client assertions cannot be noted in the store, since 2[0-9: Z-]+: it does not answer$");

        var token = await service.GetToken(Basic);
        Unavailable(await service.Revoke(token, Basic));
        (await service.IsActive(token, Asker)).Should().BeTrue("the store can be read");

        await Recovers(service, held.Dispose);
    }

    [Theory]
    [InlineData("emptied")]
    [InlineData("cut in half")]
    [InlineData("removed")]
    [InlineData("removed with its log")]
    public async Task A_store_whose_file_is(string fault)
    {
        // Once it was stopped, all is in the file: what is still in the log SQLite puts back.
        await using (await Start())
        {
        }

        await using var service = await Start();
        var used = Assertion();
        (await service.Send(used)).Status.Should().Be(200);
        var file = _folder.File("token-service.db");
        var backup = _folder.File("backup.db");
        StoreFile.Execute(_folder, $"VACUUM INTO '{backup}'");

        switch (fault)
        {
            case "emptied":
                Write(stream => stream.SetLength(0));
                break;
            case "cut in half":
                Write(stream => stream.SetLength(stream.Length / 8192 * 4096));
                break;
            case "removed":
                File.Delete(file);
                break;
            default:
                Directory.GetFiles(_folder.Path, "token-service.db*").ToList().ForEach(File.Delete);
                break;
        }

        var broken = Stopwatch.StartNew();
        while (!(await Ready(service)).StartsWith("Degraded: the store cannot be read", StringComparison.Ordinal))
        {
            broken.Elapsed.Should().BeLessThan(s_longestRecovery, "it must be noticed");
            await TokensGoOut(service, 1);
            await Task.Delay(50);
        }

        output.WriteLine($"{fault}: noticed after {broken.ElapsedMilliseconds} ms: {await Ready(service)}");
        await TokensGoOut(service);
        var refused = await TimedAssertion(service);
        Unavailable(refused.Answer);
        refused.Took.Should().BeLessThan(s_longestWait);
        var token = await service.GetToken(Basic);
        Unavailable(await service.Revoke(token, Basic));
        Unavailable(await service.Introspect(token, Asker));
        IntrospectionTests.IsInactive(await service.Introspect(token[..^8] + "AAAAAAAA", Asker));

        await Recovers(service, () =>
        {
            foreach (var beside in (string[])["-wal", "-shm"])
            {
                File.Delete(file + beside);
            }

            File.Move(backup, file, overwrite: true);
        });
        ClientAssertionRefusalTests.Refused(await service.Send(used));

        void Write(Action<FileStream> change)
        {
            using var stream = new FileStream(file, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite | FileShare.Delete);
            change(stream);
        }
    }

    [Fact]
    public async Task A_store_whose_file_is_overwritten_accepts_nothing_twice_and_is_replaced_by_its_backup()
    {
        // What SQLite has in memory and in its log it goes by, until it meets what was overwritten.
        await using var service = await Start();
        var (used, then) = (Assertion(), Assertion());
        (await service.Send(used)).Status.Should().Be(200);
        var (file, backup) = (_folder.File("token-service.db"), _folder.File("backup.db"));
        StoreFile.Execute(_folder, $"VACUUM INTO '{backup}'");
        using (var stream = new FileStream(file, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite | FileShare.Delete))
        {
            stream.Write(new byte[stream.Length]);
        }

        await TokensGoOut(service);
        (await service.Send(used)).Status.Should().BeOneOf(401, 503);
        (await service.Send(then)).Status.Should().BeOneOf(200, 503);
        (await service.Send(then)).Status.Should().BeOneOf(401, 503);

        await Recovers(service, () => File.Move(backup, file, overwrite: true));
        ClientAssertionRefusalTests.Refused(await service.Send(used));
    }

    [Fact]
    public async Task A_store_that_is_replaced_by_its_backup_takes_in_nothing_from_the_log_of_the_one_before()
    {
        // Once it was stopped, all is in the file, and the log has only what was changed since.
        await using (await Start())
        {
        }

        await using var service = await Start();
        var used = Assertion();
        (await service.Send(used)).Status.Should().Be(200);
        var (file, backup) = (_folder.File("token-service.db"), _folder.File("backup.db"));
        StoreFile.Execute(_folder, $"VACUUM INTO '{backup}'");
        for (var i = 0; i < 20; i++)
        {
            (await service.Send(Assertion())).Status.Should().Be(200);
        }

        await Recovers(service, () => File.Move(backup, file, overwrite: true));
        ClientAssertionRefusalTests.Refused(await service.Send(used));
        StoreFile.Check(file);
    }

    [TmpfsFact]
    public async Task A_store_on_a_full_disk()
    {
        await using var disk = await Tmpfs.Mount(_folder.File("disk"), "2m");
        var store = Path.Combine(disk.Path, "token-service.db");
        await using var service = await Start($"--ConnectionStrings:TokenService=Data Source={store}");
        var used = Assertion();
        (await service.Send(used)).Status.Should().Be(200);
        var ballast = disk.Fill();

        // What the log has room for is still taken.
        var answers = 0;
        while ((await service.Send(Assertion())).Status == 200)
        {
            (++answers).Should().BeLessThan(1000);
        }

        await TokensGoOut(service);
        for (var i = 0; i < 20; i++)
        {
            var refused = await TimedAssertion(service);
            Unavailable(refused.Answer);
            refused.Took.Should().BeLessThan(s_longestWait);
        }

        (await Ready(service)).Should().MatchRegex("^Degraded: client assertions cannot be noted in the store, since .*: its disk is full$");
        var token = await service.GetToken(Basic);
        Unavailable(await service.Revoke(token, Basic));
        (await service.IsActive(token, Asker)).Should().BeTrue("the store can be read");

        await Recovers(service, () => File.Delete(ballast));
        ClientAssertionRefusalTests.Refused(await service.Send(used));
        RevocationTests.IsEmpty(await service.Revoke(token, Basic));
        StoreFile.Check(store);
    }

    [StraceFact]
    public async Task A_store_whose_disk_becomes_read_only_while_it_runs()
    {
        await using var service = await ServiceUnderLoad.Start(_folder);
        for (var round = 1; round <= LongForm.Of(2, 20); round++)
        {
            await Task.Delay(500);
            RefusedWrites? refused = null;
            await service.Survives(
                output,
                $"read-only, {round}",
                async () => refused = await RefusedWrites.Begin(service.Id),
                () => refused!.End(),
                visible: true,
                round);
        }

        await service.Ends(output, "read-only");
        StoreFile.Check(_folder);
    }

    [TmpfsFact]
    public async Task A_start_on_a_full_or_read_only_disk_is_refused_in_a_line()
    {
        await using var disk = await Tmpfs.Mount(_folder.File("disk"), "1m");
        var ballast = disk.Fill();
        await StartIsRefused(disk.Path);

        File.Delete(ballast);
        var port = RunningProgram.FreePort();
        await using (await Serve(disk.Path, port))
        {
        }

        await disk.Remount("ro");
        await StartIsRefused(disk.Path);

        await disk.Remount("rw");
        await using (await Serve(disk.Path, port))
        {
        }
    }

    [Theory]
    [InlineData("locked")]
    [InlineData("emptied")]
    [InlineData("removed")]
    [InlineData("cut in half")]
    [InlineData("overwritten")]
    [InlineData("of a schema after which this build cannot run")]
    [InlineData("of a schema that is none")]
    public async Task A_start_is_refused_in_a_line_on_a_store_that_is(string fault)
    {
        await using (await Start())
        {
        }

        var file = _folder.File("token-service.db");
        DbConnection? other = null;
        switch (fault)
        {
            case "locked":
                other = StoreFile.Open(_folder);
                Execute(other, "PRAGMA locking_mode = EXCLUSIVE");
                Execute(other, "UPDATE store_version SET version = version + 1");
                break;
            case "emptied":
                File.WriteAllBytes(file, []);
                break;
            case "removed":
                File.Delete(file);
                break;
            case "cut in half":
                File.WriteAllBytes(file, File.ReadAllBytes(file)[..8192]);
                break;
            case "overwritten":
                File.WriteAllBytes(file, new byte[new FileInfo(file).Length]);
                break;
            case "of a schema after which this build cannot run":
                StoreFile.Execute(_folder, "INSERT INTO schema_migrations (version) VALUES (1001)");
                break;
            default:
                StoreFile.Execute(_folder, "DROP TABLE schema_migrations; CREATE TABLE schema_migrations (name TEXT)");
                break;
        }

        using (other)
        {
            var line = await StartIsRefused(_folder.Path);
            output.WriteLine(line);
            if (fault.Contains("this build", StringComparison.Ordinal))
            {
                line.Should().Contain("1001").And.Contain("newer build");
            }
        }
    }

    [Fact]
    public async Task A_build_runs_on_the_schema_after_it()
    {
        await using (await Start())
        {
        }

        StoreFile.Execute(_folder, "INSERT INTO schema_migrations (version) VALUES (998); ALTER TABLE clients ADD COLUMN later TEXT");
        await using var again = await Start();
        await TokensGoOut(again);
        (await again.Send(Assertion())).Status.Should().Be(200);
    }

    [Fact]
    public async Task After_MaxStaleness_nothing_is_answered_from_memory_and_an_answer_of_the_store_ends_that()
    {
        var clock = new FakeTimeProvider(AssertionClients.Now);
        await using var service = await AssertionClients.Start(_folder, clock, Ledger.File, "--TokenService:MaxStaleness=00:30:00");
        File.Move(_folder.File("token-service.db"), _folder.File("away.db"));
        service.Store.Refresh();

        clock.Advance(TimeSpan.FromMinutes(30) - TimeSpan.FromSeconds(1));
        service.Store.Refresh();
        await TokensGoOut(service, 1);
        (await service.Send(new(HttpMethod.Get, "/.well-known/jwks.json"))).Status.Should().Be(200);
        (await Ready(service)).Should().StartWith("Degraded");

        clock.Advance(TimeSpan.FromSeconds(2));
        service.Store.Refresh();
        foreach (var path in (string[])["/oauth2/token", TokenQueries.Introspection, TokenQueries.Revocation])
        {
            var answer = await service.Token("grant_type=client_credentials&token=x", Basic, path);
            Unavailable(answer, 5);
        }

        Unavailable(await service.Token("grant_type=client_credentials", $"{AssertionClients.BasicJob}:wrong"), 5);
        Unavailable(await service.Send(new(HttpMethod.Get, "/.well-known/jwks.json")), 5);
        (await service.Send(new(HttpMethod.Get, "/.well-known/oauth-authorization-server"))).Status.Should().Be(200);
        var ready = await service.Send(new(HttpMethod.Get, "/health/ready"));
        (ready.Status, ready.Body.Split(',')[0]).Should().Be((503, "Unhealthy: the store cannot be read"));
        (await service.Send(new(HttpMethod.Get, "/health/live"))).Status.Should().Be(200);

        File.Move(_folder.File("away.db"), _folder.File("token-service.db"));
        service.Store.Refresh();
        await TokensGoOut(service, 1);
        (await service.Send(new(HttpMethod.Get, "/.well-known/jwks.json"))).Status.Should().Be(200);
        (await Ready(service)).Should().Be("Healthy");
    }

    [Fact]
    public async Task A_token_that_is_known_to_be_dead_is_inactive_whether_the_store_answers_or_not()
    {
        var clock = new FakeTimeProvider(AssertionClients.Now);
        await using var service = await AssertionClients.Start(_folder, clock, Ledger.File, "--TokenService:MaxStaleness=7.00:00:00");
        var (live, revoked) = (await service.GetToken(Basic), await service.GetToken(Basic));
        await service.Revoke(revoked, Basic);
        File.Move(_folder.File("token-service.db"), _folder.File("away.db"));
        service.Store.Refresh();

        Unavailable(await service.Introspect(live, Asker));
        IntrospectionTests.IsInactive(await service.Introspect(revoked, Asker));
        IntrospectionTests.IsInactive(await service.Introspect("no token", Asker));
        clock.Advance(TimeSpan.FromHours(1));
        IntrospectionTests.IsInactive(await service.Introspect(live, Asker));
    }

    private static string Assertion() => new AssertionDraft(AssertionClients.KeyJob, AssertionClients.Issuer, DateTimeOffset.UtcNow).With("exp", DateTimeOffset.UtcNow.ToUnixTimeSeconds() + 500).SignedBy(AssertionClients.Rsa);

    private Task<RunningService> Start(params string[] settings) => AssertionClients.Start(_folder, TimeProvider.System, Ledger.File, settings);

    private static async Task TokensGoOut(RunningService service, int times = 30)
    {
        for (var i = 0; i < times; i++)
        {
            (await service.Token("grant_type=client_credentials", Basic)).Status.Should().Be(200);
        }
    }

    private static async Task<(Answer Answer, TimeSpan Took)> TimedAssertion(RunningService service)
    {
        var assertion = Assertion();
        var since = Stopwatch.StartNew();
        return (await service.Send(assertion), since.Elapsed);
    }

    private static async Task<string> Ready(RunningService service)
    {
        var answer = await service.Send(new(HttpMethod.Get, "/health/ready"));
        answer.Status.Should().Be(200, answer.Body);
        return answer.Body;
    }

    // Without a single request that needs the store, and then with one.
    private async Task Recovers(RunningService service, Action repair)
    {
        var since = Stopwatch.StartNew();
        repair();
        while (await Ready(service) is not "Healthy")
        {
            since.Elapsed.Should().BeLessThan(s_longestRecovery, await Ready(service));
            await Task.Delay(50);
        }

        while ((await service.Send(Assertion())).Status != 200)
        {
            since.Elapsed.Should().BeLessThan(s_longestRecovery, await Ready(service));
            await Task.Delay(50);
        }

        output.WriteLine($"Recovered after {since.ElapsedMilliseconds} ms.");
        await TokensGoOut(service, 1);
    }

    private static void Unavailable(Answer answer, int retryAfter = 1)
    {
        TokenEndpointRefusalTests.Refused(answer, 503, "temporarily_unavailable");
        answer.Response.Headers.RetryAfter!.Delta.Should().Be(TimeSpan.FromSeconds(retryAfter));
    }

    private static string[] Arguments(string contentRoot, int port) =>
    [
        $"--contentRoot={contentRoot}", "--environment=Production", $"--urls=http://127.0.0.1:{port}", $"--TokenService:Issuer=http://127.0.0.1:{port}",
    ];

    private static Task<RunningProgram> Serve(string contentRoot, int port)
        => RunningProgram.Start(Repository.Program, Arguments(contentRoot, port), new($"http://127.0.0.1:{port}/health/ready"));

    private static async Task<string> StartIsRefused(string contentRoot)
    {
        var start = await RunningProgram.Run(Repository.Program, Arguments(contentRoot, RunningProgram.FreePort()));
        start.ExitCode.Should().Be(1, start.Error);
        start.Error.TrimEnd('\n').Should().NotBeEmpty().And.NotContain("\n");
        start.Error.Should().MatchRegex("^The [a-z]");
        return start.Error.TrimEnd('\n');
    }

    private static void Execute(DbConnection connection, string sql)
    {
        using var command = connection.CreateCommand();
        command.CommandText = sql;
        command.ExecuteNonQuery();
    }
}
