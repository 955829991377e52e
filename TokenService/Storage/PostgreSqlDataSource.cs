using System;
using System.Data;
using System.Data.Common;
using System.Diagnostics;
using System.Linq;
using System.Threading;
using System.Threading.Tasks;
using Npgsql;
using TokenService.Protocol;

namespace TokenService.Storage;

/// <summary>Connections to a PostgreSQL database that several replicas share. They share nothing else.</summary>
/// <remarks>
/// Writers take turns by advisory locks, which end with their transactions; a replica that is frozen in the middle of one loses its turn after
/// two seconds where requests wait for it, and after five otherwise. What the driver is told beyond the operator's connection string: how long
/// to wait, so that no request and no watch waits for a server that does not answer; with several hosts, to look for the one that takes writes,
/// and to look again each second. The driver forgets a host that did not answer in time, and would begin with it each time: a slow connection
/// makes the next ones begin with the next host.
/// </remarks>
public sealed class PostgreSqlDataSource : StoreDataSource
{
    private const string Channel = "token_service";

    // Any number that no other program of the database uses: "TokS".
    internal const int LockSpace = 0x546F6B53;

    private const int OldestMajorVersion = 13;
    private const int WaitSeconds = 2;
    private const int LongWaitSeconds = 10;

    // Shorter than the others wait: who is frozen, or gone with the machine, has no turn for longer than that.
    private const int IdleTurnSeconds = 5;

    // How long there may be no announcement before the connection is tried.
    private static readonly TimeSpan s_silence = TimeSpan.FromSeconds(20);

    // A server that cannot know that a replica is gone, or that the network has forgotten a connection, would keep its session for hours, and with a
    // few of those there is no connection left for anybody. No session of a replica that lives is idle for as long: the watch uses one after the
    // other, at least once a second, and the one that hears is tried.
    private const int LeastIdleSeconds = 30;

    // The fewest that leave one for whatever needs one: hearing, watching, three writers, rotation, the declarative file, uses.
    private const int LeastPoolSize = 8;

    private static readonly TimeSpan s_slow = TimeSpan.FromSeconds(1);

    // One for each host to begin with.
    private readonly NpgsqlDataSource[] _orders;
    private readonly Lock _lock = new();
    private string? _identity;
    private int _followed;
    private int _order;

    private PostgreSqlDataSource(NpgsqlDataSource[] orders, string name) => (_orders, Name) = (orders, name);

    /// <inheritdoc/>
    public override string ConnectionString => _orders[0].ConnectionString;

    /// <inheritdoc/>
    public override string Name { get; }

    internal override string? OwnMasterKeyFile => null;

    internal override string Migrations => "PostgreSql";

    /// <summary>Opens the store.</summary>
    /// <param name="connectionString">As Npgsql takes it.</param>
    /// <exception cref="OperatorFaultException">The connection string or the server is not fit, or does not answer.</exception>
    public static PostgreSqlDataSource Open(string? connectionString)
    {
        var (orders, name) = Parse(connectionString ?? "");
        var store = new PostgreSqlDataSource(orders, name);
        try
        {
            using var connection = store.OpenPatiently();
            if (((NpgsqlConnection)connection).PostgreSqlVersion.Major < OldestMajorVersion)
            {
                throw new OperatorFaultException($"The store {name} is PostgreSQL {connection.ServerVersion}; {OldestMajorVersion} or later is needed.");
            }

            if (connection.QuerySingle<string>("SHOW server_encoding") is not "UTF8" and var encoding)
            {
                throw new OperatorFaultException($"The store {name} has the encoding {encoding}; make the database with UTF8.");
            }
        }
        catch (DbException fault)
        {
            store.Dispose();
            throw new OperatorFaultException($"The store {name} cannot be opened: {StoreTransaction.Reason(fault)}{StoreFault.Advice(fault)}", fault);
        }

        return store;
    }

    // Not by to_regclass: it does not see what another connection made while this transaction waited.
    internal override bool HasTable(DbConnection connection, string name) => connection.Query(
        "SELECT COUNT(*) FROM pg_tables WHERE schemaname = current_schema() AND tablename = @name", row => row.GetInt64(0), ("@name", name))[0] == 1;

    internal override DbTransaction BeginRead(DbConnection connection) => connection.BeginTransaction(IsolationLevel.RepeatableRead);

