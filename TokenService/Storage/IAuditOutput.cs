using System;

namespace TokenService.Storage;

/// <summary>Where the audit log stands.</summary>
/// <param name="Sequence">The number of the last record; 0 where there is none.</param>
/// <param name="Hash">Its hash; <see langword="null"/> where there is none.</param>
/// <param name="TornBytes">How many bytes of an unfinished line are behind it, which the first write takes away.</param>
public sealed record AuditTail(long Sequence, string? Hash, long TornBytes);

/// <summary>Where the lines of the audit log go: a file, or standard output. Its members throw <see cref="System.IO.IOException"/> and the like where they fail.</summary>
public interface IAuditOutput : IDisposable
{
    /// <summary>What messages call it.</summary>
    string Name { get; }

    /// <summary>What was there at the start.</summary>
    AuditTail Tail { get; }

    /// <summary>Whether another file, or none, is now where the one that is open was. It stays open until <see cref="Leave"/>.</summary>
    bool WasReplaced { get; }

    /// <summary>
    /// Writes whole lines: all of them, or none, as far as the file system lets that be. Where it fails, it is called again with the same lines, and
    /// perhaps more behind them.
    /// </summary>
    void Write(ReadOnlySpan<byte> lines);

    /// <summary>Has what was written survive the machine. May run beside <see cref="Write"/>, and beside nothing else.</summary>
    void Sync();

    /// <summary>Closes what is open: the next line goes to what is there then.</summary>
    void Leave();
}
