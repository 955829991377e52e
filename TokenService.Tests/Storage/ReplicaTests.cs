using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Linq;
using System.Threading.Tasks;
using FluentAssertions;
using TokenService.Storage;
using TokenService.Tests.Support;
using Xunit;
using Xunit.Abstractions;

namespace TokenService.Tests.Storage;

/// <summary>Three replicas on one PostgreSQL database: what they must decide once between them, and one of them that stands still.</summary>
[Trait("Storage", "PostgreSql")]
public sealed class ReplicaTests(OwnPostgreSqlServer own, ITestOutputHelper output) : IClassFixture<OwnPostgreSqlServer>
{
    private const int Connections = 100;

    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(60);

    private static int Assertions => LongForm.Of(100, 1_000);

    private static int FirstStarts => LongForm.Of(3, 30);

    [NeedsPostgreSqlFact]
    public async Task An_assertion_that_a_hundred_connections_send_to_each_replica_at_once_gives_one_token()
    {
        await using var replicas = await ReplicaSet.Start(own.Server, AssertionClients.File, "--TokenService:SigningAlgorithm=ES256");
        var clients = Enumerable.Range(0, ReplicaSet.Count * Connections)
            .Select(number => new LoadClients.Client(replicas.Ports[number % ReplicaSet.Count])).ToArray();
        var (tokens, refused, unknown, undecided) = (0, 0, 0, 0);
        var used = new List<string>();
        try
        {
            await Task.WhenAll(clients.Select(client => client.Send(LoadClients.TokenRequest(AssertionClients.BasicJob, AssertionClients.BasicSecret))));
            for (var round = 0; round < Assertions; round++)
            {
                var assertion = replicas.Assertion();
                var request = LoadClients.AssertionRequest(assertion);

                // Each sends before it waits for the first time: all are on their way before any is answered.
                var statuses = await Task.WhenAll(clients.Select(client => client.Send(request)));

                statuses.Should().OnlyContain(status => status == 200 || status == 401 || status == 503);
                var (given, doubtful) = (statuses.Count(status => status == 200), statuses.Count(status => status == 503));
                given.Should().BeLessThanOrEqualTo(1, "it may be used once");
                (given + doubtful).Should().BePositive("nobody may be told that it was used before unless it was, or may have been");
                (tokens, refused, unknown) = (tokens + given, refused + statuses.Count(status => status == 401), unknown + doubtful);
                undecided += given == 0 ? 1 : 0;
                used.Add(assertion);
            }
        }
        finally
        {
            Array.ForEach(clients, client => client.Dispose());
        }

        output.WriteLine(
            $"{Assertions} assertions, each to {ReplicaSet.Count} replicas x {Connections} connections: {tokens} tokens, {refused} refused, {unknown} x 503; {undecided} assertions without a token.");
        tokens.Should().BeGreaterThan(Assertions * 9 / 10, "in doubt is an exception");
        refused.Should().BeGreaterThan(unknown, "and so is too much load");
        foreach (var assertion in used.TakeLast(10))
        {
            foreach (var replica in ReplicaSet.All)
            {
                var again = await replicas.Send(replica, assertion);
                (again.Status, again.Error).Should().Be((401, "invalid_client"));
            }
        }
    }

    [NeedsPostgreSqlFact]
    public async Task Three_first_starts_at_once_on_an_empty_database_migrate_it_once_and_make_one_signing_key()
    {
        for (var round = 0; round < FirstStarts; round++)
        {
            await using var replicas = ReplicaSet.Make(own.Server, "--TokenService:ApplyFile=clients.json");
            foreach (var replica in ReplicaSet.All)
            {
                replicas.FolderOf(replica).Write("clients.json", AssertionClients.File);
            }

            var since = Stopwatch.StartNew();
            await Task.WhenAll(ReplicaSet.All.Select(replica => replicas.Serve(replica)));
            output.WriteLine($"All ready after {since.ElapsedMilliseconds} ms.");

            var kids = await Task.WhenAll(ReplicaSet.All.Select(replicas.Kids));
            kids.Should().OnlyContain(of => of.Length == 1 && of[0] == kids[0][0]);
            StoreFile.Texts(replicas.Folder, "SELECT kid FROM signing_keys").Should().Equal(kids[0]);
            StoreFile.Number(replicas.Folder, "SELECT COUNT(*) - COUNT(DISTINCT version) FROM schema_migrations").Should().Be(0);
            (await Task.WhenAll(ReplicaSet.All.Select(replica => replicas.Token(replica)))).Should().OnlyContain(answer => answer.Status == 200);
            (await replicas.Token(1, $"{AssertionClients.BasicJob}:wrong")).Status.Should().Be(401);
        }
    }

