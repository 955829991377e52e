using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Linq;
using System.Net.Http;
using System.Threading.Tasks;
using FluentAssertions;
using Microsoft.Extensions.Time.Testing;
using TokenService.Tests.Endpoints;
using TokenService.Tests.Support;
using Xunit;
using static TokenService.Tests.Support.TokenQueries;

namespace TokenService.Tests.Storage;

/// <summary>A token stays revoked: in other processes, across restarts, crashes, and whatever the clock does; and is forgotten in time.</summary>
public sealed class RevocationStoreTests : IDisposable
{
    private static readonly DateTimeOffset s_now = DateTimeOffset.FromUnixTimeSeconds(1_800_000_000);

    private readonly TemporaryFolder _folder = new();
    private readonly FakeTimeProvider _clock = new(s_now);

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task Another_process_on_the_store_knows_within_5_seconds()
    {
        var issuer = $"--TokenService:Issuer=http://127.0.0.1:{RunningProgram.FreePort()}";
        await using var first = await RunningService.Start(_folder, _clock, File, issuer);
        await using var second = await RunningService.Start(_folder, _clock, File, issuer);
        var (token, other) = (await first.GetToken(), await first.GetToken());
        (await second.IsActive(token)).Should().BeTrue();

        RevocationTests.IsEmpty(await first.Revoke(token));

        (await first.IsActive(token)).Should().BeFalse();
        var since = Stopwatch.StartNew();
        while (await second.IsActive(token))
        {
            since.Elapsed.Should().BeLessThan(TimeSpan.FromSeconds(5));
            await Task.Delay(20);
        }

        (await second.IsActive(other)).Should().BeTrue();
    }

    [Fact]
    public async Task A_restart_forgets_no_revocation()
    {
        string token;
        string[] issuer = [$"--TokenService:Issuer=http://127.0.0.1:{RunningProgram.FreePort()}"];
        await using (var first = await RunningService.Start(_folder, _clock, File, issuer))
        {
            token = await first.GetToken();
            await first.Revoke(token);
        }

        await using var second = await RunningService.Start(_folder, _clock, File, issuer);
        IntrospectionTests.IsInactive(await second.Introspect(token));
        (await second.IsActive(await second.GetToken())).Should().BeTrue();
    }

    [Fact]
    public async Task SIGKILL_right_after_the_answer_undoes_no_revocation()
    {
        _folder.Write("clients.json", File);
        var url = new Uri($"http://127.0.0.1:{RunningProgram.FreePort()}");
        var cli = new Cli(_folder);
        var revoked = new List<string>();
        for (var round = 0; round < 4; round++)
        {
            await using var program = await cli.Serve(url.Port, "--TokenService:ApplyFile=clients.json");
            foreach (var token in revoked)
            {
                IntrospectionTests.IsInactive(await Send(Introspection, token, CatalogApi));
            }

            // Killed the moment that some answers are there, with others still on the way.
            var fresh = await Task.WhenAll(Enumerable.Range(0, 20).Select(async _
                => (await Post(url, "/oauth2/token", "grant_type=client_credentials", Job)).AccessToken));
            (await Send(Introspection, fresh[0], CatalogApi)).Json.GetProperty("active").GetBoolean().Should().BeTrue();
            var answers = fresh.Select(async token => (Token: token, (await Send(Revocation, token, Job)).Status)).ToList();
            for (var i = 0; i < 5; i++)
            {
                var answered = await Task.WhenAny(answers);
                answers.Remove(answered);
                (await answered).Status.Should().Be(200);
                revoked.Add((await answered).Token);
            }

            await program.Kill();
            foreach (var answer in answers)
            {
                try
                {
                    if (await answer is { Status: 200 } late)
                    {
                        revoked.Add(late.Token);
                    }
                }
                catch (HttpRequestException)
                {
                    // Not acknowledged: it may be revoked or not.
                }
            }
        }

        revoked.Count.Should().BeGreaterThanOrEqualTo(20);

        Task<Answer> Send(string path, string token, string basic) => Post(url, path, $"token={token}", basic);
    }

    [Fact]
    public async Task A_revocation_is_kept_until_its_token_would_have_expired_and_then_removed()
    {
        await using var service = await RunningService.Start(_folder, _clock, File);
        var token = await service.GetToken();
        await service.Revoke(token);
        Sql("SELECT expires_at FROM revoked_tokens").Should().Be(s_now.AddMinutes(10).ToUnixTimeMilliseconds());

        _clock.Advance(TimeSpan.FromSeconds(599.999));
        IntrospectionTests.IsInactive(await service.Introspect(token));
        (Rows(), service.Store.Revoked.Count).Should().Be((1, 1));

        // And another minute for replicas whose clocks are behind, until the next time of cleaning up.
        _clock.Advance(TimeSpan.FromMinutes(2));
        await StoreFile.Until(() => Rows() == 0 && service.Store.Revoked.Count == 0);
    }

    [Fact]
    public async Task Many_old_revocations_are_removed_in_the_background_in_batches()
    {
        await using (await RunningService.Start(_folder, _clock, File))
        {
        }

        Sql(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1800) " +
            $"INSERT INTO revoked_tokens (jti, expires_at) SELECT 'x' || i, {s_now.ToUnixTimeMilliseconds() - 120_000} + i FROM n");
        await using var service = await RunningService.Start(_folder, _clock, File);
        var token = await service.GetToken();
        await service.Revoke(token);
        service.Store.Revoked.Count.Should().Be(1801);

        _clock.Advance(TimeSpan.FromMinutes(1));

