using System;
using System.Collections.Concurrent;
using System.Threading;
using System.Threading.Tasks;

namespace TokenService.Operations;

/// <summary>
/// Lets in as many requests as the processors can sign for, and a queue that is short in time; all others are to be refused at once, while
/// that is still cheap.
/// </summary>
/// <remarks>
/// <para>One request computes on each core, the others wait for their turn, the first first. So a thread is never far from the next request
/// that arrives, and can refuse it: where requests sign as soon as they come, all of them wait in the queue of the thread pool, uncounted. Nobody
/// keeps a turn while waiting for the store or the network: while the store is away, requests that need it do not keep out the others.</para>
/// <para>A refusal costs a fifteenth of a token where nothing else is done, and a sixth between signatures, so callers that come back at once with the next request can still use up the
/// processors. Refusals therefore have a pace, by the number of requests that were computed in the second before: beyond it each waits a
/// little, and so does its caller.</para>
/// </remarks>
public sealed class Admission : IDisposable
{
    /// <summary>How many wait for a turn at most, for each core: 25 to 100 ms with RSA-2048, as fast as cores are.</summary>
    internal const int WaitingPerCore = 100;

    /// <summary>How many refusals each core may answer in a second at least.</summary>
    internal const int RefusalsPerCore = 1_000;

    /// <summary>How many refusals may be answered for each request that was computed: they take up to a third of the processor then.</summary>
    internal const int RefusalsPerTurn = 3;

    // Of the intervals.
    private const int TellAfter = 10;

    // Many times what the queue takes, for a burst on a machine that stands still for a moment; less where more comes than can be served.
    private static readonly TimeSpan s_longestWait = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan s_longestWaitUnderLoad = TimeSpan.FromMilliseconds(200);
    private static readonly TimeSpan s_longestPause = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan s_shortestPause = TimeSpan.FromMilliseconds(1);

    // So much of the pace may be used at once: requests come in heaps, and a refusal that waits costs twice one that does not.
    private static readonly TimeSpan s_burst = TimeSpan.FromMilliseconds(100);
    private static readonly TimeSpan s_interval = TimeSpan.FromSeconds(1);

    private readonly TimeProvider _clock;
    private readonly Action<long> _tell;
    private readonly Gate _turns;
    private readonly Gate _returns;
    private readonly int _mostWaiting;
    private readonly int _leastRefusals;
    private readonly ITimer _timer;
    private readonly Lock _lock = new();
    private readonly long _start;
    private TimeSpan _pace;
    private TimeSpan _nextRefusal;
    private long _refused;
    private long _lastRefused;
    private int _computed;
    private int _ticks;

    /// <summary>Opens the door.</summary>
    /// <param name="cores">How many requests compute at once.</param>
    /// <param name="clock">Its monotonic time is used.</param>
    /// <param name="tell">Told how many were refused; every ten seconds, where any were.</param>
    public Admission(int cores, TimeProvider clock, Action<long> tell)
    {
        (_clock, _tell, _start) = (clock, tell, clock.GetTimestamp());
        (_mostWaiting, _leastRefusals) = (WaitingPerCore * cores, RefusalsPerCore * cores);
        _pace = TimeSpan.FromSeconds(1) / _leastRefusals;
        (_turns, _returns) = (new Gate(cores), new Gate(cores));
        _timer = clock.CreateTimer(_ => Tick(), null, s_interval, s_interval);
    }

    /// <summary>Whether a request that comes now is to be refused, before its form is even read.</summary>
    public bool IsFull => _turns.Waiting >= _mostWaiting;

    /// <summary>How many requests wait for a turn.</summary>
    public int Waiting => _turns.Waiting;

    /// <summary>Waits for a turn to compute.</summary>
    /// <param name="cancellation">Says whether the caller has gone in the meantime.</param>
    /// <returns>The turn; <see langword="null"/> where too many wait already, or it came too late.</returns>
    public ValueTask<Turn?> Enter(CancellationToken cancellation)
    {
        if (!_turns.TryEnter())
        {
            return IsFull ? new((Turn?)null) : WaitForTurn(cancellation);
        }

        Interlocked.Increment(ref _computed);
        return new(new Turn(this, _turns));
    }

