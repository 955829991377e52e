using System.Threading.Tasks;
using Npgsql;

namespace TokenService.Tests.Support;

/// <summary>The role of a service on a server of a test's own: one that is not a superuser, so that the slots that the server keeps for those stay free.</summary>
internal static class ServiceRole
{
    public const string Name = "service";
    public const string Password = "Of-The-Service-42";

    /// <summary>Makes it, and gives it the database of a folder.</summary>
    public static async Task Make(PostgreSqlServer server, TemporaryFolder folder)
    {
        await server.Execute($"CREATE ROLE {Name} LOGIN PASSWORD '{Password}'");
        await server.Execute($"ALTER DATABASE {Database(folder)} OWNER TO {Name}");
    }

    /// <summary>Writes the settings of a service that logs in by it.</summary>
    /// <param name="folder">Whose they are.</param>
    /// <param name="connectionString">Where the server is, and what else is to be set: what comes later goes first.</param>
    public static void Configure(TemporaryFolder folder, string connectionString)
        => TestStorage.Configure(folder.Path, $"Database={Database(folder)};Username={Name};Password={Password};{connectionString}");

    public static string Database(TemporaryFolder folder) => new NpgsqlConnectionStringBuilder(folder.Database!).Database!;
}
