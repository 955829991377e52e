using System;
using System.Globalization;
using System.IO;
using System.Linq;
using Microsoft.AspNetCore.Server.Kestrel.Core;

namespace TokenService.Endpoints;

/// <summary>The limits of the web server on headers, times and connections. Those on bodies are <see cref="RequestForm"/>'s.</summary>
public static class WebServerLimits
{
    private static readonly int s_descriptors = Descriptors();

    /// <summary>How many connections there are at most; one more, and one gives way.</summary>
    public static int MostConnections => MostConnectionsWith(s_descriptors);

    /// <summary>Sets them.</summary>
    /// <param name="kestrel">Where to.</param>
    /// <param name="connections">Watches over all connections.</param>
    public static void Set(KestrelServerOptions kestrel, ConnectionTable connections)
    {
        var limits = kestrel.Limits;
        limits.MaxRequestLineSize = 8 * 1024;
        limits.MaxRequestHeadersTotalSize = 16 * 1024;
        limits.MaxRequestHeaderCount = 64;
        limits.RequestHeadersTimeout = TimeSpan.FromSeconds(10);

        // Longer than proxies keep theirs (a minute, as a rule): the side that sends the next request should be the one that closes.
        limits.KeepAliveTimeout = TimeSpan.FromSeconds(130);

        // Closing takes a moment, and may use a part of what was left for the files.
        limits.MaxConcurrentConnections = MostConnections + Math.Min(128, s_descriptors / 4);
        limits.Http2.MaxStreamsPerConnection = 100;

        // What a connection can make the service keep in memory: a body, and a little more.
        limits.MaxRequestBufferSize = 128 * 1024;
        limits.Http2.InitialConnectionWindowSize = 128 * 1024;
        limits.Http2.InitialStreamWindowSize = 96 * 1024;
        kestrel.ConfigureEndpointDefaults(listen => listen.Use(next => context => connections.Handle(context, next)));
    }

    /// <summary>The same where the process may have so many open descriptors.</summary>
    internal static int MostConnectionsWith(int descriptors) => Math.Min(10_000, Math.Max(descriptors - 256, descriptors / 2));

    // RLIMIT_NOFILE, which the runtime has raised to its hard limit. A system without this file has no such limit, or a large one.
    private static int Descriptors()
    {
        const string Limits = "/proc/self/limits";
        const string Name = "Max open files";
        var line = File.Exists(Limits) ? File.ReadLines(Limits).FirstOrDefault(line => line.StartsWith(Name, StringComparison.Ordinal)) : null;
        var soft = line?[Name.Length..].Split(' ', StringSplitOptions.RemoveEmptyEntries)[0];
        return int.TryParse(soft, NumberStyles.None, CultureInfo.InvariantCulture, out var limit) ? limit : int.MaxValue;
    }
}
