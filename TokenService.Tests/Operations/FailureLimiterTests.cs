using System;
using System.Net;
using FluentAssertions;
using Microsoft.Extensions.Time.Testing;
using TokenService.Operations;
using TokenService.Tests.Endpoints;
using TokenService.Tests.Support;
using Xunit;

namespace TokenService.Tests.Operations;

public sealed class FailureLimiterTests
{
    private readonly FakeTimeProvider _time = new();

    [Fact]
    public void Counts_by_address_and_client_id()
    {
        var limiter = new FailureLimiter(2, _time);
        var (here, there) = (IPAddress.Parse("192.0.2.1"), IPAddress.Parse("192.0.2.2"));

        limiter.Count(here, "a").Should().BeNull();
        limiter.Count(here, "a").Should().BeNull();
        limiter.Count(here, "a").Should().Be(TimeSpan.FromMinutes(1));
        limiter.Count(here, "b").Should().BeNull();
        limiter.Count(there, "a").Should().BeNull();
        limiter.Count(here.MapToIPv6(), "a").Should().NotBeNull();

        _time.Advance(TimeSpan.FromMinutes(1));
        limiter.Count(here, "a").Should().BeNull();
    }

    [Fact]
    public void Takes_the_addresses_of_an_IPv6_network_as_one()
    {
        var limiter = new FailureLimiter(1, _time);

        limiter.Count(IPAddress.Parse("2001:db8::1"), "a").Should().BeNull();
        limiter.Count(IPAddress.Parse("2001:db8::ffff:2"), "a").Should().NotBeNull();
        limiter.Count(IPAddress.Parse("2001:db8:0:1::1"), "a").Should().BeNull();
    }

    [Fact]
    public void Zero_is_off()
    {
        var limiter = new FailureLimiter(0, _time);
        for (var i = 0; i < 1000; i++)
        {
            limiter.Count(IPAddress.Loopback, "a").Should().BeNull();
        }
    }

    [Fact]
    public void A_flood_of_client_ids_takes_no_memory()
    {
        var limiter = new FailureLimiter(60, _time);
        var ids = new string[1000];
        for (var i = 0; i < ids.Length; i++)
        {
            ids[i] = $"client-{i}";
        }

        // Once before: what the first call of a method or a lock takes is taken once.
        Flood();
        var before = GC.GetAllocatedBytesForCurrentThread();
        Flood();

        (GC.GetAllocatedBytesForCurrentThread() - before).Should().BeLessThan(4096);

        void Flood()
        {
            for (var i = 0; i < 1_000_000; i++)
            {
                limiter.Count(IPAddress.Loopback, ids[i % ids.Length]);
            }
        }
    }
}

/// <summary>What the table of failures takes. The memory of the whole process is measured: nothing else runs meanwhile.</summary>
[Collection(nameof(UnderLoad))]
public sealed class FailureLimiterMemoryTests
{
    [Fact]
    public void A_flood_of_addresses_and_client_ids_takes_at_most_16_MiB()
    {
        var before = GC.GetTotalMemory(forceFullCollection: true);
        var limiter = new FailureLimiter(1, new FakeTimeProvider());
        var chance = new Random(1);
        var address = new byte[16];
        for (var i = 0; i < LongForm.Of(1_000_000, 10_000_000); i++)
        {
            chance.NextBytes(address);
            limiter.Count(new IPAddress(i % 2 == 0 ? address : address[..4]), $"client-{chance.Next()}");
        }

        (GC.GetTotalMemory(forceFullCollection: true) - before).Should().BeLessThan(16 * 1024 * 1024);
        limiter.Count(IPAddress.Loopback, "a").Should().BeNull();
        limiter.Count(IPAddress.Loopback, "a").Should().NotBeNull("it still counts");
    }
}
