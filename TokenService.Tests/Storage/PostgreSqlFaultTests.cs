using System.Collections.Generic;
using System.Threading.Tasks;
using Npgsql;
using TokenService.Tests.Support;
using Xunit;
using Xunit.Abstractions;

namespace TokenService.Tests.Storage;

/// <summary>
/// PostgreSQL away, frozen or full, under a light and steady load: tokens by secret go out all the while, no request
/// waits for long, what needs the store is answered with 503, all is well again within five seconds without a restart, and what was
/// acknowledged is there.
/// </summary>
[Trait("Storage", "PostgreSql")]
public sealed class PostgreSqlFaultTests(ITestOutputHelper output)
{
    /// <summary>With <see cref="PostgreSqlSilenceTests"/> 7 kinds: 14 faults in short, and 119 in the long form. A hundred of each would take hours.</summary>
    public static int Rounds => LongForm.Of(2, 17);

    [NeedsPostgreSqlTheory]
    [InlineData("stopped as by a crash")]
    [InlineData("restarted")]
    [InlineData("killed")]
    [InlineData("frozen")]
    [InlineData("without its connections")]
    [InlineData("without a free connection")]
    public async Task Tokens_go_out_and_all_recovers_when_the_server_is(string fault)
    {
        await using var server = await PostgreSqlServer.Start("max_connections = 20");
        using var folder = new TemporaryFolder(server);
        await server.Execute($"CREATE ROLE greedy LOGIN PASSWORD '{ServiceRole.Password}'");
        await ServiceRole.Make(server, folder);
        ServiceRole.Configure(folder, $"Host=127.0.0.1;Port={server.Port}");
        await using var service = await ServiceUnderLoad.Start(folder, ServiceRole.Password);
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
                    default:
                        await server.TakeAllConnections(ServiceRole.Name, Greedy(server), greedy);
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
                    default:
                        foreach (var connection in greedy)
                        {
                            await connection.DisposeAsync();
                        }

                        break;
                }
            }
        }

        await service.Ends(output, fault);
    }

    private static string Greedy(PostgreSqlServer server) => $"Host=127.0.0.1;Port={server.Port};Database=postgres;Username=greedy;Password={ServiceRole.Password}";
}
