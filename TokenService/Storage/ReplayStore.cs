using System;
using System.Collections.Generic;
using System.Data.Common;
using System.Linq;
using System.Security.Cryptography;
using System.Text;
using System.Threading;
using System.Threading.Tasks;
using TokenService.Authentication;

namespace TokenService.Storage;

/// <summary>Notes used assertions in the store, many in one transaction, and removes the notes that have had their time.</summary>
/// <remarks>
/// <para>Whether a <c>jti</c> is new is decided by the insert under the primary key and by nothing before it: of any number of requests
/// at once, in any number of processes, one inserts the row. The answer is the row that the insert gives back, not a count of rows.</para>
/// <para>A note is kept until the assertion would be refused for its age, and a while longer, for replicas whose clocks are behind. With
/// the notes that go, the store keeps the latest time of all that are gone. An assertion up to there is refused: a clock that ran
/// ahead and was set back cannot bring a used one back to life, and at worst refuses all for some eleven minutes.</para>
/// </remarks>
public sealed class ReplayStore : IReplayStore, IDisposable
{
    // With the second for which a request may wait for a processor, less than the three that none may take.
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(1.5);
    private static readonly TimeSpan s_kept = TimeSpan.FromMinutes(1);
    private static readonly TimeSpan s_farthest = AssertionRules.LongestLifetime + (2 * AssertionRules.Skew);

    private static readonly Comparer<byte[]> s_byHash = Comparer<byte[]>.Create((one, other) => one.AsSpan().SequenceCompareTo(other));

    // All rows are read for it.
    private static readonly TimeSpan s_countedEach = TimeSpan.FromSeconds(30);

    private readonly StoreDataSource _dataSource;
    private readonly TimeProvider _clock;
    private readonly GroupCommit<Note> _notes;
    private readonly Lock _counting = new();
    private long _counted;
    private long? _countedAt;

    /// <summary>Starts the writer.</summary>
    /// <param name="dataSource">The store, its schema up to date.</param>
    /// <param name="clock">The clock.</param>
    /// <param name="tell">Told when the store begins not to take the notes, and why; and, with nothing, when it takes them again.</param>
    public ReplayStore(StoreDataSource dataSource, TimeProvider clock, Action<StoreFault?> tell)
        => (_dataSource, _clock, _notes) = (dataSource, clock, new(dataSource, "used assertions", clock, s_patience, Turn.Assertions, Turn.OldAssertions, Insert, RemoveOld, Probe, tell));

    /// <inheritdoc/>
    public async ValueTask<ReplayVerdict> Use(string clientId, string tokenId, DateTimeOffset keepUntil)
    {
        var note = Note.Of(clientId, tokenId, keepUntil);
        return !await _notes.Write(note) ? ReplayVerdict.Unknown
            : note.IsFirst ? ReplayVerdict.FirstUse
            : ReplayVerdict.UsedBefore;
    }

    /// <summary>
    /// How many used assertions are noted, by all replicas. Counted again where that was done more than half a minute ago; while the store does not
    /// answer, it is what was counted last.
    /// </summary>
    public long Count()
    {
        lock (_counting)
        {
            if (_countedAt is { } at && _clock.GetElapsedTime(at) < s_countedEach)
            {
                return _counted;
            }

            _countedAt = _clock.GetTimestamp();
            try
            {
                _counted = StoreTransaction.Read(_dataSource, connection => connection.QuerySingle<long>("SELECT count(*) FROM used_assertions"));
            }
            catch (StoreUnavailableException)
            {
                // The watch tells of it.
            }

            return _counted;
        }
    }

    /// <summary>Whether <see cref="Use"/> would find that an assertion was used before; for whoever looks for faults, never for deciding.</summary>
    internal static bool WasUsed(StoreDataSource dataSource, string clientId, string tokenId, DateTimeOffset keepUntil)
    {
        var note = Note.Of(clientId, tokenId, keepUntil);
        return StoreTransaction.Read(dataSource, connection => connection.Query(
            """
            SELECT 1 WHERE EXISTS (SELECT 1 FROM used_assertions WHERE client_id = @client AND jti_hash = @hash)
                OR @keepUntil <= (SELECT keep_until FROM used_assertions_horizon)
            """,
            row => true,
            ("@client", note.ClientId),
            ("@hash", note.Hash),
            ("@keepUntil", note.KeepUntil))).Count > 0;
    }

