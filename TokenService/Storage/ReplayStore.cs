using System;
using System.Collections.Concurrent;
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
/// <para>One thread writes. What arrives while it waits for the disk goes into the next transaction together, so the disk is waited for
/// once for all of them, and a lone request waits for nobody. Where a commit fails, nobody knows whether it was made: all that were in it are
/// answered with <see cref="ReplayVerdict.Unknown"/>, and none is tried again.</para>
/// <para>A note is kept until the assertion would be refused for its age, and a while longer, for replicas whose clocks are behind. With
/// the notes that go, the store keeps the latest time of all that are gone. An assertion up to there is refused: a clock that ran
/// ahead and was set back cannot bring a used one back to life.</para>
/// </remarks>
public sealed class ReplayStore : IReplayStore, IDisposable
{
    private const int MostAtOnce = 256;
    private const int MostWaiting = 20_000;
    private const int MostRemovedAtOnce = 500;

    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(3);
    private static readonly TimeSpan s_kept = TimeSpan.FromMinutes(1);
    private static readonly TimeSpan s_interval = TimeSpan.FromMinutes(1);

    private readonly DbDataSource _dataSource;
    private readonly TimeProvider _clock;
    private readonly Action<string> _tell;
    private readonly BlockingCollection<Note?> _queue = new(MostWaiting);
    private readonly Thread _writer;
    private readonly ITimer _timer;

    /// <summary>Starts the writer.</summary>
    /// <param name="dataSource">The store, its schema up to date.</param>
    /// <param name="clock">The clock.</param>
    /// <param name="tell">Told each time that the store does not take the notes, and why.</param>
    public ReplayStore(DbDataSource dataSource, TimeProvider clock, Action<string> tell)
    {
        (_dataSource, _clock, _tell) = (dataSource, clock, tell);
        _writer = new Thread(Write) { IsBackground = true, Name = "used assertions" };
        _writer.Start();

        // A note of nothing asks the writer to clean up: it is the only one that writes.
        _timer = clock.CreateTimer(_ => TryAdd(null), null, s_interval, s_interval);
    }

    /// <inheritdoc/>
    public async ValueTask<ReplayVerdict> Use(string clientId, string tokenId, DateTimeOffset keepUntil)
    {
        var note = Note.Of(clientId, tokenId, keepUntil);
        if (!TryAdd(note))
        {
            return ReplayVerdict.Unknown;
        }

        try
        {
            return await note.Verdict.WaitAsync(s_patience);
        }
        catch (TimeoutException)
        {
            return ReplayVerdict.Unknown;
        }
    }

    /// <summary>Whether <see cref="Use"/> would find that an assertion was used before; for whoever looks for faults, never for deciding.</summary>
    internal static bool WasUsed(DbDataSource dataSource, string clientId, string tokenId, DateTimeOffset keepUntil)
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

    /// <summary>Writes what is waiting, and ends.</summary>
    public void Dispose()
    {
        _timer.Dispose();
        _queue.CompleteAdding();
        _writer.Join();
        _queue.Dispose();
    }

    private bool TryAdd(Note? note)
    {
        try
        {
            return _queue.TryAdd(note);
        }
        catch (InvalidOperationException)
        {
            // The service is stopping.
            return false;
        }
    }

    private void Write()
    {
        var batch = new List<Note>(MostAtOnce);
        foreach (var first in _queue.GetConsumingEnumerable())
        {
            var cleanUp = first is null;
            if (first is not null)
            {
                batch.Add(first);
            }

            while (batch.Count < MostAtOnce && _queue.TryTake(out var next))
            {
                cleanUp |= next is null;
                if (next is not null)
                {
                    batch.Add(next);
                }
            }

            if (batch.Count > 0)
            {
                Insert(batch);
                batch.Clear();
            }

            if (cleanUp && RemoveOld() == MostRemovedAtOnce)
            {
                TryAdd(null);
            }
        }
    }

    private void Insert(List<Note> batch)
    {
        try
        {
            StoreTransaction.Write(_dataSource, connection =>
            {
                using var insert = connection.Command(
                    """
                    INSERT INTO used_assertions (client_id, jti_hash, keep_until)
                    SELECT @client, @hash, @keepUntil WHERE @keepUntil > (SELECT keep_until FROM used_assertions_horizon)
                    ON CONFLICT (client_id, jti_hash) DO NOTHING
                    RETURNING 1
                    """,
                    [("@client", ""), ("@hash", Array.Empty<byte>()), ("@keepUntil", 0L)]);
                foreach (var note in batch)
                {
                    insert.Parameters[0].Value = note.ClientId;
                    insert.Parameters[1].Value = note.Hash;
                    insert.Parameters[2].Value = note.KeepUntil;
                    note.IsFirst = insert.ExecuteScalar() is not null;
                }
            });
        }
        catch (Exception fault)
        {
            // Whatever it is: the thread must go on, and nobody may be left waiting.
            batch.ForEach(note => note.Answer(ReplayVerdict.Unknown));
            _tell(fault.Message);
            return;
        }

        batch.ForEach(note => note.Answer(note.IsFirst ? ReplayVerdict.FirstUse : ReplayVerdict.UsedBefore));
    }

    private int RemoveOld()
    {
        List<long> gone = [];
        try
        {
            StoreTransaction.Write(_dataSource, connection =>
            {
                gone = connection.Query(
                    """
                    DELETE FROM used_assertions WHERE (client_id, jti_hash) IN
                        (SELECT client_id, jti_hash FROM used_assertions WHERE keep_until < @until ORDER BY keep_until LIMIT @most)
                    RETURNING keep_until
                    """,
                    row => row.GetInt64(0),
                    ("@until", (_clock.GetUtcNow() - s_kept).ToUnixTimeMilliseconds()),
                    ("@most", MostRemovedAtOnce));
                if (gone.Count > 0)
                {
                    connection.Execute(
                        "UPDATE used_assertions_horizon SET keep_until = @until WHERE keep_until < @until", ("@until", gone.Max()));
                }
            });
        }
        catch (Exception)
        {
            // Tried again with the next tick; a store that cannot be written is told of by those who need it.
            return 0;
        }

        return gone.Count;
    }

    private sealed class Note(string clientId, byte[] hash, long keepUntil)
    {
        // Those who wait go on elsewhere: the writer has the next ones to write.
        private readonly TaskCompletionSource<ReplayVerdict> _verdict = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public static Note Of(string clientId, string tokenId, DateTimeOffset keepUntil)
            => new(clientId, SHA256.HashData(Encoding.UTF8.GetBytes(tokenId)), keepUntil.ToUnixTimeMilliseconds() + 1);

        public string ClientId => clientId;

        public byte[] Hash => hash;

        public long KeepUntil => keepUntil;

        public bool IsFirst { get; set; }

        public Task<ReplayVerdict> Verdict => _verdict.Task;

        public void Answer(ReplayVerdict verdict) => _verdict.TrySetResult(verdict);
    }
}
