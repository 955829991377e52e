using System;
using System.IO;
using Microsoft.Win32.SafeHandles;
using TokenService.Clients;
using TokenService.Operations;
using TokenService.Protocol;

namespace TokenService.Storage;

/// <summary>The audit log in a file, which one process writes.</summary>
/// <remarks>
/// A file that was moved away is written to its end, and the next one is begun under the name. A line that a killed process left unfinished is taken
/// away as the next start is recorded, which says so: a service that cannot start changes nothing. What does not look like an audit log is some other
/// file, which a slip in the settings names, and is left as it is. It goes on in the same chain where a signature that holds vouches for the records there,
/// but for the last ones: else its next signature would vouch for whatever somebody had put there meanwhile. A second file, with <c>.lock</c> at its
/// end, keeps other processes out: the first one may be moved and read by anybody.
/// </remarks>
public sealed class AuditFile : IAuditOutput
{
    private const int Block = 64 * 1024;

    // Some times as many as there are behind a signature where all goes well.
    private const int MostBehindSignature = 50_000;

    private readonly string _path;
    private readonly FileStream _lock;
    private readonly Func<string, ClientKey?> _findKey;
    private readonly byte[] _block = new byte[Block];
    private SafeFileHandle? _handle;
    private FileIdentity? _identity;
    private long? _torn;

    /// <summary>Opens the file, or makes it.</summary>
    /// <param name="path">The full path.</param>
    /// <param name="findKey">The service's public key with a <c>kid</c>, or <see langword="null"/> where it is not known.</param>
    /// <exception cref="OperatorFaultException">It cannot be opened, is no plain file or no audit log, or another process writes it.</exception>
    public AuditFile(string path, Func<string, ClientKey?> findKey)
    {
        (_path, _findKey) = (path, findKey);
        try
        {
            RefuseOtherThanFile();
            _lock = new FileStream($"{path}.lock", FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
            Tail = Open();
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException or NotSupportedException)
        {
            Leave();
            _lock?.Dispose();
            throw new OperatorFaultException(
                $"TokenService:Audit:File is {Printable.Quote(path)}; accepted: a file that can be written, and that no other process writes: {fault.Message}", fault);
        }
    }

    /// <inheritdoc/>
    public string Name => _path;

    /// <inheritdoc/>
    public AuditTail Tail { get; }

    /// <summary>Whether there was something that a chain begins anew behind: its end is no record, or no signature that holds vouches for it.</summary>
    public bool HoldsOther { get; private set; }

    /// <inheritdoc/>
    public bool WasReplaced => _handle is not null
        && (FileIdentity.Of(_path) is not { } there || (there.Device, there.Inode) != (_identity?.Device ?? 0, _identity?.Inode ?? 0));

    /// <inheritdoc/>
    public void Write(ReadOnlySpan<byte> lines)
    {
        if (_handle is null)
        {
            Open();
        }

        if (_torn is { } whole)
        {
            RandomAccess.SetLength(_handle!, whole);
            _torn = null;
        }

        var end = RandomAccess.GetLength(_handle!);
        try
        {
            RandomAccess.Write(_handle!, lines, end);
        }
        catch
        {
            // A part of it may be there. All of it is tried again, here or in another file.
            RandomAccess.SetLength(_handle!, end);
            throw;
        }
    }

    /// <inheritdoc/>
    public void Sync()
    {
        if (_handle is { } handle)
        {
            RandomAccess.FlushToDisk(handle);
        }
    }

    /// <inheritdoc/>
    public void Leave()
    {
        _handle?.Dispose();
        _handle = null;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Leave();
        _lock.Dispose();
    }

    private AuditTail Open()
    {
        RefuseOtherThanFile();
        var options = new FileStreamOptions { Mode = FileMode.OpenOrCreate, Access = FileAccess.ReadWrite, Share = FileShare.ReadWrite | FileShare.Delete };
        if (!OperatingSystem.IsWindows())
        {
            // Whoever ships it elsewhere may read it by the group, where the umask of the process lets the group.
            options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead;
        }

        using (new FileStream(_path, options))
        {
            _handle = File.OpenHandle(_path, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite | FileShare.Delete);
        }

        _identity = FileIdentity.Of(_path);
        var length = RandomAccess.GetLength(_handle);
        var end = LineEndBefore(length);
        if (!MayBeOwn(0, length) || !MayBeOwn(end, length))
        {
            Leave();
            throw new IOException("there is something in it that is no audit log");
        }

        _torn = end < length ? end : null;
        var last = end == 0 || Record(end) is not { } record || !IsVouchedFor(record, end) ? null : record;
        HoldsOther = end > 0 && last is null;
        return new AuditTail(last?.Sequence ?? 0, last?.Hash, length - end);
    }

    // Whether what stands between these places begins as a record does, as far as it goes, or is nothing but zeros: those are left where power failed.
    private bool MayBeOwn(long from, long to)
    {
        var beginning = "{\"audit\":1,"u8;
        var there = _block.AsSpan(0, (int)Math.Min(beginning.Length, to - from));
        if (RandomAccess.Read(_handle!, there, from) == there.Length && beginning.StartsWith(there))
        {
            return true;
        }

        while (from < to && RandomAccess.Read(_handle!, _block.AsSpan(0, (int)Math.Min(_block.Length, to - from)), from) is > 0 and var read && !_block.AsSpan(0, read).ContainsAnyExcept((byte)0))
        {
            from += read;
        }

        return from == to;
    }

    // Before it is opened: a pipe would wait for a reader.
    private void RefuseOtherThanFile()
    {
        if (FileIdentity.Of(_path) is { IsRegular: false })
        {
            throw new IOException("it is no plain file");
        }
    }

    // Whether a signature that holds stands in the same chain, at this record or not far before it. Otherwise a chain begins anew, and a look at the file
    // finds what is wrong.
    private bool IsVouchedFor(AuditLine record, long end)
    {
        for (var i = 0; i < MostBehindSignature; i++)
        {
            if (record.IsCheckpoint)
            {
                return record.Kid is { } kid && _findKey(kid) is { } key && record.IsSignedBy(key);
            }

            end = LineEndBefore(end - 1);
            if (end == 0 || Record(end) is not { } before || (before.Sequence + 1, before.Hash) != (record.Sequence, record.Previous))
            {
                return false;
            }

            record = before;
        }

        return false;
    }

    // The record in the line that ends here, where there is a whole one.
    private AuditLine? Record(long end)
    {
        var begin = LineEndBefore(end - 1);
        if (end - begin > AuditLine.MaxBytes)
        {
            return null;
        }

        var line = new byte[end - 1 - begin];
        return RandomAccess.Read(_handle!, line, begin) == line.Length && AuditLine.Read(line) is { IsWhole: true } record ? record : null;
    }

    // Where the last line that ends before this place ends: behind its line feed. 0 where there is none.
    private long LineEndBefore(long place)
    {
        // Most lines are short.
        for (var size = Block / 64; place > 0; size = Block)
        {
            var from = Math.Max(0, place - size);
            var read = RandomAccess.Read(_handle!, _block.AsSpan(0, (int)(place - from)), from);
            var at = _block.AsSpan(0, read).LastIndexOf((byte)'\n');
            if (at >= 0)
            {
                return from + at + 1;
            }

            place = from;
        }

        return 0;
    }
}
