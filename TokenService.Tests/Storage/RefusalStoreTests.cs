using System;
using System.Collections.Generic;
using System.Linq;
using System.Threading.Tasks;
using FluentAssertions;
using Microsoft.Extensions.Time.Testing;
using TokenService.Operations;
using TokenService.Storage;
using TokenService.Tests.Endpoints;
using TokenService.Tests.Operations;
using TokenService.Tests.Support;
using Xunit;

namespace TokenService.Tests.Storage;

/// <summary>The last refusals are kept, in the background, and nobody waits for that.</summary>
public sealed class RefusalStoreTests : IDisposable
{
    private const string Grant = "grant_type=client_credentials";

    private readonly TemporaryFolder _folder = new();
    private readonly FakeTimeProvider _clock = new(AssertionClients.Now);
    private readonly List<(long Dropped, string Why)> _told = [];

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task The_last_10_000_are_kept_and_no_more()
    {
        using var store = Store.Open(SettingsTests.Read(_folder.Path));
        using (var refusals = new RefusalStore(store.DataSource, _clock, Tell))
        {
            for (var i = 0; i < 12_500; i++)
            {
                refusals.Keep(Of($"{i}"));
                if (i % 2_000 == 0)
                {
                    // No flood.
                    await StoreFile.Until(() => Last() >= i);
                }
            }
        }

        _told.Should().BeEmpty();
        (Number("SELECT COUNT(*) FROM refusals"), Number("SELECT MIN(CAST(trace_id AS BIGINT)) FROM refusals"), Last()).Should().Be((10_000, 2_500, 12_499));
    }

    [Fact]
    public async Task Nothing_that_waits_is_lost_when_the_service_stops()
    {
        await using (var service = await RunningService.Start(_folder, null, Sample.File, "--TokenService:RateLimit:FailuresPerMinute=0"))
        {
            // No more at once than a single core lets wait: those for too much load are not kept.
            for (var i = 0; i < 6; i++)
            {
                await Task.WhenAll(Enumerable.Range(0, 50).Select(_ => service.Token(Grant, "nobody:x")));
            }
        }

        Number("SELECT COUNT(*) FROM refusals").Should().Be(300);
    }

    [Fact]
    public async Task A_refusal_is_no_change_of_the_store()
    {
        await using var service = await RunningService.Start(_folder, null, Sample.File);
        var before = Number("SELECT version FROM store_version");
        await RefusalVerdictTests.Find(_folder, await service.Token(Grant, "nobody:x"));

        Number("SELECT version FROM store_version").Should().Be(before);
    }

    [Fact]
    public async Task A_flood_onto_a_locked_store_is_answered_and_its_details_are_dropped_and_counted_once_a_minute()
    {
        using var store = Store.Open(SettingsTests.Read(_folder.Path));
        using var refusals = new RefusalStore(store.DataSource, _clock, Tell);
        var held = StoreFile.Lock(_folder);

        var flood = Task.Run(() =>
        {
            for (var i = 0; i < 50_000; i++)
            {
                refusals.Keep(Of($"{i}"));
            }
        });
        await flood.WaitAsync(TimeSpan.FromSeconds(9));
        _told.Should().BeEmpty("once a minute is enough");

        _clock.Advance(TimeSpan.FromMinutes(1));
        _told.Should().ContainSingle().Which.Dropped.Should().BeInRange(50_000 - RefusalStore.MostWaiting - 512, 50_000 - RefusalStore.MostWaiting);
        _clock.Advance(TimeSpan.FromMinutes(5));
        _told.Should().ContainSingle("nothing was dropped since");
        held.Dispose();

        // What could wait is written after all, and what comes next.
        await StoreFile.Until(() => Number("SELECT COUNT(*) FROM refusals") >= RefusalStore.MostWaiting);
        refusals.Keep(Of("60000"));
        await StoreFile.Until(() => Last() == 60_000);
    }

    [Fact]
    public async Task While_the_store_takes_nothing_refusals_are_answered_as_ever_and_kept_afterwards()
    {
        await using var service = await RunningService.Start(_folder, null, Sample.File, "--TokenService:RateLimit:FailuresPerMinute=0");
        StoreFile.Execute(_folder, "ALTER TABLE refusals RENAME TO hidden");
        var answers = new List<Answer>();
        for (var i = 0; i < 50; i++)
        {
            answers.Add(await service.Token(Grant, "nobody:x"));
        }

        answers.Should().OnlyContain(answer => answer.Status == 401);
        (await service.Token(Grant, $"{Sample.Job}:{Sample.JobSecret}")).Status.Should().Be(200);

        StoreFile.Execute(_folder, "ALTER TABLE hidden RENAME TO refusals");
        (await RefusalVerdictTests.Find(_folder, answers[0])).Error.Should().Be("invalid_client");
        (await RefusalVerdictTests.Find(_folder, answers[^1])).Error.Should().Be("invalid_client");
    }

    [Fact]
    public async Task A_locked_store_holds_up_no_refused_request()
    {
        await using var service = await RunningService.Start(_folder, null, Sample.File, "--TokenService:RateLimit:FailuresPerMinute=0");
        var held = StoreFile.Lock(_folder);

        // More than may wait, while one writer waits for the lock for 10 seconds: each would be late if it waited too.
        for (var i = 0; i < 4_800; i += 16)
        {
            (await Task.WhenAll(Enumerable.Range(0, 16).Select(_ => service.Token(Grant, "nobody:x")))).Should().OnlyContain(answer => answer.Status == 401);
        }

        held.Dispose();
    }

    [Fact]
    public void After_the_end_a_late_refusal_is_dropped_without_a_fault()
    {
        using var store = Store.Open(SettingsTests.Read(_folder.Path));
        var refusals = new RefusalStore(store.DataSource, _clock, Tell);
        refusals.Dispose();

        refusals.Invoking(late => late.Keep(Of("1"))).Should().NotThrow();
        Number("SELECT COUNT(*) FROM refusals").Should().Be(0);
    }

    [Fact]
    public async Task Under_one_trace_id_that_a_caller_chose_the_last_20_are_told_the_oldest_first()
    {
        using var store = Store.Open(SettingsTests.Read(_folder.Path));
        using (var refusals = new RefusalStore(store.DataSource, _clock, Tell))
        {
            for (var i = 0; i < 30; i++)
            {
                refusals.Keep(Of("same") with { Address = $"{i}" });
            }

            await StoreFile.Until(() => Number("SELECT COUNT(*) FROM refusals") == 30);
        }

        store.FindRefusals("same").Select(refusal => refusal.Address).Should().Equal(Enumerable.Range(10, 20).Select(i => $"{i}"));
    }

    private static Refusal Of(string traceId) => new()
    {
        TraceId = traceId,
        Time = AssertionClients.Now,
        Endpoint = "/oauth2/token",
        Address = "192.0.2.7",
        ClientId = null,
        Error = "invalid_client",
        Failed = new("client_id", "a registered client", "an unknown client id"),
    };

    private void Tell(long dropped, string why) => _told.Add((dropped, why));

    private long Last() => Number("SELECT COALESCE(MAX(CAST(trace_id AS BIGINT)), -1) FROM refusals");

    private long Number(string sql)
    {
        using var connection = StoreFile.Open(_folder);
        using var command = connection.CreateCommand();
        command.CommandText = sql;
        return (long)command.ExecuteScalar()!;
    }
}
