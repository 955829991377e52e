using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Globalization;
using System.Linq;
using System.Threading;
using System.Threading.Tasks;
using FluentAssertions;
using TokenService.Storage;
using TokenService.Tests.Operations;
using TokenService.Tests.Support;
using Xunit;
using Xunit.Abstractions;

namespace TokenService.Tests.Storage;

/// <summary>A change by whichever process is known to three replicas within 5 seconds.</summary>
[Trait("Storage", "PostgreSql")]
public sealed class ReplicaChangeTests(OwnPostgreSqlServer own, ITestOutputHelper output) : IClassFixture<OwnPostgreSqlServer>
{
    private static readonly TimeSpan s_promised = TimeSpan.FromSeconds(5);

    private static int Rounds => LongForm.Of(1, 20);

    private readonly List<TimeSpan> _delays = [];

    [NeedsPostgreSqlFact]
    public Task A_change_is_known_to_all_replicas_within_five_seconds() => Change(cut: false);

    [NeedsPostgreSqlFact]
    public Task A_change_is_known_to_all_replicas_within_five_seconds_while_no_announcement_can_be_heard() => Change(cut: true);

    [NeedsPostgreSqlFact]
    public async Task An_announcement_is_heard_when_the_change_is_committed_and_not_before()
    {
        using var folder = new TemporaryFolder(own.Server);
        using var store = Store.Open(SettingsTests.Read(folder.Path));
        using var heard = new SemaphoreSlim(0);
        using var end = new CancellationTokenSource();
        var listening = store.DataSource.Listen(() => heard.Release(), end.Token);
        (await heard.WaitAsync(TimeSpan.FromSeconds(30))).Should().BeTrue("whoever begins to listen looks once");

        StoreTransaction.Write(store.DataSource, Turn.Registry, connection =>
        {
            StoreTransaction.CountVersion(store.DataSource, connection);
            heard.Wait(TimeSpan.FromMilliseconds(300)).Should().BeFalse("nothing has changed yet");
        });
        (await heard.WaitAsync(TimeSpan.FromSeconds(30))).Should().BeTrue();

        CutAnnouncements(folder).Should().Be(1);
        await FluentActions.Awaiting(() => listening).Should().ThrowAsync<System.Data.Common.DbException>("the caller begins again then");
    }

    private async Task Change(bool cut)
    {
        await using var replicas = await ReplicaSet.Start(own.Server, Ledger.File);
        for (var replica = 1; replica < ReplicaSet.Count; replica++)
        {
            (await replicas.Kids(replica)).Should().Equal(await replicas.Kids(0));
        }

        // One that also has a file of its own to look after.
        await replicas.Kill(2);
        replicas.FolderOf(2).Write("clients.json", Ledger.File);
        await replicas.Serve(2, "--TokenService:ApplyFile=clients.json");

        using var end = new CancellationTokenSource();
        var cuts = 0;
        var cutting = cut ? Task.Run(() => Cut(replicas.Folder, () => cuts++, end.Token)) : Task.CompletedTask;
        for (var round = 0; round < Rounds; round++)
        {
            await Change(replicas, round);
        }

        await end.CancelAsync();
        await cutting;
        _delays.Sort();
        output.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"{(cut ? $"{cuts} connections cut" : "announced")}: {_delays.Count} changes, median {_delays[_delays.Count / 2].TotalMilliseconds:0} ms, longest {_delays[^1].TotalMilliseconds:0} ms"));
        (cuts > ReplicaSet.Count).Should().Be(cut, "each replica begins to listen again and again");
    }

    private async Task Change(ReplicaSet replicas, int round)
    {
        var (client, secret, before) = ($"client-{round}", "", "");
        await Known("clients add", async () => secret = await Command("clients", "add", "--id", client, "--scope", "catalog.read"), Gets(() => secret, 200));
        await Known("clients disable", () => Command("clients", "disable", client), Gets(() => secret, 401));
        await Known("clients enable", () => Command("clients", "enable", client), Gets(() => secret, 200));
        before = secret;
        await Known(
            "clients rotate-secret",
            async () => secret = await Command("clients", "rotate-secret", client, "--overlap", "0s"),
            async replica => secret != before && await Gets(() => secret, 200)(replica) && await Gets(() => before, 401)(replica));
        await Known("clients remove", () => Command("clients", "remove", client), Gets(() => secret, 401));

        string[] files = [KillTests.Numbered((2 * round) + 1), KillTests.Numbered((2 * round) + 2)];
        await Known("apply", () => replicas.Apply(files[0]), Knows($"first-{(2 * round) + 1}"));

        // The file of the one that has one, as its operator edits it.
        await Known(
            "ApplyFile",
            () =>
            {
                replicas.FolderOf(2).Write("clients.json", files[1]);
                return Task.CompletedTask;
            },
            Knows($"first-{(2 * round) + 2}"));

        var kid = "";
        await Known("keys rotate", async () => kid = (await Command("keys", "rotate", "--json")).Split("\"kid\":")[1].Split('"')[1], Publishes(() => kid, true));
        await Known("keys retire", () => Command("keys", "retire", kid), Publishes(() => kid, false));
        var token = (await replicas.Token(round % ReplicaSet.Count)).AccessToken;
        await Known("revocation", async () => (await replicas.Revoke(round % ReplicaSet.Count, token)).Status.Should().Be(200), async replica => await replicas.IsActive(replica, token) == false);

        async Task<string> Command(params string[] args) => ReplicaSet.Succeeded(await replicas.Clis[round % ReplicaSet.Count].Run(args));

        Func<int, Task<bool>> Gets(Func<string> with, int status)
            => async replica => with().Length > 0 && (await replicas.Token(replica, $"{client}:{with()}")).Status == status;

        Func<int, Task<bool>> Knows(string other)
            => async replica => (await replicas.Token(replica, $"{other}:{AssertionClients.BasicSecret}")).Status == 200;

        Func<int, Task<bool>> Publishes(Func<string> which, bool published)
            => async replica => which().Length > 0 && (await replicas.Kids(replica)).Contains(which()) == published;
    }

    // Each replica is asked all the while; counted is from the moment that whoever made the change was told that it is made.
    private async Task Known(string what, Func<Task> change, Func<int, Task<bool>> isKnown)
    {
        var since = Stopwatch.StartNew();
        var known = ReplicaSet.All.Select(replica => Task.Run(async () =>
        {
            while (!await isKnown(replica))
            {
                since.Elapsed.Should().BeLessThan(TimeSpan.FromMinutes(2), $"{what} is known at last");
                await Task.Delay(5);
            }

            return since.Elapsed;
        })).ToArray();
        await change();
        var acknowledged = since.Elapsed;
        var times = await Task.WhenAll(known);
        var delay = times.Max() - acknowledged;
        _delays.Add(delay);
        output.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"{what}: {delay.TotalMilliseconds:0} ms after it was acknowledged, {(times.Max() - times.Min()).TotalMilliseconds:0} ms from the first replica to the last"));
        delay.Should().BeLessThan(s_promised, what);
    }

    private static async Task Cut(TemporaryFolder folder, Action cut, CancellationToken end)
    {
        while (!end.IsCancellationRequested)
        {
            for (var i = CutAnnouncements(folder); i > 0; i--)
            {
                cut();
            }

            await Task.Delay(10, CancellationToken.None);
        }
    }

    // The last that it asked for: to listen, or, when nothing has come for long, whether the server is still there.
    private static long CutAnnouncements(TemporaryFolder folder) => StoreFile.Number(folder, """
        SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity
        WHERE datname = current_database() AND query IN ('LISTEN token_service', 'SELECT 1')
        """);
}
