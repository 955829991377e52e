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

    [Fact]
    public void What_a_caller_sent_is_shortened() => Printable.Quote(new string('x', 60_000)).Length.Should().BeLessThan(100);
}