    internal override DbTransaction BeginWrite(DbConnection connection, Turn turn)
    {
        // Each statement sees what was committed before it: also what the one before has written that this one waited for.
        var transaction = connection.BeginTransaction(IsolationLevel.ReadCommitted);

        // No request waits for the other turns, and one before may have a large file to write. A replica that stops answering, or that is cut off,
        // in the middle of a turn that requests wait for must not hold up the others for long. A start that is slow on a busy machine holds up starts alone.
        var requestsWait = turn.Number == Turn.Assertions.Number || turn == Turn.Revocations;

        // A server that is set up to acknowledge what is not yet on its disk must not do so here. The message makes the commit wait for the standbys
        // even where nothing is changed: what is found as it should be may be there only because a commit before was cancelled while it waited,
        // and the server has kept it without them.
        using var wait = connection.Command(
            $"""
            SELECT set_config('idle_in_transaction_session_timeout', '{(requestsWait ? WaitSeconds : turn == Turn.Migrations ? LeastIdleSeconds : IdleTurnSeconds)}s', true),
                CASE current_setting('synchronous_commit') WHEN 'off' THEN set_config('synchronous_commit', 'on', true) END,
                pg_logical_emit_message(true, 'token_service', ''),
                {(turn.Together ? "pg_advisory_xact_lock_shared" : "pg_advisory_xact_lock")}({LockSpace}, {turn.Number})
            """,
            []);
        if (!requestsWait)
        {
            wait.CommandTimeout = LongWaitSeconds;
        }

        wait.ExecuteNonQuery();
        return transaction;
    }

    internal override int Follow()
    {
        // A server that was restarted, promoted or restored has another time; a table that was restored has another number.
        var identity = StoreTransaction.Read(this, connection => connection.QuerySingle<string>(
            "SELECT EXTRACT(EPOCH FROM pg_postmaster_start_time())::TEXT || ' ' || 'revoked_tokens'::REGCLASS::OID::TEXT"));
        lock (_lock)
        {
            if (identity != _identity)
            {
                _identity = identity;
                _followed++;
            }

            return _followed;
        }
    }

    internal override void Announce(DbConnection connection) => connection.Execute($"NOTIFY {Channel}");

    internal override async Task Listen(Action changed, CancellationToken stopping)
    {
        await using var connection = await _orders[Volatile.Read(ref _order)].OpenConnectionAsync(stopping);
        connection.Notification += (_, _) => changed();
        await using var listen = new NpgsqlCommand($"LISTEN {Channel}", connection);
        await listen.ExecuteNonQueryAsync(stopping);
        changed();
        while (true)
        {
            if (!await connection.WaitAsync(s_silence, stopping))
            {
                await using var probe = new NpgsqlCommand("SELECT 1", connection);
                await probe.ExecuteNonQueryAsync(stopping);
            }
        }
    }

    // Idle connections to a server that was restarted are dead, and each would fail once.
    internal override void Doubt()
    {
        foreach (var order in _orders)
        {
            order.Clear();
        }
    }

    /// <inheritdoc/>
    protected override DbConnection CreateDbConnection() => _orders[0].CreateConnection();

    /// <inheritdoc/>
    protected override DbConnection OpenDbConnection()
    {
        var (order, since) = (Volatile.Read(ref _order), Stopwatch.GetTimestamp());
        try
        {
            return _orders[order].OpenConnection();
        }
        finally
        {
            if (Stopwatch.GetElapsedTime(since) >= s_slow
                && _orders.Length > 1
                && Interlocked.CompareExchange(ref _order, (order + 1) % _orders.Length, order) == order)
            {
                // Nobody uses what is in there any more, and the server ends what is idle.
                _orders[order].Clear();
            }
        }
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            foreach (var order in _orders)
            {
                order.Dispose();
            }
        }

