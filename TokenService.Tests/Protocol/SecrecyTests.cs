using System.Text.Json;
using FluentAssertions;
using TokenService.Clients;
using TokenService.Protocol;
using Xunit;

namespace TokenService.Tests.Protocol;

public sealed class SecrecyTests
{
    [Fact]
    public void A_secret_prints_as_stars_alone_and_inside_a_request()
    {
        var secret = new Secret("geheim");
        var request = new TokenRequest { ClientSecret = secret, Authorization = secret, ClientAssertion = secret };

        $"{secret}".Should().Be("***");
        $"{request}".Should().Contain("***").And.NotContain("geheim");
        $"{new ClientMetadata { ClientSecrets = [secret] }}".Should().NotContain("geheim");
        JsonSerializer.Serialize(secret).Should().Be("{}");
    }

    [Theory]
    [InlineData("plain", "\"plain\"")]
    [InlineData("line\r\nbreak", "\"line\\u000D\\u000Abreak\"")]
    [InlineData("\u001b[31m", "\"\\u001B[31m\"")]
    [InlineData("quo\"te\\", "\"quo\\u0022te\\u005C\"")]
    [InlineData("раypal", "\"\\u0440\\u0430ypal\"")]
    public void What_a_caller_sent_is_printed_so_that_no_log_line_can_be_forged(string sent, string printed)
        => Printable.Quote(sent).Should().Be(printed);

    [Theory]
    [InlineData("reporting-job", "reporting-job")]
    [InlineData("0f6a4a3e-7b1e-4d5c-9a53-6e6d1f3d8c11", "0f6a4a3e-7b1e-4d5c-9a53-6e6d1f3d8c11")]
    [InlineData("https://catalog.example.com/a/very/long/path/that/goes/on-and-on/to/the/end", "https://catalog.example.com/a/very/long/path/that/goes/on-and-on/to/the/end")]
    [InlineData("\"catalog.read a-secret-that-somebody-has\"", "\"catalog.read ***\"")]
    [InlineData("a-secret-that-somebody-has", "***")]
    [InlineData("\"https://x.example.com/?key=a-secret-that-somebody-has&a=b\"", "\"https://x.example.com/?key=***&a=b\"")]
    [InlineData("somebody's secret has spaces", "***")]
    [InlineData("a lWZkXhGEdsJn3cXkLrQqdtqjKkbBUv0mTrYqEJd4pW a", "a *** a")]
    [InlineData("a lWZkXhGEdsJn3cXkLrQqdtqjKkbBUv0mTrYqEJd4pWQ7 a", "a *** a")]
    [InlineData("a MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIB/AQQg+5 a", "a *** a")]
    [InlineData("-----BEGIN EC PRIVATE KEY-----\nabc", "***")]
    [InlineData("https://x.example.com/?key=lWZkXhGEdsJn3cXkLrQqdtqjKkbBUv0mTrYqEJd4pWQ", "https://x.example.com/?key=***")]
    [InlineData("eyJhbGciOiJFUzI1NiJ9.e30.c2ln", "***")]
    [InlineData("\"a!b!c!d!e!f!g!h!i!j!k!l!m!n!o!p!q!r!s!t!u!v!w!x!y!z!a!b!c!d!e!f!\"… (67 characters)", "\"***\"… (67 characters)")]
    public void What_is_or_may_be_a_secret_in_a_wrong_place_is_not_shown(string sent, string shown)
        => Printable.Withhold(sent, text => text is "a-secret-that-somebody-has" or "somebody's secret has spaces").Should().Be(shown);

    [Fact]
    public void That_takes_no_longer_the_more_is_sent()
    {
        foreach (var text in (string[])[new('a', 65_536), new('A', 65_536), string.Concat(System.Linq.Enumerable.Repeat("a ", 32_768)), new('/', 65_536), new(' ', 65_536)])
        {
            var since = System.Diagnostics.Stopwatch.StartNew();
            Printable.Withhold(text, _ => false);
            since.ElapsedMilliseconds.Should().BeLessThan(500);
        }
    }

    [Fact]
    public void What_a_caller_sent_is_shortened() => Printable.Quote(new string('x', 60_000)).Length.Should().BeLessThan(100);
}
