using System;
using System.Buffers;
using System.Collections.Generic;
using System.Diagnostics;
using System.Threading;
using System.Threading.Channels;
using System.Threading.Tasks;
using TokenService.Operations;

namespace TokenService.Storage;

/// <summary>What is told of an audit log that cannot be written, or can be again.</summary>
/// <param name="Fault">Why it cannot be; <see langword="null"/> where it can be again.</param>
/// <param name="Lost">How many records are lost since it could not be.</param>
public sealed record AuditNotice(string? Fault, long Lost);

/// <summary>Records who got which token, who was refused and why, and what was changed, each behind the one before (<see cref="AuditChain"/>).</summary>
/// <remarks>
/// <para>A request puts its record into a queue of fixed size and never waits: one thread makes the lines, and writes many at once, a hundredth of a
/// second after the first of them at the earliest. That, and what the writing takes, is what a process that is killed may lose; what the machine had not
/// got to its disk yet, a machine that is cut off. Where the queue is full, records are dropped and counted, and the next one that is written says
/// how many they were; or, where the operator wants that, the tokens are refused.</para>
/// <para>What commands and other replicas change, the same thread finds by comparing what the store held with what it holds
/// now: so there is one writer, and one chain, whoever changes what.</para>
/// </remarks>
public sealed class AuditLog : IDisposable
{
    /// <summary>How many records wait to be written, at most.</summary>
    internal const int MostWaiting = 8_192;

    private const int MostAtOnce = 2_048;
    private const int MostUnsigned = 10_000;
    private const int Block = 64 * 1024;

    private static readonly TimeSpan s_pause = TimeSpan.FromMilliseconds(10);
    private static readonly TimeSpan s_look = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan s_signed = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(2);

    // Where it fails anyway.
    private static readonly TimeSpan s_lastTry = TimeSpan.FromMilliseconds(500);

    // A pipe that nobody reads, a disk that hangs: the thread cannot say so itself.
    private static readonly TimeSpan s_stuck = TimeSpan.FromSeconds(3);

    private readonly Channel<AuditRecord> _queue = Channel.CreateBounded<AuditRecord>(new BoundedChannelOptions(MostWaiting) { SingleReader = true });
    private readonly IAuditOutput _output;
    private readonly bool _refuses;
    private readonly Func<StoreSnapshot> _current;
    private readonly Func<StoreSnapshot, StoreSnapshot, DateTimeOffset, IEnumerable<AuditRecord>> _changes;
    private readonly TimeProvider _clock;
    private readonly Action<AuditNotice> _tell;
    private readonly AuditChain _chain;
    private readonly ArrayBufferWriter<byte> _lines = new(Block);
    private readonly ManualResetEventSlim _stopping = new();
    private readonly Thread _writer;
    private readonly Timer _watch;
    private readonly Lock _telling = new();
    private Task<bool>? _more;
    private StoreSnapshot? _seen;
    private long _signedSequence;
    private long _signedAt;
    private string? _signedKid;
    private Task _syncing = Task.CompletedTask;
    private bool _began;
    private long _busySince;
    private volatile bool _failing;
    private long _failingSince;
    private long _written;
    private long _dropped;
    private long _droppedEver;
    private long _lost;

    /// <summary>Takes records; they are written once it has begun.</summary>
    /// <param name="output">Where to; ended with this.</param>
    /// <param name="refuses">Whether no token is given that cannot be recorded (<c>TokenService:Audit:OnFailure</c>).</param>
    /// <param name="current">What the store holds, and the keys that sign.</param>
    /// <param name="changes">The records of what differs between two states of the store, the older one first.</param>
    /// <param name="clock">The clock.</param>
    /// <param name="tell">Told when it cannot be written, and when it can again.</param>
    public AuditLog(
        IAuditOutput output,
        bool refuses,
        Func<StoreSnapshot> current,
        Func<StoreSnapshot, StoreSnapshot, DateTimeOffset, IEnumerable<AuditRecord>> changes,
        TimeProvider clock,
        Action<AuditNotice> tell)
    {
        (_output, _refuses, _current, _changes, _clock, _tell) = (output, refuses, current, changes, clock, tell);
        _chain = new AuditChain(output.Tail.Sequence, output.Tail.Hash);
        _writer = new Thread(Write) { IsBackground = true, Name = "audit log" };
        _watch = new Timer(_ => Watch(), null, s_look, s_look);
    }

    /// <summary>Whether no token is to be given now, because it could not be recorded.</summary>
    public bool Refuses => _refuses && _failing;

    /// <summary>How many records were written.</summary>
    public long Written => Interlocked.Read(ref _written);

    /// <summary>How many records are lost: the queue had no room for them.</summary>
    public long Lost => Interlocked.Read(ref _droppedEver);

    /// <summary>For how long it could not be written; zero where it can.</summary>
    public TimeSpan Staleness => _failing ? _clock.GetElapsedTime(Interlocked.Read(ref _failingSince)) : TimeSpan.Zero;

    /// <summary>Begins to write.</summary>
    /// <param name="first">Makes the record of the start, from what the store holds.</param>
    /// <param name="then">What happened before there was anything to note it with.</param>
    public void Begin(Func<StoreSnapshot, AuditRecord> first, IEnumerable<AuditRecord> then)
    {
        var start = first(_seen = _current());
        _chain.Append(_lines, _output.Tail.TornBytes > 0 ? start with { TornBytes = _output.Tail.TornBytes } : start);
        foreach (var record in then)
        {
            _chain.Append(_lines, record);
        }

        Sign(AuditEvents.Checkpoint);
        _began = true;
        _writer.Start();
    }

