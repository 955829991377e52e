using System;
using FluentAssertions;
using TokenService.Commands;
using Xunit;

namespace TokenService.Tests.Commands;

public sealed class DurationTests
{
    [Theory]
    [InlineData("30s", 30)]
    [InlineData("15m", 900)]
    [InlineData("24h", 86_400)]
    [InlineData("7d", 604_800)]
    [InlineData("0s", 0)]
    [InlineData("00:01:30", 90)]
    [InlineData("1.00:00:00", 86_400)]
    public void Reads(string text, int seconds) => Duration.Parse(text).Should().Be(TimeSpan.FromSeconds(seconds));

    [Theory]
    [InlineData("")]
    [InlineData("s")]
    [InlineData("30")]
    [InlineData("30 s")]
    [InlineData("-30s")]
    [InlineData("+30s")]
    [InlineData("1.5h")]
    [InlineData("30S")]
    [InlineData("1w")]
    [InlineData("1:30")]
    [InlineData("25:00:00")]
    [InlineData("99999999999d")]
    [InlineData("999999999d")]
    [InlineData("9999999.00:00:00")]
    public void Refuses(string text) => Duration.Parse(text).Should().BeNull();
}