    /// <summary>Waits until a refusal for too much load may be answered: not at all, where they are not too many.</summary>
    /// <param name="cancellation">
    /// Says whether the caller has gone in the meantime. Then nobody is refused: callers that hang up are no sign of too much load, and take
    /// nobody's place among the refusals.
    /// </param>
    public Task PaceRefusal(CancellationToken cancellation)
    {
        if (cancellation.IsCancellationRequested)
        {
            return Task.CompletedTask;
        }

        Interlocked.Increment(ref _refused);
        Volatile.Write(ref _lastRefused, _clock.GetTimestamp());
        TimeSpan pause;
        lock (_lock)
        {
            var now = _clock.GetElapsedTime(_start);
            pause = _nextRefusal - s_burst - now;
            _nextRefusal = _nextRefusal < now ? now + _pace : pause < s_longestPause ? _nextRefusal + _pace : _nextRefusal;
        }

        return pause < s_shortestPause ? Task.CompletedTask : Task.Delay(pause, _clock, cancellation);
    }

    /// <summary>Tells what there is still to tell, and ends.</summary>
    public void Dispose()
    {
        _timer.Dispose();
        Tell();
    }

    private async ValueTask<Turn?> WaitForTurn(CancellationToken cancellation)
    {
        var arrived = _clock.GetTimestamp();
        await _turns.Enter();
        var underLoad = _clock.GetElapsedTime(Volatile.Read(ref _lastRefused)) < s_interval;
        if (_clock.GetElapsedTime(arrived) <= (underLoad ? s_longestWaitUnderLoad : s_longestWait) && !cancellation.IsCancellationRequested)
        {
            Interlocked.Increment(ref _computed);
            return new Turn(this, _turns);
        }

        _turns.Leave();
        return null;
    }

    private void Tick()
    {
        var refusals = Math.Max(_leastRefusals, RefusalsPerTurn * Interlocked.Exchange(ref _computed, 0));
        lock (_lock)
        {
            _pace = s_interval / refusals;
        }

        if (++_ticks % TellAfter == 0)
        {
            Tell();
        }
    }

    private void Tell()
    {
        if (Interlocked.Exchange(ref _refused, 0) is > 0 and var refused)
        {
            _tell(refused);
        }
    }

    /// <summary>A request's turn to compute, until it is disposed of.</summary>
    public sealed class Turn : IDisposable
    {
        private readonly Admission _admission;
        private Gate? _gate;

        internal Turn(Admission admission, Gate gate) => (_admission, _gate) = (admission, gate);

        /// <summary>Lets others compute while this request waits, if it does.</summary>
        /// <remarks>It goes on as soon as others have had their turns, and is never refused: what it waited for is done.</remarks>
        /// <param name="work">What was begun: it has computed what it could without waiting.</param>
        /// <returns>Its result.</returns>
        public async ValueTask<T> While<T>(ValueTask<T> work)
        {
            if (work.IsCompleted)
            {
                return await work;
            }

            Dispose();
            var result = await work;
            await _admission._returns.Enter();
            _gate = _admission._returns;
            return result;
        }

        /// <summary>Lets the next one in.</summary>
        public void Dispose()
        {
            _gate?.Leave();
            _gate = null;
        }
    }

    /// <summary>Lets some in at once, and the others one after the other, the first first. Without a lock: all requests go through it.</summary>
    internal sealed class Gate(int places)
    {
        private readonly ConcurrentQueue<TaskCompletionSource> _waiting = new();

        // Below zero: so many wait.
        private int _free = places;

        public int Waiting => Math.Max(0, -Volatile.Read(ref _free));

        public bool TryEnter()
        {
            var free = Volatile.Read(ref _free);
            while (free > 0)
            {
                var seen = Interlocked.CompareExchange(ref _free, free - 1, free);
                if (seen == free)
                {
                    return true;
                }

                free = seen;
            }

            return false;
        }

        public Task Enter()
        {
            if (Interlocked.Decrement(ref _free) >= 0)
            {
                return Task.CompletedTask;
            }

            var next = new TaskCompletionSource();
            _waiting.Enqueue(next);
            return next.Task;
        }

        public void Leave()
        {
            if (Interlocked.Increment(ref _free) > 0)
            {
                return;
            }

            // It has been counted; it may not stand in the line yet.
            TaskCompletionSource? next;
            for (var spin = new SpinWait(); !_waiting.TryDequeue(out next); spin.SpinOnce())
            {
            }

            // Behind all that has arrived since. The thread that leaves would take it up itself otherwise, and so one after the other.
            ThreadPool.UnsafeQueueUserWorkItem(static next => next.SetResult(), next, preferLocal: false);
        }
    }
}
