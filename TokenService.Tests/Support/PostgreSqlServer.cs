using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Globalization;
using System.IO;
using System.Linq;
using System.Threading.Tasks;
using FluentAssertions;
using Npgsql;
using Xunit;

namespace TokenService.Tests.Support;

/// <summary>A PostgreSQL server of a test's own, from the system's packages: in a folder and on a port that nobody else uses.</summary>
internal sealed class PostgreSqlServer : IAsyncDisposable
{
    /// <summary>Who may log in, and to which database, before any test makes another.</summary>
    public const string User = "tokens";

    private const string InstalledBy = "/usr/lib/postgresql";

    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(60);

    private PostgreSqlServer(string folder, int port, string password) => (Folder, Port, Password) = (folder, port, password);

    /// <summary>Where the programs are, or <see langword="null"/> where there are none.</summary>
    public static string? Programs { get; } = Directory.Exists(InstalledBy)
        ? Directory.GetDirectories(InstalledBy).Select(version => Path.Combine(version, "bin")).Where(bin => File.Exists(Path.Combine(bin, "initdb"))).Max()
        : null;

    public string Folder { get; }

    public int Port { get; }

    public string Password { get; }

    /// <summary>The server's main process.</summary>
    public int Id => int.Parse(File.ReadLines(Path.Combine(Data, "postmaster.pid")).First(), CultureInfo.InvariantCulture);

    private string Data => Path.Combine(Folder, "data");

    /// <summary>Makes and starts one.</summary>
    /// <param name="settings">Lines of <c>postgresql.conf</c>.</param>
    public static async Task<PostgreSqlServer> Start(params string[] settings)
    {
        var server = await Folders(Guid.NewGuid().ToString("N"));
        var password = Path.Combine(server.Folder, "password");
        await File.WriteAllTextAsync(password, server.Password);
        await server.Run("initdb", "-D", server.Data, "-U", User, "-E", "UTF8", "--locale=C.UTF-8", "--auth=scram-sha-256", $"--pwfile={password}", "--no-sync");
        File.Delete(password);
        await server.Configure(settings);
        await server.Start();
        return server;
    }

    /// <summary>Makes and starts one that follows this one, and gets all that it commits.</summary>
    public async Task<PostgreSqlServer> StartStandby(params string[] settings)
    {
        var standby = await Folders(Password);
        await standby.Run(
            "pg_basebackup", "-D", standby.Data, "-R", "-X", "stream", "--no-sync", "-c", "fast", "-d",
            $"host=127.0.0.1 port={Port} user={User} password={Password} application_name=standby");
        await standby.Configure(settings);
        await standby.Start();
        return standby;
    }

    /// <summary>The same, and nothing is committed here any more that it does not have.</summary>
    public async Task<PostgreSqlServer> StartSynchronousStandby()
    {
        var standby = await StartStandby();
        await Execute("ALTER SYSTEM SET synchronous_standby_names = '*'");
        await Execute("SELECT pg_reload_conf()");
        for (var i = 0; i < 500 && await Scalar("SELECT sync_state FROM pg_stat_replication") is not "sync"; i++)
        {
            await Task.Delay(20);
        }

        (await Scalar("SHOW synchronous_standby_names")).Should().Be("*");
        (await Scalar("SELECT sync_state FROM pg_stat_replication")).Should().Be("sync");
        return standby;
    }

    /// <summary>Makes an empty database.</summary>
    public async Task<string> CreateDatabase(string name)
    {
        await Execute($"CREATE DATABASE {name} TEMPLATE template0 STRATEGY FILE_COPY");
        return ConnectionString(name);
    }

    public Task DropDatabase(string name) => Execute($"DROP DATABASE {name} WITH (FORCE)");

    public string ConnectionString(string database)
        => $"Host=127.0.0.1;Port={Port};Database={database};Username={User};Password={Password}";

    /// <summary>Runs SQL as the owner of all.</summary>
    public async Task Execute(string sql, string database = "postgres")
    {
        await using var connection = new NpgsqlConnection($"{ConnectionString(database)};Pooling=false");
        await connection.OpenAsync();
        await using var command = new NpgsqlCommand(sql, connection) { CommandTimeout = 60 };
        await command.ExecuteNonQueryAsync();
    }

    /// <summary>The first value of the first row, as text.</summary>
    public async Task<string?> Scalar(string sql)
    {
        await using var connection = new NpgsqlConnection($"{ConnectionString("postgres")};Pooling=false");
        await connection.OpenAsync();
        await using var command = new NpgsqlCommand(sql, connection);
        return (await command.ExecuteScalarAsync())?.ToString();
    }

    /// <summary>Ends the sessions of a role, and takes all that the server has for those that are not superusers, until there are none left.</summary>
    /// <param name="role">Who loses its sessions.</param>
    /// <param name="connectionString">Of another role, on this server.</param>
    /// <param name="taken">Gets the connections, which are the caller's to close.</param>
    public async Task TakeAllConnections(string role, string connectionString, List<NpgsqlConnection> taken)
    {
        // A session that begins or ends takes a place for a moment, and is nobody's yet or any more: a refusal alone does not say that all are taken.
        var all = int.Parse(
            (await Scalar("SELECT current_setting('max_connections')::INT - current_setting('superuser_reserved_connections')::INT"))!, CultureInfo.InvariantCulture);
        var since = Stopwatch.StartNew();
        while (taken.Count < all)
        {
            since.Elapsed.Should().BeLessThan(s_patience);
            await Execute($"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = '{role}'");
            try
            {
                while (taken.Count < all)
                {
                    var connection = new NpgsqlConnection($"{connectionString};Pooling=false");
                    await connection.OpenAsync();
                    taken.Add(connection);
                }
            }
            catch (PostgresException fault) when (fault.SqlState == PostgresErrorCodes.TooManyConnections)
            {
                // Others have the rest.
            }
        }
    }