    /// <summary>Writes what is waiting, as far as the store takes it in time, and ends.</summary>
    public void Dispose() => _notes.Dispose();

    private void Insert(DbConnection connection, IEnumerable<Note> notes)
    {
        // Only a clock that ran far ahead leaves a horizon that far away. Past this one, nothing that was used before now is good.
        connection.Execute(
            "UPDATE used_assertions_horizon SET keep_until = @until WHERE keep_until > @until",
            ("@until", (_clock.GetUtcNow() + s_farthest).ToUnixTimeMilliseconds()));

        // In one order on all replicas: two that hold what the other waits for would never end. In one statement, since each costs a way to the
        // server and back; of two equal ones in it the first is inserted.
        var ordered = notes.OrderBy(note => note.ClientId, StringComparer.Ordinal).ThenBy(note => note.Hash, s_byHash).ToList();
        var rows = string.Join(", ", ordered.Select((_, row) => $"(@client{row}, @hash{row}, @keepUntil{row})"));
        using var insert = connection.Command(
            $"""
            INSERT INTO used_assertions (client_id, jti_hash, keep_until)
            SELECT column1, column2, column3 FROM (VALUES {rows}) AS notes
            WHERE column3 > (SELECT keep_until FROM used_assertions_horizon)
            ON CONFLICT (client_id, jti_hash) DO NOTHING
            RETURNING client_id, jti_hash, keep_until
            """,
            [.. ordered.SelectMany((note, row) => ((string, object?)[])[($"@client{row}", note.ClientId), ($"@hash{row}", note.Hash), ($"@keepUntil{row}", note.KeepUntil)])]);
        using var inserted = insert.ExecuteReader();
        while (inserted.Read())
        {
            var (client, hash, keepUntil) = (inserted.GetString(0), inserted.GetFieldValue<byte[]>(1), inserted.GetInt64(2));
            ordered.Find(note => note.KeepUntil == keepUntil && note.ClientId == client && note.Hash.AsSpan().SequenceEqual(hash))!.IsFirst = true;
        }
    }

    private static void Probe(DbConnection connection)
    {
        connection.Execute("INSERT INTO used_assertions (client_id, jti_hash, keep_until) VALUES ('', @hash, 0)", ("@hash", RandomNumberGenerator.GetBytes(32)));
        connection.Execute("DELETE FROM used_assertions WHERE client_id = ''");
    }

    private int RemoveOld(DbConnection connection, int most)
    {
        var gone = connection.Query(
            """
            DELETE FROM used_assertions WHERE (client_id, jti_hash) IN
                (SELECT client_id, jti_hash FROM used_assertions WHERE keep_until < @until ORDER BY keep_until LIMIT @most)
            RETURNING keep_until
            """,
            row => row.GetInt64(0),
            ("@until", (_clock.GetUtcNow() - s_kept).ToUnixTimeMilliseconds()),
            ("@most", most));
        if (gone.Count > 0)
        {
            connection.Execute("UPDATE used_assertions_horizon SET keep_until = @until WHERE keep_until < @until", ("@until", gone.Max()));
        }

        return gone.Count;
    }

    private sealed class Note(string clientId, byte[] hash, long keepUntil)
    {
        public static Note Of(string clientId, string tokenId, DateTimeOffset keepUntil)
            => new(clientId, SHA256.HashData(Encoding.UTF8.GetBytes(tokenId)), keepUntil.ToUnixTimeMilliseconds() + 1);

        public string ClientId => clientId;

        public byte[] Hash => hash;

        public long KeepUntil => keepUntil;

        public bool IsFirst { get; set; }
    }
}
