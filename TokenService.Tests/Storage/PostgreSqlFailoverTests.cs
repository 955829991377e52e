using System;
using System.Threading.Tasks;
using FluentAssertions;
using Npgsql;
using TokenService.Tests.Support;
using Xunit;
using Xunit.Abstractions;

namespace TokenService.Tests.Storage;

/// <summary>PostgreSQL replaced by its standby, under the load of <see cref="PostgreSqlFaultTests"/>: what was acknowledged is there.</summary>
[Trait("Storage", "PostgreSql")]
public sealed class PostgreSqlFailoverTests(ITestOutputHelper output)
{
    private static int Failovers => LongForm.Of(1, 20);

    [NeedsPostgreSqlTheory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Nothing_acknowledged_is_lost_with_the_primary_and_the_promoted_standby_takes_writes(bool silent)
    {
        for (var round = 1; round <= Failovers; round++)
        {
            await using var primary = await PostgreSqlServer.Start();
            using var folder = new TemporaryFolder(primary);
            await ServiceRole.Make(primary, folder);
            await using var standby = await primary.StartSynchronousStandby();
            ServiceRole.Configure(folder, $"Host=127.0.0.1:{primary.Port},127.0.0.1:{standby.Port}");
            await using var service = await ServiceUnderLoad.Start(folder, ServiceRole.Password);
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
        await ServiceRole.Make(primary, folder);
        await using var standby = await primary.StartSynchronousStandby();

        // Not even where the operator asks for it: a commit that is cancelled while it waits for the standby is acknowledged by the server.
        ServiceRole.Configure(folder, $"Host=127.0.0.1:{primary.Port},127.0.0.1:{standby.Port};Cancellation Timeout=2000");
        await using var service = await ServiceUnderLoad.Start(folder, ServiceRole.Password);
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
}
