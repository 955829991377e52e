using System;
using System.Linq;
using CsCheck;
using FluentAssertions;
using TokenService.Clients;
using TokenService.Protocol;
using Xunit;

namespace TokenService.Tests.Clients;

public sealed class ClientSecretTests
{
    private static readonly DateTimeOffset s_now = DateTimeOffset.FromUnixTimeSeconds(1_800_000_000);

    [Fact]
    public void A_generated_secret_has_256_bits_and_stays_as_it_is_when_form_encoded()
    {
        var secrets = Enumerable.Range(0, 100).Select(_ => ClientSecret.Generate("client_secret_basic").Reveal()).ToList();

        secrets.Should().OnlyHaveUniqueItems().And.OnlyContain(secret => secret.Length == 43 && Uri.EscapeDataString(secret) == secret);
    }

    [Fact]
    public void Is_compared_whole_up_to_the_longest_and_never_by_a_prefix()
    {
        var longest = new string('s', ClientSecret.MaxBytes);
        var secrets = Kept(longest);

        Match(longest, secrets).Should().Be(SecretMatch.Valid);
        Match(longest[..^1], secrets).Should().Be(SecretMatch.None);
        Match(longest + "s", secrets).Should().Be(SecretMatch.None);
        Match(longest[..72], secrets).Should().Be(SecretMatch.None);
    }

    [Fact]
    public void Matches_nothing_where_there_is_nothing()
        => Match("", []).Should().Be(SecretMatch.None);

    [Fact]
    public void Tells_an_expired_secret_from_a_wrong_one()
    {
        var secret = Kept("secret")[0] with { ExpiresAt = s_now };

        ClientSecret.Match(new Secret("secret"), [secret], s_now.AddMilliseconds(-1), out _).Should().Be(SecretMatch.Valid);
        Match("secret", [secret]).Should().Be(SecretMatch.Expired);
        Match("other", [secret]).Should().Be(SecretMatch.None);
        Match("secret", [secret, secret with { ExpiresAt = null }]).Should().Be(SecretMatch.Valid);
    }

    [Theory]
    [InlineData("sha256:LCa0a2j_xo_5m0U8HTBBNBNCLXBkg7-g-YpeiGJm564", true)]
    [InlineData("LCa0a2j_xo_5m0U8HTBBNBNCLXBkg7-g-YpeiGJm564", false)]
    [InlineData("sha256:LCa0a2j_xo_5m0U8HTBBNBNCLXBkg7-g-YpeiGJm564=", false)]
    [InlineData("sha256:LCa0a2j/xo/5m0U8HTBBNBNCLXBkg7+g+YpeiGJm564", false)]
    [InlineData("sha256:LCa0a2j", false)]
    [InlineData("sha512:LCa0a2j_xo_5m0U8HTBBNBNCLXBkg7-g-YpeiGJm564", false)]
    [InlineData("", false)]
    public void A_hash_is_read_in_one_form_only(string text, bool read)
        => (ClientSecret.ParseHash(text) is not null).Should().Be(read);

    [Fact]
    public void A_hash_in_a_file_is_the_SHA_256_of_the_secret()
        => ClientSecret.ParseHash("sha256:LCa0a2j_xo_5m0U8HTBBNBNCLXBkg7-g-YpeiGJm564")!.Value
            .Should().Equal(ClientSecret.Digest(new Secret("foo")));

    private static SecretMatch Match(string sent, System.Collections.Immutable.ImmutableArray<ClientSecret> secrets)
        => ClientSecret.Match(new Secret(sent), secrets, s_now, out _);

    private static System.Collections.Immutable.ImmutableArray<ClientSecret> Kept(string secret)
        => [new ClientSecret(ClientSecret.Digest(new Secret(secret)), null, Origin.Command)];

    // The model: a list of texts with their ends.
    [Fact]
    public void Of_any_secrets_one_matches_where_it_is_one_of_them_and_has_not_ended() => Gen.Select(
        Gen.Select(Gen.OneOf("a", "b", "ab", ""), Gen.Int[-1, 2]).Array[0, 5], Gen.OneOf("a", "b", "ab", "", "c")).Sample(
        (kept, sent) =>
        {
            var secrets = kept.Select(one => Kept(one.Item1)[0] with { ExpiresAt = one.Item2 == 2 ? null : s_now.AddSeconds(one.Item2) }).ToArray();
            var same = kept.Where(one => one.Item1 == sent).ToList();
            var expected = same.Exists(one => one.Item2 > 0) ? SecretMatch.Valid : same.Count > 0 ? SecretMatch.Expired : SecretMatch.None;
            return ClientSecret.Match(new Secret(sent), [.. secrets], s_now, out var matched) == expected && (matched is not null) == (expected == SecretMatch.Valid);
        },
        iter: 20_000);
}
