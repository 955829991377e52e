using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Linq;
using System.Net.Http;
using System.Text;
using System.Threading;
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
    private const string Basic = $"{AssertionClients.BasicJob}:{AssertionClients.BasicSecret}";
    private const string Role = "service";
    private const string Password = "Of-The-Service-42";

    private static readonly TimeSpan s_longestWait = TimeSpan.FromSeconds(3);
    private static readonly TimeSpan s_longestRecovery = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan s_pause = TimeSpan.FromMilliseconds(20);

    // 7 kinds: 14 faults, and 119.
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
        await using var server = await PostgreSqlServer.Start("max_connections = 20");
        await using var proxy = new SilentProxy(server.Port);
        using var folder = new TemporaryFolder(server);
        await server.Execute($"CREATE ROLE greedy LOGIN PASSWORD '{Password}'");
        await MakeRole(server, folder);
        Configure(folder, $"Host=127.0.0.1;Port={(fault.StartsWith("out of reach", StringComparison.Ordinal) ? proxy.Port : server.Port)}");
        await using var service = await Service.Start(folder);
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
            await using var service = await Service.Start(folder);
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
        await using var service = await Service.Start(folder);
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

    /// <summary>A service under load: those who come with secrets, and those who need the store.</summary>
    private sealed class Service : IAsyncDisposable
    {
        private const string StoreIsAway = "cannot check this now";

        private readonly CancellationTokenSource _end = new();
        private readonly Cli _cli;
        private readonly Uri _url;
        private readonly HttpClient _http;
        private readonly RunningProgram _program;
        private readonly List<TimeSpan> _recoveries = [];
        private long _settled;
        private readonly Task _load;
        private readonly Task<(int Count, TimeSpan Slowest)> _tokens;

        public Uri Url => _url;

        private Service(Cli cli, Uri url, RunningProgram program)
        {
            (_cli, _url, _program, _http) = (cli, url, program, new HttpClient { BaseAddress = url });
            _load = Task.WhenAll(Enumerable.Range(0, 3).Select(_ => Ledger.Use(url, _end.Token, s_pause)));
            _tokens = Task.Run(Tokens);
        }

        public Ledger Ledger { get; } = new();

        public static async Task<Service> Start(TemporaryFolder folder)
        {
            var (port, cli) = (RunningProgram.FreePort(), new Cli(folder));
            var applied = await cli.Run("apply", folder.Write("clients.json", Ledger.File));
            applied.ExitCode.Should().Be(0, applied.Error);
            return new(cli, new($"http://127.0.0.1:{port}"), await cli.Serve(port, "--TokenService:RateLimit:FailuresPerMinute=0"));
        }

        /// <summary>Lets a fault begin and end, and looks at all that the service says meanwhile.</summary>
        /// <param name="output">Told the figures.</param>
        /// <param name="what">The fault.</param>
        /// <param name="begin">Begins it.</param>
        /// <param name="end">Ends it.</param>
        /// <param name="visible">Whether it lasts, so that readiness must tell of it.</param>
        /// <param name="round">Names what is added.</param>
        public async Task Survives(ITestOutputHelper output, string what, Func<Task> begin, Func<Task> end, bool visible, int round)
        {
            await Add($"before-{round}");
            var began = Stopwatch.GetTimestamp();
            await begin();
            var adding = Add($"meanwhile-{round}");
            var health = "";
            if (visible)
            {
                while (!(health = await Ready()).StartsWith("Degraded: ", StringComparison.Ordinal))
                {
                    Stopwatch.GetElapsedTime(began).Should().BeLessThan(s_longestRecovery, "it must be noticed");
                    await Task.Delay(50);
                }

                await Task.Delay(2000);
                health = await Ready();
                health.Should().StartWith("Degraded: ");
            }

            await end();
            var back = Stopwatch.GetTimestamp();
            while (await Ready() != "Healthy" || !await NotesAssertions() || !await NotesRevocations())
            {
                Stopwatch.GetElapsedTime(back).Should().BeLessThan(s_longestRecovery, $"{await Ready()}\n{_program.Printed[^Math.Min(4000, _program.Printed.Length)..]}");
                await Task.Delay(20);
            }

            var recovery = Stopwatch.GetElapsedTime(back);
            recovery.Should().BeLessThan(s_longestRecovery);
            _recoveries.Add(recovery);
            await adding;

            // What was in flight then is answered soon; after that all goes well.
            await Task.Delay(500);
            var settled = Stopwatch.GetTimestamp();
            await Task.Delay(1000);
            // A machine with other things to do has too few processors for a service that begins, and says so.
            var said = Ledger.Unavailable.Where(refused => refused.At > _settled && refused.What.Contains(StoreIsAway, StringComparison.Ordinal)).ToList();
            said.Where(refused => refused.At < began || refused.At > settled).Should().BeEmpty();
            var refused = said.ConvertAll(refused => refused.At);
            _settled = settled;
            await Ledger.Check(_url);
            output.WriteLine(
                $"{what}: recovered after {recovery.TotalMilliseconds:0} ms; {refused.Count} × 503, the last {Stopwatch.GetElapsedTime(back, refused.DefaultIfEmpty(back).Max()).TotalMilliseconds:0} ms after it was back; {health}");
        }

        /// <summary>Ends the load, and checks what there is.</summary>
        public async Task Ends(ITestOutputHelper output, string what)
        {
            await _end.CancelAsync();
            await _load;
            var (count, slowest) = await _tokens;
            await Ledger.Check(_url, all: true);
            output.WriteLine(
                $"{what}: {count} tokens by secret, the slowest {slowest.TotalMilliseconds:0} ms; the slowest of all {Ledger.Slowest.TotalMilliseconds:0} ms; longest recovery {_recoveries.Max().TotalMilliseconds:0} ms; {Ledger.Summary}");
            Ledger.Unanswered.Should().Be(0);
            Ledger.Assertions.Should().BePositive();
            Ledger.Revocations.Should().BePositive();
            count.Should().BeGreaterThan(50);
            slowest.Should().BeLessThan(s_longestWait);
            Ledger.Slowest.Should().BeLessThan(s_longestWait);
            _program.Printed.Should().NotContain(Password).And.NotContain("Failed to answer");
        }

        public async ValueTask DisposeAsync()
        {
            await _end.CancelAsync();
            await Task.WhenAll(_load, _tokens).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            await _program.DisposeAsync();
            _http.Dispose();
            _end.Dispose();
        }

        private async Task<(int Count, TimeSpan Slowest)> Tokens()
        {
            var (count, slowest) = (0, TimeSpan.Zero);
            while (!_end.IsCancellationRequested)
            {
                var since = Stopwatch.GetTimestamp();
                var answer = await Post("/oauth2/token", "grant_type=client_credentials", Basic);
                var took = Stopwatch.GetElapsedTime(since);
                answer.Status.Should().Be(200, answer.Body);
                (count, slowest) = (count + 1, took > slowest ? took : slowest);
                await Task.Delay(s_pause);
            }

            return (count, slowest);
        }

        // A client that is added is there, or the command says in a line that it failed, and then nobody knows.
        private async Task Add(string id)
        {
            var added = await _cli.Run("clients", "add", "--id", id, "--scope", "catalog.read");
            if (added.ExitCode != 0)
            {
                IsALine(added);
                return;
            }

            var secret = added.Output.Trim();
            var since = Stopwatch.GetTimestamp();
            while ((await Post("/oauth2/token", "grant_type=client_credentials", $"{id}:{secret}")).Status != 200)
            {
                // While the store is away, the service cannot know of it.
                if (await Ready() != "Healthy")
                {
                    since = Stopwatch.GetTimestamp();
                }

                Stopwatch.GetElapsedTime(since).Should().BeLessThan(s_longestRecovery, "a change is known within that");
                await Task.Delay(50);
            }

            Ledger.Secret(id, secret);
        }

        private async Task<string> Ready()
        {
            using var response = await _http.GetAsync(new Uri("/health/ready", UriKind.Relative));
            var text = await response.Content.ReadAsStringAsync();
            ((int)response.StatusCode).Should().Be(200, text);
            return text;
        }

        private async Task<bool> NotesAssertions()
        {
            var now = DateTimeOffset.UtcNow;
            var assertion = new AssertionDraft(AssertionClients.KeyJob, _url.ToString().TrimEnd('/'), now)
                .With("exp", now.ToUnixTimeSeconds() + 500).WithHeader("kid", "2").SignedBy(AssertionClients.P256, "ES256");
            return (await Post("/oauth2/token", AssertionDraft.Form(assertion))).Status == 200;
        }

        private async Task<bool> NotesRevocations()
        {
            var token = (await Post("/oauth2/token", "grant_type=client_credentials", Basic)).AccessToken;
            return (await Post(TokenQueries.Revocation, $"token={token}", Basic)).Status == 200;
        }

        private async Task<Answer> Post(string path, string form, string? basic = null)
        {
            using var request = new HttpRequestMessage(HttpMethod.Post, new Uri(path, UriKind.Relative)) { Content = RunningService.Form(form) };
            if (basic is not null)
            {
                request.Headers.Authorization = new("Basic", Convert.ToBase64String(Encoding.UTF8.GetBytes(basic)));
            }

            using var response = await _http.SendAsync(request);
            return await Answer.Of(response);
        }
    }
}
