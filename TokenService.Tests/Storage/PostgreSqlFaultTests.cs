using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Threading.Tasks;
using FluentAssertions;
using Npgsql;
using TokenService.Tests.Support;
using Xunit;
using Xunit.Abstractions;

namespace TokenService.Tests.Storage;

/// <summary>
/// PostgreSQL away, frozen, full or replaced by its standby, under a light and steady load: tokens by secret go out all the while, no request
/// waits for long, what needs the store is answered with 503, all is well again within five seconds without a restart, and what was
/// acknowledged is there.
/// </summary>
[Trait("Storage", "PostgreSql")]
public sealed class PostgreSqlFaultTests(ITestOutputHelper output)
{
    private const string Role = "service";
    private const string Password = "Of-The-Service-42";

    private static readonly TimeSpan s_longestForgotten = TimeSpan.FromSeconds(60);

    // 7 kinds: 14 faults in short, and 119 in the long form. A hundred of each would take hours.
    private static int Rounds => LongForm.Of(2, 17);

    private static int Failovers => LongForm.Of(1, 20);

    [NeedsPostgreSqlTheory]
    [InlineData("stopped as by a crash")]
    [InlineData("restarted")]
    [InlineData("killed")]
    [InlineData("frozen")]
    [InlineData("without its connections")]
    [InlineData("without a free connection")]
    [InlineData("out of reach, and old connections never heard of again")]
    public async Task Tokens_go_out_and_all_recovers_when_the_server_is(string fault)
    {
        // The sessions that the network has forgotten stay for a while, and the rounds follow each other sooner than networks fail.
        var outOfReach = fault.StartsWith("out of reach", StringComparison.Ordinal);
        await using var server = await PostgreSqlServer.Start($"max_connections = {(outOfReach ? 40 : 20)}");
        await using var proxy = new SilentProxy(server.Port);
        using var folder = new TemporaryFolder(server);
        await server.Execute($"CREATE ROLE greedy LOGIN PASSWORD '{Password}'");
        await MakeRole(server, folder);
        Configure(folder, $"Host=127.0.0.1;Port={(outOfReach ? proxy.Port : server.Port)}");
        await using var service = await ServiceUnderLoad.Start(folder, Password);
        string? forgotten = null;
        for (var round = 1; round <= Rounds; round++)
        {
            await Task.Delay(500);
            List<NpgsqlConnection> greedy = [];
            await service.Survives(output, $"{fault}, {round}", Begin, End, visible: fault is not ("restarted" or "without its connections"), round);

            async Task Begin()
            {
                switch (fault)
                {
                    case "stopped as by a crash":
                        await server.Stop("immediate");
                        break;
                    case "restarted":
                        await server.Stop();
                        break;
                    case "killed":
                        await server.Kill();
                        break;
                    case "frozen":
                        await server.Freeze();
                        break;
                    case "without its connections":
                        await server.Execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'");
                        break;
                    case "without a free connection":
                        await TakeAll(server, greedy);
                        break;
                    default:
                        forgotten = await Scalar(server, $"SELECT array_agg(pid)::TEXT FROM pg_stat_activity WHERE usename = '{Role}'");
                        forgotten.Should().NotBeNullOrEmpty();
                        await proxy.GoSilent();
                        break;
                }
            }

            async Task End()
            {
                switch (fault)
                {
                    case "stopped as by a crash" or "restarted" or "killed":
                        await server.Start();
                        break;
                    case "frozen":
                        await server.Thaw();
                        break;
                    case "without its connections":
                        break;
                    case "without a free connection":
                        foreach (var connection in greedy)
                        {
                            await connection.DisposeAsync();
                        }

                        break;
                    default:
                        await proxy.Return();
                        break;
                }
            }
        }

        await service.Ends(output, fault);
        if (outOfReach)
        {
            // Nobody tells the server that they are gone.
            var since = Stopwatch.StartNew();
            while (await Scalar(server, $"SELECT COUNT(*) FROM pg_stat_activity WHERE pid = ANY ('{forgotten}'::INT[])") is not "0")
            {
                since.Elapsed.Should().BeLessThan(s_longestForgotten);
                await Task.Delay(500);
            }

            output.WriteLine($"The server had ended the sessions {forgotten} {since.Elapsed.TotalSeconds:0} s after that.");
        }
    }