    /// <summary>Records an event. Never waits, never fails.</summary>
    /// <returns>Whether what it is about may go on: <see langword="false"/> where it is lost and must not be.</returns>
    public bool Note(AuditRecord record)
    {
        if (_queue.Writer.TryWrite(record))
        {
            return true;
        }

        Interlocked.Increment(ref _dropped);
        Interlocked.Increment(ref _droppedEver);
        return !_refuses;
    }

    /// <summary>Writes what is waiting, and the record that ends the log, as far as that goes; and ends.</summary>
    public void Dispose()
    {
        _queue.Writer.TryComplete();
        _stopping.Set();
        _watch.Dispose();
        if (!_began || _writer.Join(_failing ? s_lastTry : s_patience))
        {
            _output.Dispose();
        }
    }

    private void Write()
    {
        Volatile.Write(ref _busySince, Stopwatch.GetTimestamp());
        Flush();
        while (!_queue.Reader.Completion.IsCompleted)
        {
            Volatile.Write(ref _busySince, 0);
            Wait();
            Volatile.Write(ref _busySince, Stopwatch.GetTimestamp());
            if (_lines.WrittenCount > 0 && !Flush())
            {
                if (_stopping.IsSet)
                {
                    return;
                }

                continue;
            }

            Follow();
            Fill();
            Flush();
        }

        Sign(AuditEvents.End);
        Flush();
        Task.WaitAny([_syncing], s_patience);
    }

    // For the first record, and then a moment for those that come with it; where it fails, until it is tried again.
    private void Wait()
    {
        if (_failing)
        {
            _stopping.Wait(s_look);
            return;
        }

        _more ??= _queue.Reader.WaitToReadAsync().AsTask();
        if (_more.Wait(s_look))
        {
            _more = null;
            _stopping.Wait(s_pause);
        }
    }

    // The file was moved away: what is said in it ends with a signature, and what follows goes into the next one.
    private void Follow()
    {
        if (_lines.WrittenCount == 0 && _output.WasReplaced)
        {
            Sign(AuditEvents.End);
            if (Flush())
            {
                Leave();
                _signedSequence = -1;
            }
        }
    }

    private void Fill()
    {
        if (_lines.WrittenCount > 0)
        {
            return;
        }

        var now = _clock.GetUtcNow();
        if (Interlocked.Exchange(ref _dropped, 0) is > 0 and var dropped)
        {
            _lost += dropped;
            _chain.Append(_lines, new AuditRecord(AuditEvents.Dropped, now) { Count = dropped });
        }

        var current = _current();
        if (!ReferenceEquals(current, _seen))
        {
            foreach (var record in _changes(_seen!, current, now))
            {
                _chain.Append(_lines, record);
            }

            _seen = current;
        }

        for (var i = 0; i < MostAtOnce && _queue.Reader.TryRead(out var record); i++)
        {
            _chain.Append(_lines, record);
        }

        // A key that was retired vouches for nothing any more: the next one does at once.
        var unsigned = _chain.Sequence - _signedSequence;
        if (_failing || _signedSequence < 0 || _current().Keys.SigningAt(now).Kid != _signedKid || unsigned >= MostUnsigned || (unsigned > 0 && _clock.GetElapsedTime(_signedAt) >= s_signed))
        {
            Sign(AuditEvents.Checkpoint);
        }
    }

    private void Sign(string name)
    {
        var now = _clock.GetUtcNow();
        var key = _current().Keys.SigningAt(now);
        _chain.Append(_lines, new AuditRecord(name, now), key);
        (_signedSequence, _signedAt, _signedKid) = (_chain.Sequence, _clock.GetTimestamp(), key.Kid);
    }

    private void Leave()
    {
        Task.WaitAny([_syncing]);
        _output.Leave();
    }

    private bool Flush()
    {
        if (_lines.WrittenCount == 0)
        {
            return true;
        }

        try
        {
            if (_failing && _output.WasReplaced)
            {
                Leave();
            }

            if (_syncing is { IsFaulted: true } failed)
            {
                _syncing = Task.CompletedTask;
                failed.GetAwaiter().GetResult();
            }

            _output.Write(_lines.WrittenSpan);
            _lines.ResetWrittenCount();
            Interlocked.Exchange(ref _written, _chain.Sequence - _output.Tail.Sequence);
            if (_signedSequence == _chain.Sequence && _syncing.IsCompleted)
            {
                // Beside: a disk may take its time, and what comes meanwhile is to be written before the process can be killed.
                _syncing = Task.Factory.StartNew(_output.Sync, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
            }
        }
        catch (Exception fault)
        {
            // Whatever it is: the thread must go on, and tries it again.
            lock (_telling)
            {
                Fail(fault.Message);
            }

            return false;
        }

        Volatile.Write(ref _busySince, Stopwatch.GetTimestamp());
        lock (_telling)
        {
            if (_failing)
            {
                _failing = false;
                _tell(new AuditNotice(null, _lost + Interlocked.Read(ref _dropped)));
                _lost = 0;
            }
        }

        return true;
    }

    private void Watch()
    {
        lock (_telling)
        {
            if (Volatile.Read(ref _busySince) is not 0 and var since && Stopwatch.GetElapsedTime(since) >= s_stuck)
            {
                Fail("What is being written is not taken.");
            }
        }
    }

    private void Fail(string fault)
    {
        if (!_failing)
        {
            _tell(new AuditNotice(fault, 0));
            Interlocked.Exchange(ref _failingSince, _clock.GetTimestamp());
            _failing = true;
        }
    }
}
