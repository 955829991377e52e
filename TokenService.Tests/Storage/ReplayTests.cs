using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Linq;
using System.Net.Http;
using System.Threading.Tasks;
using FluentAssertions;
using Microsoft.Extensions.Time.Testing;
using TokenService.Authentication;
using TokenService.Storage;
using TokenService.Tests.Endpoints;
using TokenService.Tests.Operations;
using TokenService.Tests.Support;
using Xunit;
using static TokenService.Tests.Support.AssertionClients;

namespace TokenService.Tests.Storage;

/// <summary>An assertion is used once: across processes, restarts, crashes, and whatever the clock does.</summary>
public sealed class ReplayTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();
    private readonly FakeTimeProvider _clock = new(Now);

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task A_restart_forgets_no_assertion()
    {
        var assertion = Draft().SignedBy(Rsa);
        await using (var first = await Start(_folder, _clock))
        {
            (await first.Send(assertion)).Status.Should().Be(200);
        }

        await using var second = await Start(_folder, _clock);
        ClientAssertionRefusalTests.Refused(await second.Send(assertion));
        (await second.Send(Draft().SignedBy(Rsa))).Status.Should().Be(200);
    }

    [Fact]
    public async Task SIGKILL_between_two_uses_forgets_no_assertion()
    {
        _folder.Write("clients.json", File);
        var port = RunningProgram.FreePort();
        var issuer = $"http://127.0.0.1:{port}";
        var cli = new Cli(_folder);
        var used = new List<string>();
        for (var round = 0; round < 3; round++)
        {
            await using var program = await cli.Serve(port, "--TokenService:ApplyFile=clients.json", "--TokenService:RateLimit:FailuresPerMinute=0");
            foreach (var assertion in used)
            {
                (await Post(assertion)).Error.Should().Be("invalid_client");
            }

            // Killed the moment that the last answer is there, with others still on the way.
            var fresh = Enumerable.Range(0, 40).Select(_ => new AssertionDraft(KeyJob, issuer, DateTimeOffset.UtcNow).With("exp", DateTimeOffset.UtcNow.ToUnixTimeSeconds() + 500).SignedBy(Rsa)).ToList();
            var answers = fresh.Select(async assertion => (Assertion: assertion, (await Post(assertion)).Status)).ToList();
            for (var i = 0; i < 10; i++)
            {
                var answered = await Task.WhenAny(answers);
                answers.Remove(answered);
                (await answered).Status.Should().Be(200);
                used.Add((await answered).Assertion);
            }

            await program.Kill();
            foreach (var answer in answers)
            {
                try
                {
                    if (await answer is { Status: 200 } late)
                    {
                        used.Add(late.Assertion);
                    }
                }
                catch (HttpRequestException)
                {
                    // Not acknowledged: it may have been used or not.
                }
            }
        }

        used.Count.Should().BeGreaterThanOrEqualTo(30);

        async Task<Answer> Post(string assertion)
        {
            using var http = new HttpClient();
            using var response = await http.PostAsync(new Uri($"{issuer}/oauth2/token"), RunningService.Form(AssertionDraft.Form(assertion)));
            return await Answer.Of(response);
        }
    }

    [Fact]
    public async Task Of_identical_assertions_sent_to_two_processes_at_once_exactly_one_gets_a_token()
    {
        await using var first = await Start(_folder, _clock);
        await using var second = await Start(_folder, _clock);

        for (var round = 0; round < 10; round++)
        {
            var assertion = Draft().SignedBy(Rsa);
            var answers = await Task.WhenAll(Enumerable.Range(0, 30).Select(i => (i % 2 == 0 ? first : second).Send(assertion)));
            answers.Count(answer => answer.Status == 200).Should().Be(1);
            answers.Count(answer => answer.Status == 401).Should().Be(29);
        }
    }

    [Fact]
    public async Task A_client_that_is_registered_anew_cannot_use_an_assertion_again()
    {
        await using var service = await Start(_folder, _clock);
        var assertion = Draft().SignedBy(Rsa);
        (await service.Send(assertion)).Status.Should().Be(200);

        foreach (var file in (string[])[Resources(""), File])
        {
            TokenService.Administration.ApplyFile.Once(
                TokenService.Administration.DeclarativeFile.Parse(System.Text.Encoding.UTF8.GetBytes(file), "clients.json", development: true), Registry(), _clock.GetUtcNow());
            service.Store.Refresh();
        }

        ClientAssertionRefusalTests.Refused(await service.Send(assertion));

        RegistryStore Registry() => Store.Open(SettingsTests.Read(_folder.Path)).Registry;
    }

    [Fact]
    public async Task Notes_are_kept_as_long_as_their_assertions_could_be_used_and_then_removed()
    {
        await using var service = await Start(_folder, _clock);
        var assertion = Draft().SignedBy(Rsa);
        (await service.Send(assertion)).Status.Should().Be(200);

        // It expires in 60 seconds; skew is 30.
        _clock.Advance(TimeSpan.FromSeconds(89.999));
        ClientAssertionRefusalTests.Refused(await service.Send(assertion));
        Rows().Should().Be(1);

        // And another minute for replicas whose clocks are behind, until the next time of cleaning up.
        _clock.Advance(TimeSpan.FromMinutes(2));
        await StoreFile.Until(() => Rows() == 0);
    }

    [Fact]
    [Trait("Storage", "Sqlite")]
    public async Task Many_old_notes_are_removed_in_the_background()
    {
        await using var service = await Start(_folder, _clock);
        Sql(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1800) " +
            $"INSERT INTO used_assertions SELECT 'x', CAST(i AS BLOB), {Now.ToUnixTimeMilliseconds() - 120_000} + i FROM n");

        _clock.Advance(TimeSpan.FromMinutes(1));

        await StoreFile.Until(() => Rows() == 0);
        (await service.Send(new AssertionDraft(KeyJob, Issuer, _clock.GetUtcNow()).SignedBy(Rsa))).Status.Should().Be(200);
    }

    [Fact]
    public async Task A_clock_that_is_set_back_does_not_bring_a_used_assertion_back_to_life()
    {
        await using var service = await Start(_folder, _clock);
        var assertion = Draft().SignedBy(Rsa);
        (await service.Send(assertion)).Status.Should().Be(200);

        // The clock runs ahead by an hour, so that the note of its use goes; then somebody sets it right.
        _clock.Advance(TimeSpan.FromHours(1));
        await StoreFile.Until(() => Rows() == 0);
        _clock.AdjustTime(Now);

        ClientAssertionRefusalTests.Refused(await service.Send(assertion));
        (await service.Send(Draft().With("exp", Now.ToUnixTimeSeconds() + 120).SignedBy(Rsa))).Status.Should().Be(200);
    }

    [Fact]
    public async Task A_clock_that_is_set_back_an_hour_after_a_use_accepts_nothing_twice()
    {
        await using var service = await Start(_folder, _clock);
        var assertion = Draft().With("iat", Now.ToUnixTimeSeconds() - 3600).With("exp", Now.ToUnixTimeSeconds() + 60).SignedBy(Rsa);
        (await service.Send(assertion)).Status.Should().Be(200);

        _clock.AdjustTime(Now.AddMinutes(-5));
        ClientAssertionRefusalTests.Refused(await service.Send(assertion));
    }

    [Fact]
    public async Task A_clock_that_was_a_year_ahead_holds_assertions_up_for_eleven_minutes_and_no_longer()
    {
        await using var service = await Start(_folder, _clock);
        _clock.Advance(TimeSpan.FromDays(365));
        var wrong = new AssertionDraft(KeyJob, Issuer, _clock.GetUtcNow()).SignedBy(Rsa);
        (await service.Send(wrong)).Status.Should().Be(200);
        _clock.Advance(TimeSpan.FromMinutes(5));
        await StoreFile.Until(() => Rows() == 0);
        _clock.AdjustTime(Now);

        ClientAssertionRefusalTests.Refused(await service.Send(Fresh()));
        _clock.Advance(TimeSpan.FromMinutes(11));
        (await service.Send(Fresh())).Status.Should().Be(200);

        string Fresh() => new AssertionDraft(KeyJob, Issuer, _clock.GetUtcNow()).SignedBy(Rsa);
    }

    [Fact]
    public async Task A_store_that_takes_nothing_does_not_hold_up_the_end()
    {
        using var store = Store.Open(SettingsTests.Read(_folder.Path));
        var replay = new ReplayStore(store.DataSource, TimeProvider.System, _ => { });
        using var held = StoreFile.Lock(_folder);
        var uses = Enumerable.Range(0, 2_000).Select(i => replay.Use("c", $"{i}", Now.AddYears(1)).AsTask()).ToList();

        var since = Stopwatch.StartNew();
        replay.Dispose();

        since.Elapsed.Should().BeLessThan(TimeSpan.FromSeconds(10));
        (await Task.WhenAll(uses)).Should().OnlyContain(verdict => verdict == ReplayVerdict.Unknown);
    }

    [Fact]
    public async Task While_the_store_takes_nothing_assertions_get_503_and_secrets_get_tokens()
    {
        await using var service = await Start(_folder, _clock);
        var assertion = Draft().SignedBy(Rsa);
        using (StoreFile.Lock(_folder))
        {
            var since = Stopwatch.StartNew();
            Unavailable(await service.Send(assertion));
            since.Elapsed.Should().BeLessThan(TimeSpan.FromSeconds(8));
            (await service.Token("grant_type=client_credentials", $"{BasicJob}:{BasicSecret}")).Status.Should().Be(200);
        }

        // In doubt, the first assertion may count as used; a new one does not.
        (await service.Send(Draft().SignedBy(Rsa))).Status.Should().Be(200);
    }

    [Theory]
    [InlineData("token-service.db", "token-service.db-wal", "token-service.db-shm")]
    [InlineData("token-service.db")]
    [InlineData("token-service.db-wal")]
    [Trait("Storage", "Sqlite")]
    public async Task While_the_files_of_the_store_are_gone_no_assertion_is_accepted(params string[] gone)
    {
        await using var service = await Start(_folder, _clock);
        (await service.Send(Draft().SignedBy(Rsa))).Status.Should().Be(200);

        foreach (var file in gone)
        {
            System.IO.File.Delete(_folder.File(file));
        }

        Unavailable(await service.Send(Draft().SignedBy(Rsa)));
        (await service.Token("grant_type=client_credentials", $"{BasicJob}:{BasicSecret}")).Status.Should().Be(200);
    }

    [Fact]
    [Trait("Storage", "Sqlite")]
    public async Task A_log_that_was_removed_comes_back_by_itself_with_what_was_in_it()
    {
        await using var service = await Start(_folder, _clock);
        var assertion = Draft().SignedBy(Rsa);
        (await service.Send(assertion)).Status.Should().Be(200);

        System.IO.File.Delete(_folder.File("token-service.db-wal"));
        var answers = new List<int>();
        for (var i = 0; i < 100 && !answers.Contains(200); i++)
        {
            answers.Add((await service.Send(Draft().SignedBy(Rsa))).Status);
            await Task.Delay(20);
        }

        answers.Should().Contain(503).And.HaveElementAt(answers.Count - 1, 200);
        ClientAssertionRefusalTests.Refused(await service.Send(assertion));
    }

    [Fact]
    [Trait("Storage", "Sqlite")]
    public async Task An_assertion_that_was_used_as_the_store_was_replaced_is_not_accepted_twice()
    {
        await using var service = await Start(_folder, _clock);
        (await service.Send(Draft().SignedBy(Rsa))).Status.Should().Be(200);
        Sql($"VACUUM INTO '{_folder.File("backup.db")}'");
        var assertion = Draft().SignedBy(Rsa);

        System.IO.File.Move(_folder.File("backup.db"), _folder.File("token-service.db"), overwrite: true);

        var accepted = 0;
        for (var i = 0; i < 150; i++)
        {
            accepted += (await service.Send(assertion)).Status == 200 ? 1 : 0;
            await Task.Delay(20);
        }

        accepted.Should().BeLessThanOrEqualTo(1);
        (await service.Send(Draft().SignedBy(Rsa))).Status.Should().Be(200);
    }

    [Fact]
    public async Task A_store_that_refuses_the_note_is_503_and_recovers_by_itself()
    {
        await using var service = await Start(_folder, _clock);
        Sql("ALTER TABLE used_assertions RENAME TO hidden");
        Unavailable(await service.Send(Draft().SignedBy(Rsa)));

        Sql("ALTER TABLE hidden RENAME TO used_assertions");
        (await service.Send(Draft().SignedBy(Rsa))).Status.Should().Be(200);
    }

    [Fact]
    [Trait("Storage", "Sqlite")]
    public async Task Many_assertions_share_a_transaction()
    {
        using var store = Store.Open(SettingsTests.Read(_folder.Path));
        using var replay = new ReplayStore(store.DataSource, TimeProvider.System, _ => { });
        await replay.Use("c", "warm", Now.AddYears(1));
        var before = LogFrames();

        var verdicts = await Task.WhenAll(Enumerable.Range(0, 500).Select(i => Task.Run(async () => await replay.Use("c", $"{i / 2}", Now.AddYears(1)))));

        verdicts.Count(verdict => verdict == ReplayVerdict.FirstUse).Should().Be(250);
        verdicts.Count(verdict => verdict == ReplayVerdict.UsedBefore).Should().Be(250);

        // A commit of its own writes at least two pages; 250 of them together need fewer than that.
        (LogFrames() - before).Should().BeLessThan(500);

        long LogFrames() => (new System.IO.FileInfo(_folder.File("token-service.db-wal")).Length - 32) / (4096 + 24);
    }

    [Fact]
    public async Task A_store_that_is_closed_leaves_nobody_waiting()
    {
        using var store = Store.Open(SettingsTests.Read(_folder.Path));
        var replay = new ReplayStore(store.DataSource, TimeProvider.System, _ => { });
        var uses = Enumerable.Range(0, 200).Select(i => replay.Use("c", $"{i}", Now.AddYears(1)).AsTask()).ToList();
        replay.Dispose();

        (await Task.WhenAll(uses)).Should().OnlyContain(verdict => verdict == ReplayVerdict.FirstUse);
        (await replay.Use("c", "late", Now.AddYears(1))).Should().Be(ReplayVerdict.Unknown);
    }

    private static void Unavailable(Answer answer)
    {
        TokenEndpointRefusalTests.Refused(answer, 503, "temporarily_unavailable");
        answer.Response.Headers.RetryAfter!.Delta.Should().Be(TimeSpan.FromSeconds(1));
    }

    private long Rows() => StoreFile.Number(_folder, "SELECT COUNT(*) FROM used_assertions");

    private void Sql(string sql) => StoreFile.Execute(_folder, sql);
}