    public Task Start() => Run("pg_ctl", "-D", Data, "-l", Path.Combine(Folder, "log"), "-w", "-t", "60", "start");

    /// <summary>Stops it: <c>smart</c>, <c>fast</c> (connections are cut) or <c>immediate</c> (as a crash would).</summary>
    public Task Stop(string mode = "fast") => Run("pg_ctl", "-D", Data, "-w", "-t", "60", "-m", mode, "stop");

    public Task Promote() => Run("pg_ctl", "-D", Data, "-w", "-t", "60", "promote");

    /// <summary>Ends all of its processes at once (SIGKILL).</summary>
    public Task Kill() => Signal("KILL");

    /// <summary>Stops all of its processes where they are (SIGSTOP): connections stay, and nobody answers.</summary>
    public Task Freeze() => Signal("STOP");

    public Task Thaw() => Signal("CONT");

    public async ValueTask DisposeAsync()
    {
        if (File.Exists(Path.Combine(Data, "postmaster.pid")))
        {
            await Thaw();
            await Kill();
        }

        Directory.Delete(Folder, recursive: true);
    }

    private static async Task<PostgreSqlServer> Folders(string password)
    {
        Programs.Should().NotBeNull("PostgreSQL is needed: apt-get install postgresql");
        var folder = Directory.CreateTempSubdirectory("token-service-postgres-").FullName;
        if (Environment.IsPrivilegedProcess)
        {
            // PostgreSQL does not run as root.
            (await RunningProgram.Run("chown", ["postgres", folder])).ExitCode.Should().Be(0);
        }

        return new PostgreSqlServer(folder, RunningProgram.FreePort(), password);
    }

    private Task Configure(string[] settings)
    {
        string[] own = [$"port = {Port}", "listen_addresses = '127.0.0.1'", $"unix_socket_directories = '{Folder}'", "shared_buffers = '16MB'"];
        return File.AppendAllLinesAsync(Path.Combine(Data, "postgresql.conf"), [.. own, .. settings]);
    }

    // The main process and those that it made, in no particular order: none of them outlives the main one for long.
    private async Task Signal(string signal)
    {
        var all = new List<int> { Id };
        var children = await RunningProgram.Run("ps", ["-o", "pid=", "--ppid", $"{Id}"]);
        all.AddRange(children.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries)
            .Select(pid => int.Parse(pid, CultureInfo.InvariantCulture)));
        await RunningProgram.Run("kill", [$"-{signal}", .. all.Select(pid => $"{pid}")]);
        if (signal == "KILL")
        {
            var since = Stopwatch.StartNew();
            while (all.Exists(pid => Directory.Exists($"/proc/{pid}") && !File.ReadAllText($"/proc/{pid}/stat").Contains(") Z", StringComparison.Ordinal)))
            {
                since.Elapsed.Should().BeLessThan(s_patience);
                await Task.Delay(10);
            }

            File.Delete(Path.Combine(Data, "postmaster.pid"));
        }
    }

    private async Task Run(string program, params string[] args)
    {
        string[] command = [Path.Combine(Programs!, program), .. args];
        if (Environment.IsPrivilegedProcess)
        {
            command = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", .. command];
        }

        // Not by pipes: the server would inherit them and hold them open.
        var log = Path.Combine(Folder, "commands");
        var start = new ProcessStartInfo("sh", ["-c", "out=$1; shift; exec \"$@\" > \"$out\" 2>&1", "sh", log, .. command]) { WorkingDirectory = Folder };
        using var process = Process.Start(start)!;
        await process.WaitForExitAsync().WaitAsync(s_patience * 2);
        process.ExitCode.Should().Be(0, await File.ReadAllTextAsync(log));
    }
}

/// <summary>A test that needs PostgreSQL's programs; reported as skipped where there are none.</summary>
internal sealed class NeedsPostgreSqlFactAttribute : FactAttribute
{
    public const string Missing = "needs PostgreSQL: apt-get install postgresql";

    public NeedsPostgreSqlFactAttribute()
    {
        if (PostgreSqlServer.Programs is null)
        {
            Skip = Missing;
        }
    }
}

/// <summary>The same with data.</summary>
internal sealed class NeedsPostgreSqlTheoryAttribute : TheoryAttribute
{
    public NeedsPostgreSqlTheoryAttribute()
    {
        if (PostgreSqlServer.Programs is null)
        {
            Skip = NeedsPostgreSqlFactAttribute.Missing;
        }
    }
}

/// <summary>A test that needs other programs (their names separated by spaces) as well; reported as skipped where one is missing.</summary>
internal sealed class NeedsPostgreSqlFactWithAttribute : FactAttribute
{
    public NeedsPostgreSqlFactWithAttribute(string programs, string install)
        => Skip = new NeedsPostgreSqlFactAttribute().Skip ?? new NeedsFactAttribute(programs, install).Skip;
}