        base.Dispose(disposing);
    }

    // No request waits for a start or a command: on a busy machine they may take longer.
    private DbConnection OpenPatiently()
    {
        var since = Stopwatch.GetTimestamp();
        while (true)
        {
            try
            {
                return OpenConnection();
            }
            catch (NpgsqlException fault) when (IsTimeout(fault) && Stopwatch.GetElapsedTime(since) < TimeSpan.FromSeconds(LongWaitSeconds - WaitSeconds))
            {
                // Once more.
            }
        }
    }

    // The settings that this version of the server has: 13 has none for sessions outside of a transaction.
    private static NpgsqlCommand IdlenessLimits(NpgsqlConnection connection) => new(
        $"""
        SELECT set_config(name, '{Math.Max(LeastIdleSeconds, 2 * new NpgsqlConnectionStringBuilder(connection.ConnectionString).MaxPoolSize)}s', false) FROM pg_settings
        WHERE name IN ('idle_session_timeout', 'idle_in_transaction_session_timeout')
        """,
        connection);

    private static void LimitIdleness(NpgsqlConnection connection)
    {
        using var limits = IdlenessLimits(connection);
        limits.ExecuteNonQuery();
    }

    private static async Task LimitIdlenessAsync(NpgsqlConnection connection)
    {
        await using var limits = IdlenessLimits(connection);
        await limits.ExecuteNonQueryAsync();
    }

    // With several hosts, there is one for each.
    private static bool IsTimeout(Exception? fault)
        => fault is TimeoutException || (fault is AggregateException all ? all.InnerExceptions.Any(IsTimeout) : fault is not null && IsTimeout(fault.InnerException));

    private static (NpgsqlDataSource[] Orders, string Name) Parse(string connectionString)
    {
        const string Accepted = "accepted: \"Host=\", \"Database=\", \"Username=\" and more, as Npgsql takes it; several hosts separated by commas";
        NpgsqlSlimDataSourceBuilder builder;
        try
        {
            builder = new NpgsqlSlimDataSourceBuilder(connectionString);
        }
        catch (Exception fault) when (fault is ArgumentException or FormatException or NotSupportedException)
        {
            // Not the message of the fault: it may repeat a part of the string, and that may be a password.
            throw new OperatorFaultException($"ConnectionStrings:TokenService is malformed; {Accepted}.", fault);
        }

        var settings = builder.ConnectionStringBuilder;
        if (string.IsNullOrEmpty(settings.Host) || string.IsNullOrEmpty(settings.Database))
        {
            throw new OperatorFaultException($"ConnectionStrings:TokenService names no host or no database; {Accepted}.");
        }

        Preset("Application Name", () => settings.ApplicationName = "TokenService");
        Preset("Timeout", () => settings.Timeout = WaitSeconds);
        Preset("Command Timeout", () => settings.CommandTimeout = WaitSeconds);

        // Or else each connection is made twice, first for Kerberos, whose library looks for the server's name and waits for seconds where nobody
        // answers it, whatever the timeout.
        Preset("GSS Encryption Mode", () => settings.GssEncryptionMode = GssEncryptionMode.Disable);

        if (settings.Timeout < WaitSeconds || settings.CommandTimeout < 1 || (settings.MaxPoolSize < LeastPoolSize && settings.ShouldSerialize("Maximum Pool Size")))
        {
            throw new OperatorFaultException(
                $"ConnectionStrings:TokenService waits without end, or has too few connections; accepted: Timeout from {WaitSeconds}, Command Timeout from 1, Maximum Pool Size from {LeastPoolSize}.");
        }

        // Whatever the operator says: a commit that waits for a standby, and is cancelled because it takes too long, is acknowledged by the
        // server without the standby, which has it on its own disk and shows it to all. So what is cancelled ends its connection, and nobody
        // reads what the server answers after that.
        settings.CancellationTimeout = -1;

        // What is set once for a session stays. Nothing else is left in one: locks and settings end with their transactions.
        settings.NoResetOnClose = true;
        Preset("Maximum Pool Size", () => settings.MaxPoolSize = 16);
        if (settings.Host.Contains(',', StringComparison.Ordinal))
        {
            Preset("Target Session Attributes", () => settings.TargetSessionAttributes = "read-write");
            Preset("Host Recheck Seconds", () => settings.HostRecheckSeconds = 1);
        }

        try
        {
            var hosts = settings.Host.Split(',');
            var orders = Enumerable.Range(0, hosts.Length).Select(first =>
            {
                var order = new NpgsqlSlimDataSourceBuilder(settings.ConnectionString);
                order.ConnectionStringBuilder.Host = string.Join(',', hosts[first..].Concat(hosts[..first]));
                order.UsePhysicalConnectionInitializer(LimitIdleness, LimitIdlenessAsync);
                return order.EnableTransportSecurity().Build();
            });
            return ([.. orders], $"{settings.Database} at {settings.Host}{(settings.Host.Contains(':', StringComparison.Ordinal) ? "" : $":{settings.Port}")}");
        }
        catch (Exception fault) when (fault is ArgumentException or InvalidOperationException or NotSupportedException)
        {
            throw new OperatorFaultException($"ConnectionStrings:TokenService contradicts itself; {Accepted}.", fault);
        }

        // What the operator says goes first.
        void Preset(string keyword, Action set)
        {
            if (!settings.ShouldSerialize(keyword))
            {
                set();
            }
        }
    }
}
