using System;
using System.Globalization;
using TokenService.Clients;
using TokenService.Protocol;

namespace TokenService.Operations;

/// <summary>The first thing that is wrong with an audit log.</summary>
/// <param name="File">The file.</param>
/// <param name="Line">The line in it, from 1.</param>
/// <param name="Sequence">The number of the record that was changed, dropped or moved; <see langword="null"/> where that cannot be told.</param>
/// <param name="What">What happened to it, in words that complete "line 7: …".</param>
public sealed record AuditFault(string File, long Line, long? Sequence, string What);

/// <summary>
/// Checks an audit log, line by line: that each record is as it was written and stands behind the one that it was written behind, and how far
/// signatures vouch for that. It reads no files.
/// </summary>
/// <param name="findKey">The service's public key with a <c>kid</c>, or <see langword="null"/> where it is not known.</param>
public sealed class AuditVerification(Func<string, ClientKey?> findKey)
{
    private AuditLine? _last;
    private AuditFault? _missing;
    private long _expected;
    private AuditFault? _unknownKey;
    private AuditFault? _chain;
    private long _behindSignature;

    /// <summary>The first fault, or <see langword="null"/> where there is none.</summary>
    public AuditFault? Fault { get; private set; }

    /// <summary>How many records there were up to there.</summary>
    public long Records { get; private set; }

    /// <summary>How many chains: one, and one more for each process that did not go on behind a record (standard output).</summary>
    public long Chains { get; private set; }

    /// <summary>How many runs of the service did not write their last record: they were killed, or the end of what they wrote was cut off.</summary>
    public long OpenRuns { get; private set; }

    /// <summary>The number of the first record.</summary>
    public long? First { get; private set; }

    /// <summary>The last record.</summary>
    public AuditLine? Last => _last;

    /// <summary>The last record with a signature by a key that is known: it vouches for all of its chain up to itself.</summary>
    public AuditLine? LastSigned { get; private set; }

    /// <summary>How many records no signature vouches for: each stands behind the last one of its chain, and whoever can write the file can have made it.</summary>
    public long NotSigned { get; private set; }

    /// <summary>How much there is of a last line without an end; 0 where it has one.</summary>
    public long TornBytes { get; private set; }

    /// <summary>Whether the log ends with the signed record that a service writes as it ends.</summary>
    public bool IsEnded => TornBytes == 0 && _last is { Event: AuditEvents.End } && LastSigned == _last;

    /// <summary>Takes the next line.</summary>
    /// <param name="line">The line without its end.</param>
    /// <param name="hasEnd">Whether it has an end: only the last one of a file may have none.</param>
    /// <param name="file">The file.</param>
    /// <param name="number">The line's place in it, from 1.</param>
    public void Add(ReadOnlySpan<byte> line, bool hasEnd, string file, long number)
    {
        if (Fault is not null)
        {
            return;
        }

        TornBytes = 0;
        if (!hasEnd)
        {
            // Its record, where it was written after all, is the first one of the next file.
            TornBytes = line.Length;
            return;
        }

        var record = AuditLine.Read(line);
        if (_missing is not null)
        {
            Settle(record, file, number);
            return;
        }

        if (record is null)
        {
            var what = _last is null ? "it is no audit record" : $"it is no audit record: record {Number(_last.Sequence + 1)} was changed, or something was put there";
            Fault = new(file, number, _last?.Sequence + 1, what);
            return;
        }

        Check(record, file, number);
    }

    /// <summary>Ends it: what is still in doubt is a fault.</summary>
    public void End()
    {
        Fault ??= _missing ?? _unknownKey ?? (LastSigned is null ? new AuditFault("", 0, null, "nothing in it is signed: it is no audit log, or only its beginning") : _chain);
        NotSigned += _behindSignature;
        OpenRuns += Fault is null && _last is not { Event: AuditEvents.End } ? 1 : 0;
    }

    private void Check(AuditLine record, string file, long number)
    {
        if (!record.IsWhole)
        {
            // Its number may be what was changed.
            var which = _last is null ? "the first record" : $"record {Number(_last.Sequence + 1)}";
            Fault = new(file, number, _last?.Sequence + 1, $"{which} was changed: its hash is not that of its content");
            return;
        }

        if (_last is null || record.BeginsChain)
        {
            // Nothing that follows vouches for the chain before.
            Fault = _unknownKey ?? _chain;
            if (Fault is not null)
            {
                return;
            }

            _chain = new(file, number, record.Sequence, "nothing in the chain that begins here is signed: it was put there, or its service was killed as it began");
            NotSigned += _behindSignature;
            _behindSignature = 0;
            Chains++;
            First ??= record.Sequence;
        }
        else if (record.Sequence > _last.Sequence + 1)
        {
            // Dropped, unless it comes later.
            _expected = _last.Sequence + 1;
            var missing = record.Sequence == _expected + 1
                ? $"record {Number(_expected)} is missing"
                : $"records {Number(_expected)} to {Number(record.Sequence - 1)} are missing";
            _missing = new(file, number, _expected, $"{missing} between {Number(_last.Sequence)} and {Number(record.Sequence)}");
            return;
        }
        else if (record.Sequence <= _last.Sequence)
        {
            Fault = new(file, number, record.Sequence, $"record {Number(record.Sequence)} stands here again, or out of its order, behind record {Number(_last.Sequence)}");
            return;
        }
        else if (record.Previous != _last.Hash)
        {
            Fault = new(
                file, number - 1, _last.Sequence, $"record {Number(_last.Sequence)} was changed, and its hash made anew: record {Number(record.Sequence)} was written behind another one");
            return;
        }

        if (record is { Event: AuditEvents.Start } && _last is not null and not { Event: AuditEvents.End })
        {
            OpenRuns++;
        }

        _behindSignature++;
        if (record.IsCheckpoint && !CheckSignature(record, file, number))
        {
            return;
        }

        Records++;
        _last = record;
    }

    private bool CheckSignature(AuditLine record, string file, long number)
    {
        if (record is not { Kid: { } kid, Algorithm: not null, Signature.Length: > 0 })
        {
            Fault = new(file, number, record.Sequence, $"record {Number(record.Sequence)} was changed: it lacks its signature");
            return false;
        }

        if (findKey(kid) is not { } key)
        {
            _unknownKey ??= new(
                file, number, record.Sequence, $"record {Number(record.Sequence)} is signed with the key {Printable.Escape(kid)}, which is not known here; name a JWKS that has it with --jwks");
            return true;
        }

        if (!record.IsSignedBy(key))
        {
            Fault = new(
                file, number, record.Sequence, $"record {Number(record.Sequence)} was changed: its signature does not hold. What stands before it may have been made anew, back to the last one that holds");
            return false;
        }

        // It vouches for what unknown keys signed before it in the same chain.
        (LastSigned, _unknownKey, _chain, _behindSignature) = (record, null, null, 0);
        return true;
    }

    // Behind a gap, only the first record that is missing is looked for.
    private void Settle(AuditLine? record, string file, long number)
    {
        if (record is { IsWhole: true } && record.Sequence == _expected)
        {
            Fault = new(file, number, _expected, $"record {Number(_expected)} was moved: it stands here, and belongs before line {Number(_missing!.Line)} of {_missing.File}");
        }
    }

    private static string Number(long number) => number.ToString(CultureInfo.InvariantCulture);
}
