using System;
using System.Globalization;
using System.IO;
using System.Net.Sockets;
using System.Text;
using System.Threading;
using System.Threading.Tasks;

namespace Fuzz;

/// <summary>An answer, byte for byte.</summary>
/// <param name="Status">Its status.</param>
/// <param name="Head">Status line and headers.</param>
/// <param name="Body">The body, each byte a character.</param>
internal sealed record RawAnswer(int Status, string Head, string Body)
{
    /// <summary>Whether the connection ends after it.</summary>
    public bool Closes => Header("Connection") == "close";

    /// <summary>A header.</summary>
    /// <returns>Its value, or <see langword="null"/>.</returns>
    public string? Header(string name)
    {
        var at = Head.IndexOf($"\r\n{name}:", StringComparison.OrdinalIgnoreCase);
        return at < 0 ? null : Head[(at + name.Length + 3)..].Split('\r')[0].Trim();
    }
}

/// <summary>A connection that sends bytes as they are, and reads answers of HTTP/1.1.</summary>
internal sealed class RawConnection : IDisposable
{
    private readonly TcpClient _tcp = new() { NoDelay = true };
    private readonly byte[] _buffer = new byte[64 * 1024];
    private readonly StringBuilder _read = new();

    /// <summary>Whether something has come that no answer was read from.</summary>
    public bool HasRest => _read.Length > 0 || (_tcp.Connected && _tcp.Available > 0);

    /// <summary>Connects.</summary>
    public static async Task<RawConnection> Open(Uri url)
    {
        var connection = new RawConnection();
        await connection._tcp.ConnectAsync(url.Host, url.Port);
        return connection;
    }

    /// <summary>Sends bytes; where the other side has closed already, its answer is still there to be read.</summary>
    public async Task Send(ReadOnlyMemory<byte> bytes)
    {
        try
        {
            await _tcp.GetStream().WriteAsync(bytes);
        }
        catch (IOException)
        {
        }
    }

    /// <summary>Reads one answer.</summary>
    /// <param name="patience">How long to wait for it.</param>
    /// <returns>The answer; <see langword="null"/> where none came in that time, or the connection ended before it was whole.</returns>
    public async Task<RawAnswer?> Read(TimeSpan patience)
    {
        using var timeout = new CancellationTokenSource(patience);
        try
        {
            while (true)
            {
                if (Take() is { } answer)
                {
                    return answer;
                }

                var read = await _tcp.GetStream().ReadAsync(_buffer, timeout.Token);
                if (read == 0)
                {
                    IsClosed = true;
                    return null;
                }

                _read.Append(Encoding.Latin1.GetString(_buffer, 0, read));
            }
        }
        catch (OperationCanceledException)
        {
            return null;
        }
        catch (IOException)
        {
            IsClosed = true;
            return null;
        }
    }

    /// <summary>Whether the other side has closed it.</summary>
    public bool IsClosed { get; private set; }

    /// <inheritdoc/>
    public void Dispose() => _tcp.Dispose();

    private RawAnswer? Take()
    {
        var text = _read.ToString();
        var end = text.IndexOf("\r\n\r\n", StringComparison.Ordinal);
        if (end < 0)
        {
            return null;
        }

        var answer = new RawAnswer(int.Parse(text.AsSpan(9, 3), CultureInfo.InvariantCulture), text[..end], "");
        var body = end + 4;
        int length;
        if (answer.Header("Transfer-Encoding") is not null)
        {
            var last = text.IndexOf("0\r\n\r\n", body, StringComparison.Ordinal);
            if (last < 0)
            {
                return null;
            }

            length = last + 5 - body;
        }
        else
        {
            length = int.Parse(answer.Header("Content-Length") ?? "0", CultureInfo.InvariantCulture);
        }

        if (text.Length < body + length)
        {
            return null;
        }

        _read.Remove(0, body + length);
        return answer with { Body = text.Substring(body, length) };
    }
}
