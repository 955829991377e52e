using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Globalization;
using System.Linq;
using System.Text.RegularExpressions;
using System.Threading;
using System.Threading.Tasks;
using FluentAssertions;
using TokenService.Tests.Support;
using Xunit;
using Xunit.Abstractions;

namespace TokenService.Tests.Storage;

/// <summary>Replicas and commands are killed at moments of chance while other replicas go on: these wait for no dead one, and nothing acknowledged is lost.</summary>
[Trait("Storage", "PostgreSql")]
public sealed class ReplicaKillTests(OwnPostgreSqlServer own, ITestOutputHelper output) : IClassFixture<OwnPostgreSqlServer>
{
    private static readonly TimeSpan s_soon = TimeSpan.FromSeconds(10);

    // Of commands: clients add, clients rotate-secret, keys rotate, apply.
    private const int Kinds = 4;

    // Each kills a replica and, but for the last few, a command: with the killed first starts 26, and 592.
    private static int Rounds => LongForm.Of(12, 250);

    private static int KilledStarts => LongForm.Of(5, 95);

    [NeedsPostgreSqlFact]
    public async Task What_was_acknowledged_is_there_after_SIGKILL_of_a_replica_and_of_a_command_and_the_others_go_on()
    {
        await using var replicas = await ReplicaSet.Start(own.Server, KillTests.Numbered(0));
        var ledger = new Ledger { Issuer = replicas.Issuer };
        ledger.Secret("rotating", ReplicaSet.Succeeded(await replicas.Clis[0].Run("clients", "add", "--id", "rotating", "--scope", "catalog.read")));
        var whole = Stopwatch.StartNew();
        ReplicaSet.Succeeded(await replicas.Clis[0].Run("clients", "list"));
        var command = whole.Elapsed;
        var (waits, starts, ended, keys) = (new List<TimeSpan>(), new List<TimeSpan>(), 0, (await replicas.Kids(0)).Length);
        for (var round = 1; round <= Rounds; round++)
        {
            using var end = new CancellationTokenSource();
            var using3 = Task.WhenAll(ReplicaSet.All.Select(replica => ledger.Use(replicas.Url(replica), end.Token)));
            var (victim, survivor) = (round % ReplicaSet.Count, (round + 1) % ReplicaSet.Count);
            var working = Work(round, survivor);
            await Task.Delay(command * Random.Shared.NextDouble());
            await replicas.Kill(victim);
            ended += await working ? 1 : 0;

            // Whoever died held a turn perhaps: nobody else waits for it.
            waits.Add(await Done(async () => (await replicas.Send(survivor, replicas.Assertion())).Status));
            var token = (await replicas.Token(survivor)).AccessToken;
            waits.Add(await Done(async () => (await replicas.Revoke(survivor, token)).Status));
            var since = Stopwatch.StartNew();
            ledger.Secret($"next-{round}", ReplicaSet.Succeeded(await replicas.Clis[survivor].Run("clients", "add", "--id", $"next-{round}", "--scope", "catalog.read")));
            waits.Add(since.Elapsed - command);
            command = since.Elapsed;
            await end.CancelAsync();
            await using3;

            since.Restart();
            await replicas.Serve(victim);
            starts.Add(since.Elapsed);
            await ledger.Check(replicas.Url(victim));
            foreach (var n in Enumerable.Range(0, round + 1))
            {
                var first = await replicas.Token(victim, $"first-{n}:{AssertionClients.BasicSecret}");
                var second = await replicas.Token(victim, $"second-{n}:{AssertionClients.BasicSecret}");
                first.Status.Should().Be(second.Status, "a file is applied as a whole or not at all");
            }
        }

        // Each knows all by now.
        await ReplicaTests.Until(async () => (await Task.WhenAll(ReplicaSet.All.Select(replicas.Kids))).DistinctBy(kids => string.Join(' ', kids)).Count() == 1);
        await ledger.Check(replicas.Url(0), all: true);
        StoreFile.Check(replicas.Folder);
        waits.Sort();
        starts.Sort();
        output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"""
            {Rounds} replicas and {Rounds - Kinds} commands killed, {ended} commands came to their end; {ledger.Summary}
            The others' next writes: median {waits[waits.Count / 2].TotalMilliseconds:0} ms, longest {waits[^1].TotalMilliseconds:0} ms (of a command what it took beyond the one before).
            Ready again: median {starts[starts.Count / 2].TotalMilliseconds:0} ms, longest {starts[^1].TotalMilliseconds:0} ms.
            """));
        ledger.Assertions.Should().BeGreaterThan(Rounds);
        ledger.Revocations.Should().BeGreaterThan(Rounds);
        ledger.Keys.Should().BeGreaterThan(keys);

        // Killed somewhere between its start and its end, and now and then after it; the last of each kind comes to its end.
        async Task<bool> Work(int round, int replica)
        {
            string[] words = (round % Kinds) switch
            {
                0 => ["clients", "add", "--id", $"client-{round}", "--scope", "catalog.read"],
                1 => ["clients", "rotate-secret", "rotating"],
                2 => ["keys", "rotate"],
                _ => ["apply", replicas.FolderOf(replica).Write("clients.json", KillTests.Numbered(round))],
            };
            var killed = round > Rounds - Kinds ? await replicas.Clis[replica].Run(words) : await KillTests.RunKilled(
                [$"--contentRoot={replicas.FolderOf(replica).Path}", "--environment=Production", .. words], command * 1.3 * Random.Shared.NextDouble());
            if (round > Rounds - Kinds)
            {
                ReplicaSet.Succeeded(killed);
            }

            if (words[0] == "clients" && KillTests.Line(killed) is { } secret)
            {
                ledger.Secret(words[1] == "add" ? words[3] : "rotating", secret);
            }
            else if (Regex.Match(killed.Error, @"Published the new signing key (\S+) for .*\n") is { Success: true } published)
            {
                ledger.Key(published.Groups[1].Value);
            }

            return killed.ExitCode == 0;
        }

        static async Task<TimeSpan> Done(Func<Task<int>> request)
        {
            var taken = await ReplicaTests.Until(async () =>
            {
                var status = await request();
                status.Should().BeOneOf(200, 503);
                return status == 200;
            });
            taken.Should().BeLessThan(s_soon);
            return taken;
        }
    }

    [NeedsPostgreSqlFact]
    public async Task A_first_start_that_is_killed_at_any_moment_hinders_neither_those_beside_it_nor_the_next()
    {
        var usual = TimeSpan.FromSeconds(1);
        for (var round = 0; round <= KilledStarts; round++)
        {
            await using var replicas = ReplicaSet.Make(own.Server, "--TokenService:ApplyFile=clients.json");
            foreach (var replica in ReplicaSet.All)
            {
                replicas.FolderOf(replica).Write("clients.json", Ledger.File);
            }

            var since = Stopwatch.StartNew();
            var killed = KillTests.RunKilled(replicas.Arguments(2), usual * 1.2 * Random.Shared.NextDouble());
            await Task.WhenAll(replicas.Serve(0), replicas.Serve(1));
            usual = since.Elapsed;
            await killed;
            await replicas.Serve(2);

            var kids = await Task.WhenAll(ReplicaSet.All.Select(replicas.Kids));
            kids.Should().OnlyContain(of => of.Length == 1 && of[0] == kids[0][0]);
            (await Task.WhenAll(ReplicaSet.All.Select(replica => replicas.Token(replica)))).Should().OnlyContain(answer => answer.Status == 200);
            StoreFile.Check(replicas.Folder);
        }

        output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{KilledStarts + 1} first starts killed beside two others, which were ready within {usual.TotalMilliseconds:0} ms in the last round."));
    }
}
