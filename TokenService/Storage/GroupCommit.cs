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
/// </remarks>
/// <typeparam name="TNote">What is written.</typeparam>
internal sealed class GroupCommit<TNote> : IDisposable
{
    private const int MostAtOnce = 256;
    private const int MostWaiting = 20_000;
    private const int MostRemovedAtOnce = 500;

    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(3);
    private static readonly TimeSpan s_interval = TimeSpan.FromMinutes(1);

    private readonly StoreDataSource _dataSource;
    private readonly Turn _turn;
    private readonly Turn _removalTurn;
    private readonly Action<DbConnection, IEnumerable<TNote>> _insert;
    private readonly Func<DbConnection, int, int> _removeOld;
    private readonly Action<string> _tell;
    private readonly BlockingCollection<Waiting?> _queue = new(MostWaiting);
    private readonly Thread _writer;
    private readonly ITimer _timer;

    /// <summary>Starts the writer.</summary>
    /// <param name="dataSource">The store, its schema up to date.</param>
    /// <param name="name">What the thread is called.</param>
    /// <param name="clock">Says when to clean up.</param>
    /// <param name="turn">Which writers the inserts wait for.</param>
    /// <param name="removalTurn">And the removals.</param>
    /// <param name="insert">Writes notes, in a transaction.</param>
    /// <param name="removeOld">Removes, in a transaction, at most so many notes that have had their time, and says how many it were.</param>
    /// <param name="tell">Told each time that the store does not take notes, and why.</param>
    public GroupCommit(
        StoreDataSource dataSource,
        string name,
        TimeProvider clock,
        Turn turn,
        Turn removalTurn,
        Action<DbConnection, IEnumerable<TNote>> insert,
        Func<DbConnection, int, int> removeOld,
        Action<string> tell)
    {
        (_dataSource, _turn, _removalTurn, _insert, _removeOld, _tell) = (dataSource, turn, removalTurn, insert, removeOld, tell);
        _writer = new Thread(Write) { IsBackground = true, Name = name };
        _writer.Start();

        // A note of nothing asks the writer to clean up: it is the only one that writes.
        _timer = clock.CreateTimer(_ => TryAdd(null), null, s_interval, s_interval);
    }

    /// <summary>Writes a note, together with those of others.</summary>
    /// <returns>Whether it is there and survives a crash; where not, it is in doubt.</returns>
    public async ValueTask<bool> Write(TNote note)
    {
        var waiting = new Waiting(note);
        if (!TryAdd(waiting))
        {
            return false;
        }

        try
        {
            return await waiting.Written.WaitAsync(s_patience);
        }
        catch (TimeoutException)
        {
            waiting.Answer(false);
            return false;
        }
    }

    /// <summary>Writes what is waiting, as far as the store takes it in time, and ends.</summary>
    public void Dispose()
    {
        _timer.Dispose();
        _queue.CompleteAdding();
        if (_writer.Join(s_patience))
        {
            _queue.Dispose();
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
        foreach (var first in _queue.GetConsumingEnumerable())
        {
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
                var written = Insert(batch);
                batch.ForEach(waiting => waiting.Answer(written));
                batch.Clear();
            }

            if (cleanUp && RemoveOld() == MostRemovedAtOnce)
            {
                TryAdd(null);
            }
        }
    }

    private bool Insert(List<Waiting> batch)
    {
        try
        {
            StoreTransaction.Write(_dataSource, _turn, connection => _insert(connection, batch.Select(waiting => waiting.Note)));
            return true;
        }
        catch (Exception fault)
        {
            // Whatever it is: the thread must go on, and nobody may be left waiting.
            _tell(fault.Message);
            return false;
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

        public void Answer(bool written) => _written.TrySetResult(written);
    }
}
