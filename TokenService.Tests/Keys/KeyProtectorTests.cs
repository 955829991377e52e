using System;
using System.Linq;
using System.Security.Cryptography;
using FluentAssertions;
using TokenService.Keys;
using Xunit;

namespace TokenService.Tests.Keys;

public sealed class KeyProtectorTests : IDisposable
{
    private static readonly byte[] s_value = [1, 2, 3, 4, 5];

    private readonly KeyProtector _protector = new(RandomNumberGenerator.GetBytes(32));

    public void Dispose() => _protector.Dispose();

    [Fact]
    public void Opens_what_it_closed_and_closes_it_differently_each_time()
    {
        var first = _protector.Protect(s_value, "t", "r", "p");
        var second = _protector.Protect(s_value, "t", "r", "p");

        _protector.Unprotect(first, "t", "r", "p").Should().Equal(s_value);
        first.Should().NotEqual(second);
    }

    [Fact]
    public void Does_not_open_with_any_byte_changed_or_missing()
    {
        var closed = _protector.Protect(s_value, "t", "r", "p");
        for (var i = 0; i < closed.Length; i++)
        {
            var changed = (byte[])closed.Clone();
            changed[i] ^= 1;
            ShouldNotOpen(_protector, changed, "t", "r", "p");
            ShouldNotOpen(_protector, closed[..i], "t", "r", "p");
        }
    }

    [Theory]
    [InlineData("t2", "r", "p")]
    [InlineData("t", "r2", "p")]
    [InlineData("t", "r", "p2")]
    [InlineData("tr", "", "p")]
    public void Does_not_open_in_another_place(string table, string row, string purpose)
        => ShouldNotOpen(_protector, _protector.Protect(s_value, "t", "r", "p"), table, row, purpose);

    [Fact]
    public void Does_not_open_under_another_master_key()
    {
        using var other = new KeyProtector(RandomNumberGenerator.GetBytes(32));
        ShouldNotOpen(other, _protector.Protect(s_value, "t", "r", "p"), "t", "r", "p");
    }

    private static void ShouldNotOpen(KeyProtector protector, byte[] closed, string table, string row, string purpose)
        => protector.Invoking(p => p.Unprotect(closed, table, row, purpose)).Should().Throw<CryptographicException>();

    [Fact]
    public void Many_threads_may_use_one_protector()
    {
        using var protector = new KeyProtector(new byte[32]);
        var values = Enumerable.Range(0, 64).Select(i => protector.Protect([(byte)i, 1, 2, 3], "t", $"{i}", "p")).ToArray();

        System.Threading.Tasks.Parallel.For(0, 20_000, new System.Threading.Tasks.ParallelOptions { MaxDegreeOfParallelism = 8 }, round =>
        {
            var i = round % 64;
            protector.Unprotect(values[i], "t", $"{i}", "p").Should().Equal((byte)i, 1, 2, 3);
            protector.Unprotect(protector.Protect([9, (byte)i], "t", "x", "p"), "t", "x", "p").Should().Equal(9, (byte)i);
        });
    }
}
