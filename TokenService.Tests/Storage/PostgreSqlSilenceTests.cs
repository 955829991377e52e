using System;
using System.Diagnostics;
using System.Threading.Tasks;
using FluentAssertions;
using TokenService.Tests.Support;
using Xunit;
using Xunit.Abstractions;

namespace TokenService.Tests.Storage;

/// <summary>The same as <see cref="PostgreSqlFaultTests"/> with a network that forgets: nothing is refused, and nothing is ever answered.</summary>
[Trait("Storage", "PostgreSql")]
public sealed class PostgreSqlSilenceTests(ITestOutputHelper output)
{
    private static readonly TimeSpan s_longestForgotten = TimeSpan.FromSeconds(60);

    [NeedsPostgreSqlFact]
    public async Task Tokens_go_out_and_all_recovers_when_the_server_is_out_of_reach_and_old_connections_are_never_heard_of_again()
    {
        // The sessions that the network has forgotten stay for a while, and the rounds follow each other sooner than networks fail.
        await using var server = await PostgreSqlServer.Start("max_connections = 40");
        await using var proxy = new SilentProxy(server.Port);
        using var folder = new TemporaryFolder(server);
        await ServiceRole.Make(server, folder);
        ServiceRole.Configure(folder, $"Host=127.0.0.1;Port={proxy.Port}");
        await using var service = await ServiceUnderLoad.Start(folder, ServiceRole.Password);
        string? forgotten = null;
        for (var round = 1; round <= PostgreSqlFaultTests.Rounds; round++)
        {
            await Task.Delay(500);
            await service.Survives(output, $"out of reach, {round}", GoSilent, proxy.Return, visible: true, round);
        }

        await service.Ends(output, "out of reach");

        // Nobody tells the server that they are gone.
        var since = Stopwatch.StartNew();
        while (await server.Scalar($"SELECT COUNT(*) FROM pg_stat_activity WHERE pid = ANY ('{forgotten}'::INT[])") is not "0")
        {
            since.Elapsed.Should().BeLessThan(s_longestForgotten);
            await Task.Delay(500);
        }

        output.WriteLine($"The server had ended the sessions {forgotten} {since.Elapsed.TotalSeconds:0} s after that.");

        async Task GoSilent()
        {
            forgotten = await server.Scalar($"SELECT array_agg(pid)::TEXT FROM pg_stat_activity WHERE usename = '{ServiceRole.Name}'");
            forgotten.Should().NotBeNullOrEmpty();
            await proxy.GoSilent();
        }
    }
}
