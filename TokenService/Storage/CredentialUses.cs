using System;
using System.Collections.Concurrent;
using System.Collections.Generic;
using System.Collections.Immutable;
using System.Data.Common;
using System.Linq;
using System.Threading;
using TokenService.Authentication;

namespace TokenService.Storage;

/// <summary>When one credential of a client was last used.</summary>
/// <param name="ClientId">The client.</param>
/// <param name="Credential">The secret or key, as <see cref="AuthenticatedClient"/> names it.</param>
/// <param name="LastUsedAt">To the second.</param>
public sealed record CredentialUse(string ClientId, string Credential, DateTimeOffset LastUsedAt);

/// <summary>Remembers when each client, and each of its secrets and keys, was last used: that tells an operator when an old one can go.</summary>
/// <remarks>
/// A request leaves its time in memory and never waits. What is there is written once a minute and when the service stops, many rows in one
/// transaction and not all of them, so that nobody waits long for the store. A store that does not take it costs nothing but the knowledge:
/// the times stay in memory for the next minute. A crash loses the last minute.
/// </remarks>
public sealed class CredentialUses : IDisposable
{
    /// <summary>How many credentials of one client are remembered: one with a <c>jwks_uri</c> can have ever new ones.</summary>
    public const int MostOfAClient = 100;

    private const int MostHeld = 100_000;
    private const int MostAtOnce = 100;

    private static readonly TimeSpan s_interval = TimeSpan.FromMinutes(1);

    // Seconds since 1970.
    private readonly ConcurrentDictionary<(string ClientId, string Credential), long> _held = new();
    private readonly StoreDataSource _dataSource;
    private readonly Action<string> _tell;
    private readonly ITimer _timer;
    private readonly Lock _writing = new();
    private Thread? _writer;
    private int _count;

    /// <summary>Starts with nothing.</summary>
    /// <param name="dataSource">The store, its schema up to date.</param>
    /// <param name="clock">Says when a minute is over.</param>
    /// <param name="tell">Told each time that the store does not take the times, and why.</param>
    public CredentialUses(StoreDataSource dataSource, TimeProvider clock, Action<string> tell)
    {
        (_dataSource, _tell) = (dataSource, tell);
        _timer = clock.CreateTimer(_ => WriteInTime(), null, s_interval, s_interval);
    }

    /// <summary>Notes that a client has just proved itself. It allocates nothing, but for the first use in a minute.</summary>
    /// <param name="client">The client, and what it proved itself with.</param>
    /// <param name="now">The time of the request.</param>
    public void Note(AuthenticatedClient client, DateTimeOffset now)
    {
        var (key, seconds) = ((client.Client.ClientId, client.Credential), now.ToUnixTimeSeconds());
        if (!_held.TryGetValue(key, out var held))
        {
            // A count of its own: that of the dictionary takes all its locks.
            if (Volatile.Read(ref _count) < MostHeld && _held.TryAdd(key, seconds))
            {
                Interlocked.Increment(ref _count);
            }
        }
        else if (held < seconds)
        {
            _held.TryUpdate(key, seconds, held);
        }
    }

    /// <summary>All uses as this process knows them, in no particular order: those that were written, or were held here since.</summary>
    /// <exception cref="StoreUnavailableException">The store does not answer.</exception>
    public ImmutableArray<CredentialUse> Read()
    {
        var held = _held.Select(use => new CredentialUse(use.Key.ClientId, use.Key.Credential, DateTimeOffset.FromUnixTimeSeconds(use.Value)));
        return [.. Read(_dataSource).Concat(held).GroupBy(use => (use.ClientId, use.Credential), (_, uses) => uses.MaxBy(use => use.LastUsedAt)!)];
    }

    /// <summary>All that was written, in no particular order.</summary>
    /// <param name="dataSource">The store.</param>
    /// <exception cref="StoreUnavailableException">The store does not answer.</exception>
    public static ImmutableArray<CredentialUse> Read(StoreDataSource dataSource) => StoreTransaction.Read(dataSource, connection =>
        connection.Query("SELECT client_id, credential, last_used_at FROM credential_uses", row => new CredentialUse(
            row.GetString(0), row.GetString(1), DateTimeOffset.FromUnixTimeMilliseconds(row.GetInt64(2)))).ToImmutableArray());

    /// <summary>Writes what is held, and ends.</summary>
    public void Dispose()
    {
        _timer.Dispose();
        _writer?.Join();
        Write();
    }

    // Many transactions wait for the disk many times, and must not do so on the threads that answer requests.
    private void WriteInTime()
    {
        if (_writer is { IsAlive: true })
        {
            return;
        }

        if (Volatile.Read(ref _count) <= MostAtOnce)
        {
            Write();
        }
        else
        {
            _writer = new Thread(Write) { IsBackground = true, Name = "times of use" };
            _writer.Start();
        }
    }

    private void Write()
    {
        lock (_writing)
        {
            try
            {
                foreach (var batch in _held.ToArray().Chunk(MostAtOnce))
                {
                    StoreTransaction.Write(_dataSource, Turn.Registry, connection => Write(connection, batch));
                    foreach (var written in batch)
                    {
                        // Only if it was not used again meanwhile.
                        if (_held.TryRemove(written))
                        {
                            Interlocked.Decrement(ref _count);
                        }
                    }
                }
            }
            catch (Exception fault)
            {
                // Whatever it is: no token depends on it.
                _tell(fault.Message);
            }
        }
    }

    private static void Write(DbConnection connection, KeyValuePair<(string ClientId, string Credential), long>[] batch)
    {
        // A client may have gone meanwhile, and another replica may have seen a later use.
        using var insert = connection.Command(
            """
            INSERT INTO credential_uses (client_id, credential, last_used_at)
            SELECT @client, @credential, @at WHERE EXISTS (SELECT 1 FROM clients WHERE client_id = @client)
            ON CONFLICT (client_id, credential) DO UPDATE SET last_used_at = excluded.last_used_at WHERE excluded.last_used_at > credential_uses.last_used_at
            """,
            [("@client", ""), ("@credential", ""), ("@at", 0L)]);
        foreach (var (key, seconds) in batch)
        {
            insert.Parameters[0].Value = key.ClientId;
            insert.Parameters[1].Value = key.Credential;
            insert.Parameters[2].Value = seconds * 1000;
            insert.ExecuteNonQuery();
        }

        using var delete = connection.Command(
            """
            DELETE FROM credential_uses WHERE client_id = @client AND credential NOT IN
                (SELECT credential FROM credential_uses WHERE client_id = @client ORDER BY last_used_at DESC, credential LIMIT @most)
            """,
            [("@client", ""), ("@most", MostOfAClient)]);
        foreach (var clientId in batch.Select(use => use.Key.ClientId).Distinct(StringComparer.Ordinal))
        {
            delete.Parameters[0].Value = clientId;
            delete.ExecuteNonQuery();
        }
    }
}
