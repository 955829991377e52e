using System.Collections.Generic;
using System.Diagnostics;
using System.Threading.Tasks;
using FluentAssertions;
using Npgsql;
using TokenService.Tests.Support;
using Xunit;
using Xunit.Abstractions;

namespace TokenService.Tests.Storage;

/// <summary>What an operator reads where the database is not fit.</summary>
[Trait("Storage", "PostgreSql")]
public sealed class PostgreSqlStartTests(ITestOutputHelper output)
{
    [NeedsPostgreSqlFact]
    public async Task A_start_and_a_command_without_a_fit_database_end_with_a_line_that_says_what_to_do()
    {
        await using var server = await PostgreSqlServer.Start("max_connections = 20");
        using var folder = new TemporaryFolder(server);
        var database = ServiceRole.Database(folder);
        await ServiceRole.Make(server, folder);
        await server.Execute($"CREATE ROLE nobody LOGIN PASSWORD '{ServiceRole.Password}'");
        await server.Execute("CREATE DATABASE empty TEMPLATE template0");
        var whole = $"Host=127.0.0.1;Port={server.Port}";

        await Refused($"Host=127.0.0.1;Port={RunningProgram.FreePort()}", "127.0.0.1", "start the server, or correct Host and Port");
        await Refused($"{whole};Password=Another-42", "password authentication failed", "correct Username and Password");
        await Refused($"{whole};Database=absent", "\"absent\" does not exist", "make the database");
        await Refused($"{whole};Database=empty;Username=nobody", "permission denied", "own the database");
        await Refused("Host=;Port=x", "ConnectionStrings:TokenService is malformed");

        ServiceRole.Configure(folder, whole);
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
        await server.Execute($"CREATE ROLE greedy LOGIN PASSWORD '{ServiceRole.Password}'");
        await server.TakeAllConnections(ServiceRole.Name, Greedy(server), greedy);
        await Refused(whole, "remaining connection slots", "raise max_connections");
        foreach (var connection in greedy)
        {
            await connection.DisposeAsync();
        }

        ServiceRole.Configure(folder, whole);
        (await new Cli(folder).Run("clients", "list")).ExitCode.Should().Be(0);

        async Task Refused(string connectionString, params string[] says)
        {
            ServiceRole.Configure(folder, connectionString);
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

    private static void IsALine(Finished finished)
    {
        finished.ExitCode.Should().Be(1, finished.Error);
        finished.Error.TrimEnd('\n').Should().NotBeEmpty().And.NotContain("\n").And.NotContain(ServiceRole.Password).And.NotContain("Another-42");
    }

    private static string Greedy(PostgreSqlServer server) => $"Host=127.0.0.1;Port={server.Port};Database=postgres;Username=greedy;Password={ServiceRole.Password}";
}
