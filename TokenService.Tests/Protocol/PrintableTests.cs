using System.Linq;
using CsCheck;
using FluentAssertions;
using TokenService.Clients;
using TokenService.Protocol;
using Xunit;

namespace TokenService.Tests.Protocol;

/// <summary>What a caller sent, where it is told to the operator.</summary>
public sealed class PrintableTests
{
    private static readonly Gen<string> s_separators = Gen.OneOf(" ", ":", "\"", "\r\n", "=", "ö", ".");

    [Fact]
    public void Every_text_prints_in_one_line_of_printable_ASCII_and_no_longer_than_its_limit() => Gen.String.Sample(
        text =>
        {
            var (quoted, escaped) = (Printable.Quote(text), Printable.Escape(text, 20));
            return quoted.All(c => c is >= ' ' and <= '~' or '…') && escaped.All(c => c is >= ' ' and <= '~' and not '"') && escaped.Length <= 6 * 20
                && quoted.Length <= (6 * 64) + 40;
        },
        iter: 20_000);

    [Fact]
    public void Text_that_is_printable_already_stays_as_it_is() => Gen.String[Gen.Char.AlphaNumeric, 0, 64].Sample(text => Printable.Quote(text) == $"\"{text}\"");

    [Fact]
    public void A_generated_secret_is_withheld_wherever_it_stands_and_so_is_what_shortening_leaves_of_it()
    {
        Gen.Select(Gen.String[Gen.Char.AlphaNumeric, 0, 80], s_separators, Gen.String[Gen.Char.AlphaNumeric, 0, 40], Gen.Bool).Sample(
            (before, separator, after, isLong) =>
            {
                var secret = ClientSecret.Generate(isLong ? AuthenticationMethods.ClientSecretJwt : AuthenticationMethods.ClientSecretBasic).Reveal();
                var shown = Withhold(Printable.Quote($"{before}{separator}{secret}{separator}{after}"));

                // Seven characters of 43 help nobody.
                return !Enumerable.Range(0, secret.Length - 7).Any(at => shown.Contains(secret.Substring(at, 8), System.StringComparison.Ordinal));
            },
            iter: 20_000);
    }

    [Fact]
    public void What_is_withheld_is_found_behind_and_before_short_words_of_any_number()
    {
        const string Chosen = "chosen-by-me-123";
        var words = Gen.Select(Gen.String[Gen.Char["abu09"], 0, 7], Gen.Char[" :=&.…\\"], (word, end) => word + end).Array[0, 40].Select(string.Concat);
        Gen.Select(words, Gen.OneOf(Chosen, "eyJ", "eyJhbGciOiJub25lIn0.e30.AA", new string('a', 43), $"{new string('a', 36)}A0"), words).Sample(
            (before, secret, after) => Printable.Withhold($"{before} {secret} {after}", text => text == Chosen) == $"{before} *** {after}",
            iter: 20_000);
    }

    [Theory]
    [InlineData("eyJhbGciOiJub25lIn0.e30.")]
    [InlineData("x eyJhbGciOiJub25lIn0.e30.AA y")]
    [InlineData("Bearer=eyJhbGciOiJub25lIn0.e30.AA")]
    [InlineData("token_eyJhbGciOiJub25lIn0.e30.AA")]
    [InlineData("aaaaaaaaeyJhbGciOiJub25lIn0.e30.AA")]
    [InlineData("\\u0022eyJhbGciOiJub25lIn0\\u0022")]
    public void A_JWT_is_withheld_also_where_it_is_glued_to_something(string text)
        => Withhold(text).Should().Contain("***").And.NotContain("hbGci");

    [Theory]
    [InlineData("keyJob")]
    [InlineData("keyJobs.example.com")]
    [InlineData("client \"reporting-job\" sent the right secret by client_secret_basic")]
    [InlineData("012345678901234567890123456789012345678901234567890123456789")]
    public void What_looks_like_none_is_shown(string text) => Withhold(text).Should().Be(text);

    [Theory]
    [InlineData("chosen-by-somebody-1")]
    [InlineData("chosen \"by\" somebody")]
    [InlineData("\"chosen\\by\\somebody")]
    [InlineData("chösen-by-sömebody-1")]
    public void A_chosen_secret_is_withheld_beside_and_with_characters_that_are_escaped(string secret)
    {
        foreach (var (before, after) in ((string, string)[])[("", ""), ("\u001b", ""), ("", "\u001b"), ("\r\n", "\u00a0"), ("\t", "\0")])
        {
            var shown = Printable.Withhold(Printable.Quote($"{before}{secret}{after}"), text => text == secret);
            shown.Should().Contain("***").And.NotContain("omebody");
        }
    }

    [Fact]
    public void Withholding_twice_changes_nothing_more() => Gen.String[Gen.Char["aeyJ09-_. \"…("], 0, 120].Sample(
        text => Withhold(Withhold(text)) == Withhold(text), iter: 20_000);

    private static string Withhold(string text) => Printable.Withhold(text, _ => false);
}