        await StoreFile.Until(() => Rows() == 1 && service.Store.Revoked.Count == 1);
        IntrospectionTests.IsInactive(await service.Introspect(token));
    }

    [Fact]
    public async Task Only_what_is_new_is_read_and_ids_are_never_used_again()
    {
        await using var service = await RunningService.Start(_folder, _clock, File);
        var (first, second) = (await service.GetToken(), await service.GetToken());
        await service.Revoke(first);
        service.Store.Refresh();
        Sql("DELETE FROM revoked_tokens");

        Sql($"INSERT INTO revoked_tokens (jti, expires_at) VALUES ('{TokenDraft.Of(second).Claims["jti"]}', {s_now.AddHours(1).ToUnixTimeMilliseconds()})");
        service.Store.Refresh();

        IntrospectionTests.IsInactive(await service.Introspect(second));
        IntrospectionTests.IsInactive(await service.Introspect(first));
    }

    [Fact]
    public async Task A_clock_that_is_set_back_does_not_bring_a_revoked_token_back_to_life()
    {
        string[] issuer = [$"--TokenService:Issuer=http://127.0.0.1:{RunningProgram.FreePort()}"];
        string revoked;
        await using (var service = await RunningService.Start(_folder, _clock, File, issuer))
        {
            revoked = await service.GetToken();
            await service.Revoke(revoked);

            // The clock runs ahead by an hour, so that the note goes; then somebody sets it right.
            _clock.Advance(TimeSpan.FromHours(1));
            await StoreFile.Until(() => Rows() == 0 && service.Store.Revoked.Count == 0);
            _clock.AdjustTime(s_now);

            IntrospectionTests.IsInactive(await service.Introspect(revoked));
            _clock.Advance(TimeSpan.FromSeconds(1));
            (await service.IsActive(await service.GetToken())).Should().BeTrue("it ends later than all that is forgotten");
        }

        await using var again = await RunningService.Start(_folder, _clock, File, issuer);
        IntrospectionTests.IsInactive(await again.Introspect(revoked));
    }

    [Fact]
    public async Task A_clock_that_was_a_year_ahead_makes_tokens_inactive_for_a_day_and_no_longer()
    {
        await using var service = await RunningService.Start(_folder, _clock, File);
        _clock.Advance(TimeSpan.FromDays(365));
        var wrong = await service.GetToken();
        await service.Revoke(await service.GetToken());
        _clock.Advance(TimeSpan.FromHours(1));
        await StoreFile.Until(() => Rows() == 0);
        _clock.AdjustTime(s_now);

        IntrospectionTests.IsInactive(await service.Introspect(wrong));
        for (var hours = 0; hours < 25; hours++)
        {
            _clock.Advance(TimeSpan.FromHours(1));
            await Task.Delay(20);
        }

        service.Store.Refresh();
        (await service.IsActive(await service.GetToken())).Should().BeTrue();
    }

    [Fact]
    public async Task While_the_store_takes_nothing_revocation_gets_503_and_the_token_stays_alive()
    {
        await using var service = await RunningService.Start(_folder, _clock, File);
        var token = await service.GetToken();
        using (StoreFile.Lock(_folder))
        {
            Unavailable(await service.Revoke(token));
            (await service.IsActive(await service.GetToken())).Should().BeTrue();
        }

        RevocationTests.IsEmpty(await service.Revoke(token));
        IntrospectionTests.IsInactive(await service.Introspect(token));
    }

    [Fact]
    public async Task A_store_that_refuses_the_note_is_503_and_recovers_by_itself()
    {
        await using var service = await RunningService.Start(_folder, _clock, File);
        var token = await service.GetToken();
        Sql("ALTER TABLE revoked_tokens RENAME TO hidden");
        Unavailable(await service.Revoke(token));

        // Others may have revoked tokens too, and that cannot be read either.
        service.Store.Refresh();
        Unavailable(await service.Introspect(token));

        Sql("ALTER TABLE hidden RENAME TO revoked_tokens");
        service.Store.Refresh();
        (await service.IsActive(token)).Should().BeTrue("a revocation that was refused is none");
        RevocationTests.IsEmpty(await service.Revoke(token));
        IntrospectionTests.IsInactive(await service.Introspect(token));
    }

    [Fact]
    [Trait("Storage", "Sqlite")]
    public async Task A_store_that_is_put_in_its_place_is_read_from_its_beginning()
    {
        await using var service = await RunningService.Start(_folder, _clock, File);
        var (first, second) = (await service.GetToken(), await service.GetToken());
        var backup = _folder.File("backup.db");
        Sql($"VACUUM INTO '{backup}'");
        await service.Revoke(first);
        service.Store.Refresh();

        // In the other store the id of the first revocation stands for another token.
        Sql($"INSERT INTO revoked_tokens (jti, expires_at) VALUES ('{TokenDraft.Of(second).Claims["jti"]}', {s_now.AddHours(1).ToUnixTimeMilliseconds()})", backup);
        foreach (var file in (string[])["token-service.db-wal", "token-service.db-shm"])
        {
            System.IO.File.Delete(_folder.File(file));
        }

        System.IO.File.Move(backup, _folder.File("token-service.db"), overwrite: true);
        service.Store.Refresh();

        IntrospectionTests.IsInactive(await service.Introspect(second));
        IntrospectionTests.IsInactive(await service.Introspect(first));
    }

    private static void Unavailable(Answer answer)
    {
        TokenEndpointRefusalTests.Refused(answer, 503, "temporarily_unavailable");
        answer.Response.Headers.RetryAfter!.Delta.Should().Be(TimeSpan.FromSeconds(1));
    }

    private long Rows() => (long)Sql("SELECT COUNT(*) FROM revoked_tokens")!;

    private object? Sql(string sql, string? file = null) => StoreFile.Scalar(_folder, sql, file);
}
