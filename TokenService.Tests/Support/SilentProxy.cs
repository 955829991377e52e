using System;
using System.Net;
using System.Net.Sockets;
using System.Threading;
using System.Threading.Tasks;

namespace TokenService.Tests.Support;

/// <summary>A network between a service and its database that can go silent: nothing arrives, and nobody is told.</summary>
internal sealed class SilentProxy : IAsyncDisposable
{
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly CancellationTokenSource _end = new();
    private readonly int _to;
    private readonly Task _accepting;
    private volatile CancellationTokenSource _silence = new();
    private volatile bool _silent;

    public SilentProxy(int to)
    {
        _to = to;
        _listener.Start();
        Port = ((IPEndPoint)_listener.LocalEndpoint).Port;
        _accepting = Accept();
    }

    public int Port { get; }

    /// <summary>What is connected stays so, and is never heard of again.</summary>
    public async Task GoSilent()
    {
        _silent = true;
        await _silence.CancelAsync();
    }

    /// <summary>Connections from now on get through; those from before do not.</summary>
    public Task Return()
    {
        _silence = new();
        _silent = false;
        return Task.CompletedTask;
    }

    public async ValueTask DisposeAsync()
    {
        await _end.CancelAsync();
        _listener.Dispose();
        await _accepting;
    }

    private async Task Accept()
    {
        try
        {
            while (true)
            {
                _ = Serve(await _listener.AcceptTcpClientAsync(_end.Token));
            }
        }
        catch (OperationCanceledException)
        {
            // The end.
        }
    }

    private async Task Serve(TcpClient from)
    {
        using var client = from;
        using var server = new TcpClient();
        var silence = _silence.Token;
        try
        {
            if (_silent)
            {
                await Task.Delay(Timeout.Infinite, _end.Token);
            }

            await server.ConnectAsync(IPAddress.Loopback, _to, _end.Token);
            using var forwarding = CancellationTokenSource.CreateLinkedTokenSource(silence, _end.Token);
            await Task.WhenAny(
                client.GetStream().CopyToAsync(server.GetStream(), forwarding.Token),
                server.GetStream().CopyToAsync(client.GetStream(), forwarding.Token));
            if (silence.IsCancellationRequested)
            {
                await Task.Delay(Timeout.Infinite, _end.Token);
            }
        }
        catch (Exception fault) when (fault is OperationCanceledException or System.IO.IOException or SocketException)
        {
            // One of the two has gone, or it is the end.
        }
    }
}
