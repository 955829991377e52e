using System;
using System.Net;
using System.Net.Sockets;
using System.Threading;

namespace TokenService.Operations;

/// <summary>
/// Counts failed authentications for each pair of source address and client id, minute by minute. Only failures are counted and only
/// failures are slowed down: a right credential never comes here, so nobody can lock out somebody else's client.
/// </summary>
/// <remarks>
/// The table has a fixed size. A pair whose place is taken by another pushes that one out, so a flood of invented client ids costs no
/// memory, and at worst makes the limiter forget.
/// </remarks>
/// <param name="failuresPerMinute">How many failures a pair has in a minute; 0 is no limit.</param>
/// <param name="time">Its monotonic time is used.</param>
public sealed class FailureLimiter(int failuresPerMinute, TimeProvider time)
{
    private static readonly TimeSpan s_window = TimeSpan.FromMinutes(1);

    private readonly Entry[] _entries = new Entry[1 << 16];
    private readonly Lock _lock = new();

    /// <summary>Counts one failure.</summary>
    /// <param name="address">Where the request came from; an IPv6 address counts by its /64.</param>
    /// <param name="clientId">The client id that it named, or an empty one.</param>
    /// <returns>How long to wait, where the failures of this minute are used up; otherwise <see langword="null"/>.</returns>
    public TimeSpan? Count(IPAddress? address, string clientId)
    {
        if (failuresPerMinute == 0)
        {
            return null;
        }

        var key = ((ulong)(uint)Source(address) << 32) | (uint)clientId.GetHashCode(StringComparison.Ordinal);
        var place = (key ^ (key >> 32)) & (ulong)(_entries.Length - 1);
        var now = time.GetTimestamp();
        lock (_lock)
        {
            ref var entry = ref _entries[place];
            if (entry.Failures == 0 || entry.Key != key || time.GetElapsedTime(entry.Start, now) >= s_window)
            {
                entry = new Entry(key, now, 1);
                return null;
            }

            if (entry.Failures < failuresPerMinute)
            {
                entry = entry with { Failures = entry.Failures + 1 };
                return null;
            }

            return s_window - time.GetElapsedTime(entry.Start, now);
        }
    }

    private static int Source(IPAddress? address)
    {
        if (address is null)
        {
            return 0;
        }

        if (address.IsIPv4MappedToIPv6)
        {
            address = address.MapToIPv4();
        }

        Span<byte> bytes = stackalloc byte[16];
        address.TryWriteBytes(bytes, out var length);
        var hash = default(HashCode);
        hash.AddBytes(bytes[..(address.AddressFamily == AddressFamily.InterNetworkV6 ? 8 : length)]);
        return hash.ToHashCode();
    }

    private readonly record struct Entry(ulong Key, long Start, int Failures);
}