    [NeedsPostgreSqlTheory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Nothing_acknowledged_is_lost_with_the_primary_and_the_promoted_standby_takes_writes(bool silent)
    {
        for (var round = 1; round <= Failovers; round++)
        {
            await using var primary = await PostgreSqlServer.Start();
            using var folder = new TemporaryFolder(primary);
            await MakeRole(primary, folder);
            await using var standby = await StartSynchronousStandby(primary);
            Configure(folder, $"Host=127.0.0.1:{primary.Port},127.0.0.1:{standby.Port}");
            await using var service = await ServiceUnderLoad.Start(folder, Password);
            await Task.Delay(1000);
            await service.Survives(
                output,
                $"failover {round}{(silent ? ", silent" : "")}",
                async () =>
                {
                    // A machine without power refuses no connection: it only never answers.
                    await (silent ? primary.Freeze() : primary.Kill());
                    await Task.Delay(Random.Shared.Next(1500));
                },
                standby.Promote,
                visible: true,
                round);
            await service.Ends(output, $"failover {round}");
        }
    }

    [NeedsPostgreSqlFact]
    public async Task What_the_synchronous_standby_does_not_have_is_not_acknowledged()
    {
        await using var primary = await PostgreSqlServer.Start();
        using var folder = new TemporaryFolder(primary);
        await MakeRole(primary, folder);
        await using var standby = await StartSynchronousStandby(primary);

        // Not even where the operator asks for it: a commit that is cancelled while it waits for the standby is acknowledged by the server.
        Configure(folder, $"Host=127.0.0.1:{primary.Port},127.0.0.1:{standby.Port};Cancellation Timeout=2000");
        await using var service = await ServiceUnderLoad.Start(folder, Password);
        await Task.Delay(500);
        (int Assertions, int Revocations, int Secrets) before = default;
        var token = (await Post("/oauth2/token", "grant_type=client_credentials")).AccessToken;
        await service.Survives(
            output,
            "a standby that is frozen",
            async () =>
            {
                await standby.Freeze();
                await Task.Delay(500);
                before = Acknowledged();
            },
            async () =>
            {
                // The first commit is cancelled, and its row is there: that is no reason to acknowledge the second.
                (await Post("/oauth2/revoke", $"token={token}")).Status.Should().Be(503);
                await Task.Delay(3000);
                (await Post("/oauth2/revoke", $"token={token}")).Status.Should().Be(503);
                await TheDriverAloneTakesItAsDone(primary);
                Acknowledged().Should().Be(before);
                await standby.Thaw();
            },
            visible: true,
            round: 1);
        Acknowledged().Assertions.Should().BeGreaterThan(before.Assertions);
        await service.Ends(output, "a standby that is frozen");

        Task<Answer> Post(string path, string form)
            => TokenQueries.Post(service.Url, path, form, $"{AssertionClients.BasicJob}:{AssertionClients.BasicSecret}");

        (int Assertions, int Revocations, int Secrets) Acknowledged() => (service.Ledger.Assertions, service.Ledger.Revocations, service.Ledger.Secrets);
    }

    [NeedsPostgreSqlFact]
    public async Task A_start_and_a_command_without_a_fit_database_end_with_a_line_that_says_what_to_do()
    {
        await using var server = await PostgreSqlServer.Start("max_connections = 20");
        using var folder = new TemporaryFolder(server);
        var database = Configured(folder.Database!).Database!;
        await MakeRole(server, folder);
        await server.Execute($"CREATE ROLE nobody LOGIN PASSWORD '{Password}'");
        await server.Execute("CREATE DATABASE empty TEMPLATE template0");
        var whole = $"Host=127.0.0.1;Port={server.Port}";

        await Refused($"Host=127.0.0.1;Port={RunningProgram.FreePort()}", "127.0.0.1", "start the server, or correct Host and Port");
        await Refused($"{whole};Password=Another-42", "password authentication failed", "correct Username and Password");
        await Refused($"{whole};Database=absent", "\"absent\" does not exist", "make the database");
        await Refused($"{whole};Database=empty;Username=nobody", "permission denied", "own the database");
        await Refused("Host=;Port=x", "ConnectionStrings:TokenService is malformed");

        Configure(folder, whole);
        (await new Cli(folder).Run("clients", "list")).ExitCode.Should().Be(0);
        await server.Execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO nobody", database);
        await Refused($"{whole};Username=nobody", "permission denied", "own the database");
        await server.Execute("INSERT INTO schema_migrations (version) VALUES (1001)", database);
        await Refused(whole, "1001", "newer build");
        await server.Execute("DELETE FROM schema_migrations WHERE version = 1001", database);

        await server.Freeze();
        await Refused(whole, "cannot be opened", "start the server, or correct Host and Port");
        await server.Thaw();

        List<NpgsqlConnection> greedy = [];
        await server.Execute($"CREATE ROLE greedy LOGIN PASSWORD '{Password}'");
        await TakeAll(server, greedy);
        await Refused(whole, "remaining connection slots", "raise max_connections");
        foreach (var connection in greedy)
        {
            await connection.DisposeAsync();
        }

        Configure(folder, whole);
        (await new Cli(folder).Run("clients", "list")).ExitCode.Should().Be(0);

        async Task Refused(string connectionString, params string[] says)
        {
            Configure(folder, connectionString);
            var port = RunningProgram.FreePort();
            string[][] commands =
            [
                ["serve", $"--urls=http://127.0.0.1:{port}", $"--TokenService:Issuer=http://127.0.0.1:{port}"],
                ["clients", "add", "--id", "another", "--scope", "catalog.read"],
            ];
            foreach (var command in commands)
            {
                var since = Stopwatch.StartNew();
                var finished = await new Cli(folder).Run(command);
                output.WriteLine($"{since.ElapsedMilliseconds} ms: {finished.Error.TrimEnd('\n')}");
                finished.Output.Should().BeEmpty();
                IsALine(finished);
                finished.Error.Should().ContainAll(says);
            }
        }
    }

    // The reason for what the service does about it.
    private static async Task TheDriverAloneTakesItAsDone(PostgreSqlServer primary)
    {
        await using var connection = new NpgsqlConnection($"{primary.ConnectionString("postgres")};Pooling=false;Command Timeout=1;Cancellation Timeout=5000");
        await connection.OpenAsync();
        await using var transaction = await connection.BeginTransactionAsync();
        await using var create = new NpgsqlCommand("CREATE TABLE on_the_primary_alone (a INT)", connection, transaction);
        await create.ExecuteNonQueryAsync();
        transaction.Commit();
    }

    // One that is not a superuser, so that the slots that the server keeps for those stay free.
    private static async Task MakeRole(PostgreSqlServer server, TemporaryFolder folder)
    {
        await server.Execute($"CREATE ROLE {Role} LOGIN PASSWORD '{Password}'");
        await server.Execute($"ALTER DATABASE {Configured(folder.Database!).Database} OWNER TO {Role}");
    }

    // What comes later goes first.
    private static void Configure(TemporaryFolder folder, string connectionString)
        => TestStorage.Configure(folder.Path, $"Database={Configured(folder.Database!).Database};Username={Role};Password={Password};{connectionString}");

    private static NpgsqlConnectionStringBuilder Configured(string connectionString) => new(connectionString);

    private static async Task<PostgreSqlServer> StartSynchronousStandby(PostgreSqlServer primary)
    {
        var standby = await primary.StartStandby();
        await primary.Execute("ALTER SYSTEM SET synchronous_standby_names = '*'");
        await primary.Execute("SELECT pg_reload_conf()");
        for (var i = 0; i < 500 && await Scalar(primary, "SELECT sync_state FROM pg_stat_replication") is not "sync"; i++)
        {
            await Task.Delay(20);
        }

        (await Scalar(primary, "SHOW synchronous_standby_names")).Should().Be("*");
        (await Scalar(primary, "SELECT sync_state FROM pg_stat_replication")).Should().Be("sync");
        return standby;
    }

    private static async Task<string?> Scalar(PostgreSqlServer server, string sql)
    {
        await using var connection = new NpgsqlConnection($"{server.ConnectionString("postgres")};Pooling=false");
        await connection.OpenAsync();
        await using var command = new NpgsqlCommand(sql, connection);
        return (await command.ExecuteScalarAsync())?.ToString();
    }

    // Those that the service has already, too.
    private static async Task TakeAll(PostgreSqlServer server, List<NpgsqlConnection> greedy)
    {
        do
        {
            await server.Execute($"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = '{Role}'");
            try
            {
                while (true)
                {
                    var connection = new NpgsqlConnection($"Host=127.0.0.1;Port={server.Port};Database=postgres;Username=greedy;Password={Password};Pooling=false");
                    await connection.OpenAsync();
                    greedy.Add(connection);
                }
            }
            catch (PostgresException fault) when (fault.SqlState == PostgresErrorCodes.TooManyConnections)
            {
                // All but those for superusers.
            }
        }
        while (await Scalar(server, $"SELECT COUNT(*) FROM pg_stat_activity WHERE usename = '{Role}'") is not "0");
    }

    private static void IsALine(Finished finished)
    {
        finished.ExitCode.Should().Be(1, finished.Error);
        finished.Error.TrimEnd('\n').Should().NotBeEmpty().And.NotContain("\n").And.NotContain(Password).And.NotContain("Another-42");
    }
}
