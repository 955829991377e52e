using System;
using System.Collections.Concurrent;
using System.Collections.Generic;
using System.Data.Common;
using System.Linq;
using System.Threading;
using System.Threading.Tasks;

namespace TokenService.Storage;

/// <summary>Writes notes that requests wait for, many in one transaction, and removes those that have had their time.</summary>
/// <remarks>
/// One thread writes. What arrives while it waits for the disk goes into the next transaction together, so the disk is waited for
/// once for all of them, and a lone request waits for nobody. Where a commit fails, nobody knows whether it was made: all that were in it are
/// told so, and none is tried again.
/// <para>While the store takes nothing, or takes too long, one request at a time tries it and all others are refused at once. Where
/// no request comes, the writer tries by itself, so that it is known when the store takes notes again.</para>
/// </remarks>
/// <typeparam name="TNote">What is written.</typeparam>
internal sealed class GroupCommit<TNote> : IDisposable
{
    private const int MostAtOnce = 256;
    private const int MostWaiting = 20_000;
    private const int MostRemovedAtOnce = 500;

    private static readonly TimeSpan s_retry = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan s_interval = TimeSpan.FromMinutes(1);

    private readonly StoreDataSource _dataSource;
    private readonly TimeSpan _patience;
    private readonly Turn _turn;
    private readonly Turn _removalTurn;
    private readonly Action<DbConnection, IEnumerable<TNote>> _insert;
    private readonly Func<DbConnection, int, int> _removeOld;
    private readonly Action<DbConnection> _probe;
    private readonly Action<StoreFault?> _tell;
    private readonly BlockingCollection<Waiting?> _queue = new(MostWaiting);
    private readonly Thread _writer;
    private readonly ITimer _timer;
    private readonly Lock _telling = new();
    private volatile bool _failing;
    private int _trying;

    /// <summary>Starts the writer.</summary>
    /// <param name="dataSource">The store, its schema up to date.</param>
    /// <param name="name">What the thread is called.</param>
    /// <param name="clock">Says when to clean up.</param>
    /// <param name="patience">How long a request waits at most.</param>
    /// <param name="turn">Which writers the inserts wait for.</param>
    /// <param name="removalTurn">And the removals.</param>
    /// <param name="insert">Writes notes, in a transaction.</param>
    /// <param name="removeOld">Removes, in a transaction, at most so many notes that have had their time, and says how many it were.</param>
    /// <param name="probe">Writes a note of nobody and takes it away again, in a transaction.</param>
    /// <param name="tell">Told when the store begins not to take notes, and why; and, with nothing, when it takes them again.</param>
    public GroupCommit(
        StoreDataSource dataSource,
        string name,
        TimeProvider clock,
        TimeSpan patience,
        Turn turn,
        Turn removalTurn,
        Action<DbConnection, IEnumerable<TNote>> insert,
        Func<DbConnection, int, int> removeOld,
        Action<DbConnection> probe,
        Action<StoreFault?> tell)
    {
        (_dataSource, _patience, _turn, _removalTurn, _insert, _removeOld, _probe, _tell) = (dataSource, patience, turn, removalTurn, insert, removeOld, probe, tell);
        _writer = new Thread(Write) { IsBackground = true, Name = name };
        _writer.Start();

        // A note of nothing asks the writer to clean up: it is the only one that writes.
        _timer = clock.CreateTimer(_ => TryAdd(null), null, s_interval, s_interval);
    }

    /// <summary>Writes a note, together with those of others.</summary>
    /// <returns>Whether it is there and survives a crash; where not, it is in doubt.</returns>
    public async ValueTask<bool> Write(TNote note)
    {
        if (!_failing)
        {
            return await Queue(note);
        }

        if (Interlocked.Exchange(ref _trying, 1) != 0)
        {
            return false;
        }

        try
        {
            return await Queue(note);
        }
        finally
        {
            Volatile.Write(ref _trying, 0);
        }
    }

    /// <summary>Writes what is waiting, as far as the store takes it in time, and ends.</summary>
    public void Dispose()
    {
        _timer.Dispose();
        _queue.CompleteAdding();
        if (_writer.Join(_patience))
        {
            _queue.Dispose();
        }
    }

    private async ValueTask<bool> Queue(TNote note)
    {
        var waiting = new Waiting(note);
        if (!TryAdd(waiting))
        {
            return false;
        }

        try
        {
            return await waiting.Written.WaitAsync(_patience);
        }
        catch (TimeoutException)
        {
            if (waiting.Answer(false))
            {
                Tell(StoreFault.NoAnswer(_patience));
            }

            return await waiting.Written;
        }
    }

    private bool TryAdd(Waiting? waiting)
    {
        try
        {
            return _queue.TryAdd(waiting);
        }
        catch (InvalidOperationException)
        {
            // The service is stopping.
            return false;
        }
    }

    private void Write()
    {
        var batch = new List<Waiting>(MostAtOnce);
        while (!_queue.IsCompleted)
        {
            if (!_queue.TryTake(out var first, s_retry))
            {
                if (_failing && !_queue.IsCompleted)
                {
                    Commit(_probe);
                }

                continue;
            }

            var cleanUp = first is null;
            if (first is not null)
            {
                batch.Add(first);
            }

            // Whoever gave up waiting has been told so.
            batch.RemoveAll(waiting => waiting.Written.IsCompleted);
            while (batch.Count < MostAtOnce && _queue.TryTake(out var next))
            {
                cleanUp |= next is null;
                if (next is { Written.IsCompleted: false })
                {
                    batch.Add(next);
                }
            }

            if (batch.Count > 0)
            {
                var written = Commit(connection => _insert(connection, batch.Select(waiting => waiting.Note)));
                foreach (var waiting in batch)
                {
                    waiting.Answer(written);
                }

                batch.Clear();
            }

            if (cleanUp && RemoveOld() == MostRemovedAtOnce)
            {
                TryAdd(null);
            }
        }
    }

    private bool Commit(Action<DbConnection> write)
    {
        try
        {
            StoreTransaction.Write(_dataSource, _turn, write);
            Tell(null);
            return true;
        }
        catch (Exception fault)
        {
            // Whatever it is: the thread must go on, and nobody may be left waiting.
            Tell(StoreFault.Of(fault));
            return false;
        }
    }

    private void Tell(StoreFault? fault)
    {
        lock (_telling)
        {
            if (_failing != fault is not null)
            {
                _failing = fault is not null;
                _tell(fault);
            }
        }
    }

    private int RemoveOld()
    {
        var gone = 0;
        try
        {
            StoreTransaction.Write(_dataSource, _removalTurn, connection => gone = _removeOld(connection, MostRemovedAtOnce));
        }
        catch (Exception)
        {
            // Tried again with the next tick; a store that cannot be written is told of by those who need it.
            return 0;
        }

        return gone;
    }

    private sealed class Waiting(TNote note)
    {
        // Those who wait go on elsewhere: the writer has the next ones to write.
        private readonly TaskCompletionSource<bool> _written = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public TNote Note => note;

        public Task<bool> Written => _written.Task;

        /// <returns>Whether that was the first answer, which is the one that counts.</returns>
        public bool Answer(bool written) => _written.TrySetResult(written);
    }
}
