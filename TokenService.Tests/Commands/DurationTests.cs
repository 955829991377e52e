using System;
using System.Text.RegularExpressions;
using CsCheck;
using FluentAssertions;
using TokenService.Commands;
using Xunit;

namespace TokenService.Tests.Commands;

public sealed partial class DurationTests
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

    [Fact]
    public void Reads_back_whatever_is_written_in_any_unit() => Gen.Select(Gen.Int[0, 36_500], Gen.OneOf('s', 'm', 'h', 'd')).Sample(
        (count, unit) => Duration.Parse($"{count}{unit}") == count * (unit switch { 's' => TimeSpan.FromSeconds(1), 'm' => TimeSpan.FromMinutes(1), 'h' => TimeSpan.FromHours(1), _ => TimeSpan.FromDays(1) }));

    [Fact]
    public void Takes_nothing_but_what_the_help_says() => Gen.OneOf(Gen.String, Gen.String[Gen.Char["0129:.smhd-+ "], 0, 12]).Sample(
        text => Duration.Parse(text) is not { } duration
            || (Form().IsMatch(text) && duration >= TimeSpan.Zero && duration <= TimeSpan.FromDays(36_500)),
        iter: 50_000);

    [GeneratedRegex(@"\A([0-9]+[smhd]|([0-9]+\.)?[0-9]{2}:[0-9]{2}:[0-9]{2})\z")]
    private static partial Regex Form();
}