    [NeedsPostgreSqlFact]
    public async Task Of_three_first_starts_at_once_with_different_master_keys_one_serves_and_the_others_say_why_not()
    {
        for (var round = 0; round < FirstStarts; round++)
        {
            await using var replicas = ReplicaSet.Make(own.Server, "--TokenService:ApplyFile=clients.json");
            foreach (var replica in ReplicaSet.All)
            {
                var folder = replicas.FolderOf(replica);
                folder.Write("clients.json", AssertionClients.File);
                folder.Write("token-service.master-key", Convert.ToBase64String(System.Security.Cryptography.RandomNumberGenerator.GetBytes(32)) + "\n");
            }

            var refusals = await Task.WhenAll(ReplicaSet.All.Select(async replica =>
            {
                try
                {
                    await replicas.Serve(replica);
                    return null;
                }
                catch (InvalidOperationException fault)
                {
                    return fault.Message[(fault.Message.IndexOf('\n', StringComparison.Ordinal) + 1)..].Trim();
                }
            }));

            var served = Array.IndexOf(refusals, null);
            refusals.Where(refusal => refusal is not null).Should().HaveCount(2).And.OnlyContain(refusal
                => refusal!.Contains("does not open: the master key is not the one it was encrypted under", StringComparison.Ordinal) && !refusal.Contains('\n'));
            (await replicas.Token(served)).Status.Should().Be(200);
            (await replicas.Post(served, "/oauth2/token", AssertionDraft.Form(
                new AssertionDraft(AssertionClients.MacJob, replicas.Issuer, DateTimeOffset.UtcNow).SignedWith(AssertionClients.MacSecret)))).Status.Should().Be(200);
        }
    }

    [NeedsPostgreSqlFact]
    public async Task A_command_that_is_frozen_as_it_writes_holds_up_the_others_for_a_few_seconds_and_changes_nothing()
    {
        await using var replicas = await ReplicaSet.Start(own.Server, AssertionClients.File);
        string[] add = ["clients", "add", "--scope", "catalog.read", "--id"];
        Task<Finished> frozen, second;
        using (Hold(replicas, Turn.Registry))
        {
            frozen = replicas.Clis[0].Run([.. add, "frozen"]);
            await Waiting(replicas, Turn.Registry, 1);
            await Signal("STOP", await ProcessOf(replicas.Folder, "frozen"));

            // Waits already when the turn of the frozen one begins.
            second = replicas.Clis[1].Run([.. add, "second"]);
            await Waiting(replicas, Turn.Registry, 2);
        }

        try
        {
            var since = Stopwatch.StartNew();
            ReplicaSet.Succeeded(await second);
            output.WriteLine($"The next command ended {since.ElapsedMilliseconds} ms after the frozen one's turn had begun.");
            ReplicaSet.Succeeded(await replicas.Clis[2].Run([.. add, "third"]));
        }
        finally
        {
            await Signal("CONT", await ProcessOf(replicas.Folder, "frozen"));
        }

        (await frozen).Should().Match<Finished>(one => one.ExitCode == 1 && one.Output.Length == 0 && one.Error.TrimEnd().Split('\n', StringSplitOptions.None).Length == 1);
        StoreFile.Texts(replicas.Folder, "SELECT client_id FROM clients").Should().Contain(["second", "third"]).And.NotContain("frozen");
    }

