using System;
using System.Collections.Generic;
using System.Threading;
using System.Threading.Tasks;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Connections;

namespace TokenService.Endpoints;

/// <summary>
/// All connections, and what they wait for. One that has not brought its first whole request in time is closed, and so is one whose requests
/// get nowhere, since their bodies do not come or their answers are not read. When connections run short, one gives way to the next that
/// comes: the oldest that has brought no request yet, else the one that has been idle longest, else the one that has got nowhere longest.
/// </summary>
/// <remarks>
/// The web server's own time limits begin with the first byte of a request, and do not count what never sends one or never finishes its TLS
/// handshake; and they give a reader that does not read the more time, the more is on its way to it. No limit for each source address: behind a proxy all have the same.
/// </remarks>
public sealed class ConnectionTable : IDisposable
{
    /// <summary>How long a new connection has for its first request: the TLS handshake and all headers.</summary>
    /// <remarks>Longer than the web server waits for headers: it says so in an answer, here a connection only ends.</remarks>
    internal static readonly TimeSpan FirstRequest = TimeSpan.FromSeconds(12);

    /// <summary>How long a connection may be without a request that begins or ends while it has any.</summary>
    /// <remarks>Ten seconds for the body, three for the store, one for a refusal that has to wait.</remarks>
    internal static readonly TimeSpan Request = TimeSpan.FromSeconds(15);

    // Whoever means well has sent the request by then, or has its answer.
    private static readonly TimeSpan s_grace = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan s_requestGrace = TimeSpan.FromSeconds(4);
    private static readonly TimeSpan s_interval = TimeSpan.FromSeconds(1);

    private readonly int _most;
    private readonly TimeProvider _clock;
    private readonly Action<int> _tell;
    private readonly Lock _lock = new();
    private readonly LinkedList<Connection> _new = new();
    private readonly LinkedList<Connection> _idle = new();
    private readonly LinkedList<Connection> _busy = new();
    private readonly ITimer _timer;
    private int _count;
    private int _gaveWay;

    /// <summary>Starts the watch.</summary>
    /// <param name="most">From how many connections on the ones that wait give way.</param>
    /// <param name="clock">Its monotonic time is used.</param>
    /// <param name="tell">Told how many gave way; once a second, where any did.</param>
    public ConnectionTable(int most, TimeProvider clock, Action<int> tell)
    {
        (_most, _clock, _tell) = (most, clock, tell);
        _timer = clock.CreateTimer(_ => CloseLate(), null, s_interval, s_interval);
    }

    /// <summary>Keeps a connection in the table for as long as it is there.</summary>
    public async Task Handle(ConnectionContext context, ConnectionDelegate next)
    {
        var connection = new Connection(this, context);
        context.Features.Set(connection);
        Connection? victim;
        lock (_lock)
        {
            victim = ++_count > _most ? LongestWaiting() : null;
            _gaveWay += victim is null ? 0 : 1;
            victim?.Forget();
            connection.Wait(_new);
        }

        victim?.Close();
        try
        {
            await next(context);
        }
        finally
        {
            lock (_lock)
            {
                connection.Forget();
            }
        }
    }

    /// <summary>Notes when a request of a connection begins and ends; to be called before all else that answers requests.</summary>
    public void Watch(IApplicationBuilder app) => app.Use(async (http, next) =>
    {
        var connection = http.Features.Get<Connection>();
        connection?.Begin();
        try
        {
            await next(http);
        }
        finally
        {
            connection?.End();
        }
    });

    /// <summary>Ends the watch.</summary>
    public void Dispose() => _timer.Dispose();

    private Connection? LongestWaiting()
        => First(_new, s_grace) ?? First(_idle, TimeSpan.Zero) ?? First(_busy, s_requestGrace) ?? First(_new, TimeSpan.Zero);

    private static Connection? First(LinkedList<Connection> line, TimeSpan waited)
        => line.First?.Value is { } connection && connection.HasWaited(waited) ? connection : null;

    private void CloseLate()
    {
        var late = new List<Connection>();
        int gaveWay;
        lock (_lock)
        {
            (gaveWay, _gaveWay) = (_gaveWay, 0);
            while ((First(_new, FirstRequest) ?? First(_busy, Request)) is { } connection)
            {
                connection.Forget();
                late.Add(connection);
            }
        }

        late.ForEach(connection => connection.Close());
        if (gaveWay > 0)
        {
            _tell(gaveWay);
        }
    }

    // Changed under the lock of the table.
    private sealed class Connection
    {
        private readonly ConnectionTable _table;
        private readonly ConnectionContext _context;
        private readonly LinkedListNode<Connection> _node;
        private long _since;
        private int _requests;
        private bool _gone;

        public Connection(ConnectionTable table, ConnectionContext context)
        {
            (_table, _context) = (table, context);
            _node = new(this);
        }

        public bool HasWaited(TimeSpan time) => _table._clock.GetElapsedTime(_since) >= time;

        public void Wait(LinkedList<Connection> line)
        {
            if (!_gone)
            {
                _since = _table._clock.GetTimestamp();
                _node.List?.Remove(_node);
                line.AddLast(_node);
            }
        }

        public void Forget()
        {
            if (!_gone)
            {
                _gone = true;
                _table._count--;
                _node.List?.Remove(_node);
            }
        }

        // HTTP/2 has many at once.
        public void Begin()
        {
            lock (_table._lock)
            {
                _requests++;
                Wait(_table._busy);
            }
        }

        public void End()
        {
            lock (_table._lock)
            {
                Wait(--_requests == 0 ? _table._idle : _table._busy);
            }
        }

        public void Close() => _context.Abort(new ConnectionAbortedException("The connection waited too long."));
    }
}
