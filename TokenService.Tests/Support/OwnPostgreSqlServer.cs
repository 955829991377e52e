using System.Threading.Tasks;
using Xunit;

namespace TokenService.Tests.Support;

/// <summary>A PostgreSQL server for the tests of one class; there is none where PostgreSQL's programs are missing, and the tests are skipped then.</summary>
public sealed class OwnPostgreSqlServer : IAsyncLifetime
{
    internal PostgreSqlServer Server { get; private set; } = null!;

    public async Task InitializeAsync()
    {
        if (PostgreSqlServer.Programs is not null)
        {
            // What is lost with the machine is lost with the tests.
            Server = await PostgreSqlServer.Start("fsync = off", "max_connections = 200");
        }
    }

    public async Task DisposeAsync()
    {
        if (Server is not null)
        {
            await Server.DisposeAsync();
        }
    }
}
