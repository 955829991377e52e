using System;
using System.IO;

namespace TokenService.Storage;

/// <summary>The audit log on standard output, between the lines of the ordinary log.</summary>
/// <remarks>Each process begins a chain of its own there: it cannot know what another one wrote.</remarks>
public sealed class AuditStandardOutput : IAuditOutput
{
    // Not through Console.Out, whose encoding is that of the terminal.
    private readonly Stream _stream = Console.OpenStandardOutput();

    /// <inheritdoc/>
    public string Name => "on standard output";

    /// <inheritdoc/>
    public AuditTail Tail { get; } = new(0, null, 0);

    /// <inheritdoc/>
    public bool WasReplaced => false;

    /// <inheritdoc/>
    public void Write(ReadOnlySpan<byte> lines)
    {
        // Console.Out takes this lock for each line of the ordinary log: neither cuts the other in two.
        lock (Console.Out)
        {
            _stream.Write(lines);
            _stream.Flush();
        }
    }

    /// <inheritdoc/>
    public void Sync()
    {
        // Whoever reads it keeps it.
    }

    /// <inheritdoc/>
    public void Leave()
    {
        // It is never replaced.
    }

    /// <inheritdoc/>
    public void Dispose() => _stream.Dispose();
}
