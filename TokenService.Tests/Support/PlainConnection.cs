using System;
using System.Globalization;
using System.IO;
using System.Net.Sockets;
using System.Text;
using System.Threading.Tasks;

namespace TokenService.Tests.Support;

/// <summary>A connection of HTTP/1.1 that is kept, of a client that never tries anything again: what .NET's own client does by itself.</summary>
internal sealed class PlainConnection : IDisposable
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(30);

    private readonly TcpClient _tcp = new() { NoDelay = true };
    private readonly byte[] _buffer = new byte[16 * 1024];

    /// <summary>Whether the server has said that it closes the connection after the answer.</summary>
    public bool Closes { get; private set; }

    public static async Task<PlainConnection> Open(int port)
    {
        var connection = new PlainConnection();
        await connection._tcp.ConnectAsync("127.0.0.1", port).WaitAsync(s_patience);
        return connection;
    }

    /// <summary>A request for a token by secret.</summary>
    public static string TokenRequest(string id = Sample.FormJob, string secret = Sample.FormSecret)
    {
        var form = $"grant_type=client_credentials&client_id={id}&client_secret={secret}";
        return $"POST /oauth2/token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {form.Length}\r\n\r\n{form}";
    }

    public async Task Send(string request) => await _tcp.GetStream().WriteAsync(Encoding.Latin1.GetBytes(request)).AsTask().WaitAsync(s_patience);

    /// <summary>Reads one answer.</summary>
    /// <returns>Its status.</returns>
    /// <exception cref="IOException">It did not come, or not all of it.</exception>
    public async Task<int> Receive()
    {
        var answer = "";
        while (!IsWhole(answer))
        {
            var read = await _tcp.GetStream().ReadAsync(_buffer).AsTask().WaitAsync(s_patience);
            if (read == 0)
            {
                throw new IOException($"The connection was closed after {answer.Length} bytes of an answer.");
            }

            answer += Encoding.Latin1.GetString(_buffer, 0, read);
        }

        Closes = answer.Contains("\r\nConnection: close\r\n", StringComparison.Ordinal);
        return int.Parse(answer.AsSpan(9, 3), CultureInfo.InvariantCulture);
    }

    public async Task<int> Ask(string request)
    {
        await Send(request);
        return await Receive();
    }

    public void Dispose() => _tcp.Dispose();

    private static bool IsWhole(string answer)
    {
        var end = answer.IndexOf("\r\n\r\n", StringComparison.Ordinal);
        if (end < 0)
        {
            return false;
        }

        const string length = "\r\nContent-Length: ";
        var at = answer.IndexOf(length, 0, end, StringComparison.Ordinal);
        return at < 0
            ? answer.EndsWith("\r\n0\r\n\r\n", StringComparison.Ordinal)
            : answer.Length >= end + 4 + int.Parse(answer[(at + length.Length)..].Split('\r')[0], CultureInfo.InvariantCulture);
    }
}
