using System;
using System.Collections.Concurrent;
using System.Collections.Generic;
using System.Threading;
using TokenService.Operations;

namespace TokenService.Storage;

/// <summary>Keeps the last refusals in the store, so that an operator can ask for one by its trace id.</summary>
/// <remarks>
/// One thread writes, a few times a second at most and many in one transaction. A request only puts its refusal into a queue and never waits:
/// where the queue is full, because of a flood or of a store that takes nothing, the refusal is dropped and counted, and what was dropped is
/// told once a minute.
/// </remarks>
public sealed class RefusalStore : IDisposable
{
    /// <summary>How many are kept.</summary>
    public const int MostKept = 10_000;

    /// <summary>How many wait to be written, at most.</summary>
    internal const int MostWaiting = 4_096;

    private const int MostAtOnce = 512;
    private const int MostRemovedAtOnce = 1_024;

    // Of one trace id: a caller may give the same to all of its requests.
    private const int MostTold = 20;

    private static readonly TimeSpan s_pause = TimeSpan.FromMilliseconds(250);
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan s_interval = TimeSpan.FromMinutes(1);

    private readonly StoreDataSource _dataSource;
    private readonly Action<long, string> _tell;
    private readonly BlockingCollection<Refusal> _queue = new(MostWaiting);
    private readonly ManualResetEventSlim _stopping = new();
    private readonly Thread _writer;
    private readonly ITimer _timer;
    private long _dropped;
    private volatile string? _fault;

    /// <summary>Starts the writer.</summary>
    /// <param name="dataSource">The store, its schema up to date.</param>
    /// <param name="clock">Its monotonic time says when to tell.</param>
    /// <param name="tell">Told how many were dropped, and why; once a minute, where any were.</param>
    public RefusalStore(StoreDataSource dataSource, TimeProvider clock, Action<long, string> tell)
    {
        (_dataSource, _tell) = (dataSource, tell);
        _writer = new Thread(Write) { IsBackground = true, Name = "refusals" };
        _writer.Start();
        _timer = clock.CreateTimer(_ => Tell(), null, s_interval, s_interval);
    }

    /// <summary>Keeps a refusal, or drops it. Never waits, never fails.</summary>
    public void Keep(Refusal refusal)
    {
        try
        {
            if (_queue.TryAdd(refusal))
            {
                return;
            }
        }
        catch (InvalidOperationException)
        {
            // The service is stopping.
        }

        Interlocked.Increment(ref _dropped);
    }

    /// <summary>Writes what is waiting, and ends.</summary>
    public void Dispose()
    {
        _timer.Dispose();
        _queue.CompleteAdding();
        _stopping.Set();
        if (!_writer.Join(s_patience))
        {
            // The store is locked. The thread ends with the process, or when the lock does.
            Interlocked.Add(ref _dropped, _queue.Count);
        }

        Tell();
    }

    /// <summary>The refusals under a trace id, the oldest first; the last few where there are many.</summary>
    internal static List<Refusal> Find(StoreDataSource dataSource, string traceId) => Read(
        dataSource,
        "id IN (SELECT id FROM refusals WHERE trace_id = @trace ORDER BY id DESC LIMIT @most) ORDER BY id",
        ("@trace", traceId),
        ("@most", MostTold));

    /// <summary>The last refusals that are written, the newest first.</summary>
    internal static List<Refusal> Last(StoreDataSource dataSource, int most) => Read(
        dataSource,
        "id IN (SELECT id FROM refusals ORDER BY id DESC LIMIT @most) ORDER BY id DESC",
        ("@most", most));

    private static List<Refusal> Read(StoreDataSource dataSource, string which, params (string Name, object? Value)[] parameters)
        => StoreTransaction.Read(dataSource, connection => connection.Query(
            $"SELECT trace_id, refused_at, endpoint, address, client_id, error, failed_check, expected, came FROM refusals WHERE {which}",
            row => new Refusal
            {
                TraceId = row.GetString(0),
                Time = DateTimeOffset.FromUnixTimeMilliseconds(row.GetInt64(1)),
                Endpoint = row.GetString(2),
                Address = row.GetString(3),
                ClientId = row.GetText(4),
                Error = row.GetString(5),
                Failed = new(row.GetString(6), row.GetString(7), row.GetString(8)),
            },
            parameters));

    private void Write()
    {
        var batch = new List<Refusal>(MostAtOnce);
        while (batch.Count > 0 || _queue.TryTake(out var first, Timeout.Infinite) && Add(first))
        {
            // What comes in the meantime shares the transaction, and a flood costs no more than a few of them a second.
            _stopping.Wait(s_pause);
            while (batch.Count < MostAtOnce && _queue.TryTake(out var next))
            {
                batch.Add(next);
            }

            if (Insert(batch))
            {
                batch.Clear();
            }
            else if (_stopping.IsSet)
            {
                Interlocked.Add(ref _dropped, batch.Count + _queue.Count);
                return;
            }
        }

        bool Add(Refusal refusal)
        {
            batch.Add(refusal);
            return true;
        }
    }

    private bool Insert(List<Refusal> batch)
    {
        try
        {
            StoreTransaction.Write(_dataSource, Turn.Refusals, connection =>
            {
                using var insert = connection.Command(
                    """
                    INSERT INTO refusals (trace_id, refused_at, endpoint, address, client_id, error, failed_check, expected, came)
                    VALUES (@trace, @at, @endpoint, @address, @client, @error, @check, @expected, @came)
                    """,
                    [
                        ("@trace", ""), ("@at", 0L), ("@endpoint", ""), ("@address", ""), ("@client", ""), ("@error", ""), ("@check", ""),
                        ("@expected", ""), ("@came", ""),
                    ]);
                foreach (var refusal in batch)
                {
                    object?[] values =
                    [
                        refusal.TraceId, refusal.Time.ToUnixTimeMilliseconds(), refusal.Endpoint, refusal.Address, refusal.ClientId, refusal.Error,
                        refusal.Failed.Name, refusal.Failed.Expected, refusal.Failed.Came,
                    ];
                    for (var i = 0; i < values.Length; i++)
                    {
                        insert.Parameters[i].Value = values[i] ?? DBNull.Value;
                    }

                    insert.ExecuteNonQuery();
                }

                // More at once than come at once, so that the table never grows.
                connection.Execute(
                    """
                    DELETE FROM refusals WHERE id IN
                        (SELECT id FROM refusals WHERE id <= (SELECT MAX(id) FROM refusals) - @kept ORDER BY id LIMIT @most)
                    """,
                    ("@kept", MostKept),
                    ("@most", MostRemovedAtOnce));
            });
            _fault = null;
            return true;
        }
        catch (Exception fault)
        {
            // Whatever it is: the thread must go on. The same are tried again; a commit in doubt keeps some of them twice.
            _fault = fault.Message;
            return false;
        }
    }

    private void Tell()
    {
        if (Interlocked.Exchange(ref _dropped, 0) is > 0 and var dropped)
        {
            _tell(dropped, _fault ?? "There were more than the store takes in that time.");
        }
    }
}
