using System;
using System.IO;
using System.Runtime.InteropServices;
using System.Threading;

namespace TokenService.Storage;

/// <summary>The audit log on standard output, between the lines of the ordinary log.</summary>
/// <remarks>Each process begins a chain of its own there: it cannot know what another one wrote.</remarks>
public sealed partial class AuditStandardOutput : IAuditOutput
{
    private const int Descriptor = 1;
    private const int Interrupted = 4;
    private const int WouldBlock = 11;

    private static readonly TimeSpan s_pause = TimeSpan.FromMilliseconds(10);

    // Not through Console.Out, whose encoding is that of the terminal.
    private readonly Stream _stream = Console.OpenStandardOutput();
    private int _written;

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
            if (OperatingSystem.IsLinux())
            {
                WriteAll(lines);
            }
            else
            {
                _stream.Write(lines);
                _stream.Flush();
            }
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

    // The library's stream takes a pipe whose reader is gone for a success. What was written before a fault cannot be taken back, as in a file: it is
    // gone on with behind it.
    private void WriteAll(ReadOnlySpan<byte> lines)
    {
        while (_written < lines.Length)
        {
            var left = lines[_written..];
            var written = Write(Descriptor, ref MemoryMarshal.GetReference(left), left.Length);
            if (written >= 0)
            {
                _written += (int)written;
                continue;
            }

            var error = Marshal.GetLastPInvokeError();
            if (error == WouldBlock)
            {
                Thread.Sleep(s_pause);
            }
            else if (error != Interrupted)
            {
                throw new IOException(Marshal.GetPInvokeErrorMessage(error));
            }
        }

        _written = 0;
    }

    [LibraryImport("libc", EntryPoint = "write", SetLastError = true)]
    private static partial nint Write(int descriptor, ref byte bytes, nint count);
}
