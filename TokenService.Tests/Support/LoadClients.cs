using System;
using System.Collections.Concurrent;
using System.Collections.Generic;
using System.Diagnostics;
using System.Globalization;
using System.IO;
using System.Linq;
using System.Net.Sockets;
using System.Text;
using System.Threading;
using System.Threading.Tasks;

namespace TokenService.Tests.Support;

/// <summary>What clients got: each answer's status, and the time from the request to the whole answer.</summary>
internal sealed class LoadResult(IReadOnlyCollection<(int Status, TimeSpan Time)> answers, TimeSpan duration)
{
    /// <summary>How long all of it took.</summary>
    public TimeSpan Duration => duration;

    public IReadOnlyCollection<(int Status, TimeSpan Time)> Answers => answers;

    public int Count(int status) => answers.Count(answer => answer.Status == status);

    public int Others(params int[] statuses) => answers.Count(answer => !statuses.Contains(answer.Status));

    public double Rate(int status) => Count(status) / duration.TotalSeconds;

    /// <summary>In milliseconds; 0 where there was none.</summary>
    public double Percentile(int status, int percent)
    {
        var times = answers.Where(answer => answer.Status == status).Select(answer => answer.Time.TotalMilliseconds).Order().ToList();
        return times.Count == 0 ? 0 : times[Math.Min(times.Count - 1, times.Count * percent / 100)];
    }

    public override string ToString() => string.Join(", ", answers.GroupBy(answer => answer.Status).OrderBy(group => group.Key).Select(group => string.Create(
        CultureInfo.InvariantCulture,
        $"{group.Key}: {Rate(group.Key):0}/s p50 {Percentile(group.Key, 50):0.0} p99 {Percentile(group.Key, 99):0.0} ms")));
}

/// <summary>Clients that send as fast as they are answered, or together at a given rate, each on a connection of its own.</summary>
internal static class LoadClients
{
    /// <summary>A request for a token by secret.</summary>
    public static byte[] TokenRequest(string clientId, string secret) => Post(
        "grant_type=client_credentials", $"Authorization: Basic {Convert.ToBase64String(Encoding.UTF8.GetBytes($"{clientId}:{secret}"))}\r\n");

    /// <summary>A request for a token with an assertion.</summary>
    public static byte[] AssertionRequest(string assertion) => Post(AssertionDraft.Form(assertion), "");

    /// <summary>Lets them loose for a while.</summary>
    /// <param name="port">Of the service, on the loopback.</param>
    /// <param name="clients">How many, and so how many requests at once at most.</param>
    /// <param name="duration">How long they send, each at least once; what is under way then is waited for.</param>
    /// <param name="request">Makes each request.</param>
    /// <param name="rate">Requests a second by all of them, whatever the answers; 0 is each at once after the last answer.</param>
    public static async Task<LoadResult> Run(
        int port, int clients, TimeSpan duration, Func<byte[]> request, double rate = 0)
    {
        var answers = new ConcurrentQueue<(int, TimeSpan)>();
        var (since, sent) = (Stopwatch.StartNew(), 0L);
        await Task.WhenAll(Enumerable.Range(0, clients).Select(number => Task.Run(async () =>
        {
            using var client = new Client(port);
            for (var first = true; ; first = false)
            {
                if (rate > 0)
                {
                    var due = TimeSpan.FromSeconds(Interlocked.Increment(ref sent) / rate) - since.Elapsed;
                    if (due > TimeSpan.Zero)
                    {
                        await Task.Delay(due);
                    }
                }

                if (!first && since.Elapsed > duration)
                {
                    return;
                }

                var start = Stopwatch.GetTimestamp();
                var status = await client.Send(request());
                answers.Enqueue((status, Stopwatch.GetElapsedTime(start)));
            }
        })));
        return new LoadResult(answers, since.Elapsed);
    }

    private static byte[] Post(string form, string header) => Encoding.ASCII.GetBytes(
        $"POST /oauth2/token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n{header}Content-Length: {form.Length}\r\n\r\n{form}");

    /// <summary>One that sends the next request when the last one is answered, on a connection that stays.</summary>
    internal sealed class Client(int port) : IDisposable
    {
        private readonly byte[] _buffer = new byte[16 * 1024];
        private Socket? _socket;

        /// <summary>The status of the answer; 0 where the connection broke.</summary>
        public async Task<int> Send(byte[] request)
        {
            try
            {
                if (_socket is null)
                {
                    _socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
                    await _socket.ConnectAsync("127.0.0.1", port);
                }

                await _socket.SendAsync(request);
                var (length, whole) = (0, int.MaxValue);
                while (length < whole)
                {
                    var read = await _socket.ReceiveAsync(_buffer.AsMemory(length));
                    if (read == 0)
                    {
                        throw new IOException();
                    }

                    length += read;
                    whole = Whole(_buffer.AsSpan(0, length));
                }

                return int.Parse(Encoding.ASCII.GetString(_buffer, 9, 3), CultureInfo.InvariantCulture);
            }
            catch (Exception fault) when (fault is SocketException or IOException)
            {
                Dispose();
                return 0;
            }
        }

        public void Dispose()
        {
            _socket?.Dispose();
            _socket = null;
        }

        private static int Whole(ReadOnlySpan<byte> answer)
        {
            var end = answer.IndexOf("\r\n\r\n"u8);
            if (end < 0)
            {
                return int.MaxValue;
            }

            var length = answer[(answer.IndexOf("Content-Length: "u8) + 16)..];
            return end + 4 + int.Parse(length[..length.IndexOf((byte)'\r')], NumberStyles.None, CultureInfo.InvariantCulture);
        }
    }
}