    [NeedsPostgreSqlFact]
    public async Task A_replica_that_is_frozen_as_it_writes_holds_up_revocations_for_a_few_seconds_and_nothing_else()
    {
        await using var replicas = await ReplicaSet.Start(own.Server, Ledger.File);
        var tokens = (await Task.WhenAll(ReplicaSet.All.Select(replica => replicas.Token(replica)))).Select(answer => answer.AccessToken).ToArray();
        var assertion = replicas.Assertion();
        Task<Answer> revoked, used;
        using (Hold(replicas, Turn.Revocations, Turn.Assertions))
        {
            (revoked, used) = (replicas.Revoke(0, tokens[0]), replicas.Send(0, assertion));
            await Waiting(replicas, Turn.Revocations, 1);
            await Waiting(replicas, Turn.Assertions, 1);
            await Signal("STOP", replicas.Program(0).Id);
        }

        try
        {
            var since = Stopwatch.StartNew();
            (await replicas.Send(1, replicas.Assertion())).Status.Should().Be(200);
            (await replicas.Send(2, assertion)).Status.Should().Be(200, "the frozen one has not noted it");
            output.WriteLine($"Two assertions: {since.ElapsedMilliseconds} ms.");
            while ((await replicas.Revoke(1, tokens[1])).Status is var status && status != 200)
            {
                status.Should().Be(503);
                (await replicas.Token(2)).Status.Should().Be(200);
                since.Elapsed.Should().BeLessThan(s_patience);
            }

            output.WriteLine($"A revocation: {since.ElapsedMilliseconds} ms after the frozen one's turn had begun.");
            since.Elapsed.Should().BeLessThan(TimeSpan.FromSeconds(15));
        }
        finally
        {
            await Signal("CONT", replicas.Program(0).Id);
        }

        // What it was in the middle of is in doubt there; and the assertion was used elsewhere.
        (await used).Status.Should().Be(503);
        (await revoked).Status.Should().Be(503);
        await Until(async () => (await replicas.Revoke(0, tokens[0])).Status == 200);
        await Until(async () => (await replicas.Send(0, replicas.Assertion())).Status == 200);
        await Until(async () => await replicas.IsActive(2, tokens[0]) == false);
        await Until(async () => await replicas.IsActive(0, tokens[1]) == false);
        await Until(async () => await replicas.IsActive(0, tokens[2]) == true);
        (await replicas.Send(0, assertion)).Status.Should().Be(401);
    }

    /// <summary>Makes all writers of these kinds wait for their turn until the end.</summary>
    internal static IDisposable Hold(ReplicaSet replicas, params Turn[] turns)
    {
        var connection = StoreFile.Open(replicas.Folder);
        foreach (var turn in turns)
        {
            using var command = connection.CreateCommand();
            command.CommandText = $"SELECT pg_advisory_lock({PostgreSqlDataSource.LockSpace}, {turn.Number})";
            command.ExecuteNonQuery();
        }

        return connection;
    }

    /// <summary>Waits until so many writers wait for their turn.</summary>
    internal static Task<TimeSpan> Waiting(ReplicaSet replicas, Turn turn, int count) => Until(() => Task.FromResult(StoreFile.Number(replicas.Folder, $"""
        SELECT COUNT(*) FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database
        WHERE datname = current_database() AND locktype = 'advisory' AND objid = {turn.Number} AND NOT granted
        """) >= count));

    internal static async Task<TimeSpan> Until(Func<Task<bool>> condition)
    {
        var since = Stopwatch.StartNew();
        while (!await condition())
        {
            since.Elapsed.Should().BeLessThan(s_patience);
            await Task.Delay(5);
        }

        return since.Elapsed;
    }

    internal static async Task Signal(string signal, int process)
        => (await RunningProgram.Run("kill", [$"-{signal}", $"{process}"])).ExitCode.Should().Be(0);

    // The command that was given this word.
    private static async Task<int> ProcessOf(TemporaryFolder folder, string word)
    {
        var found = await RunningProgram.Run("pgrep", ["-f", $"contentRoot={folder.Path} .*--id {word}$"]);
        return int.Parse(found.Output.Trim(), System.Globalization.CultureInfo.InvariantCulture);
    }
}
