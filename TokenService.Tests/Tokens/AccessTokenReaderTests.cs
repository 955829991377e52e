using System;
using System.Collections.Generic;
using System.Linq;
using System.Text;
using CsCheck;
using FluentAssertions;
using TokenService.Keys;
using TokenService.Tokens;
using Xunit;

namespace TokenService.Tests.Tokens;

/// <summary>Reading back one's own tokens, and nothing else.</summary>
public sealed class AccessTokenReaderTests
{
    private const string Issuer = "https://auth.example.com";

    private static readonly DateTimeOffset s_now = DateTimeOffset.FromUnixTimeSeconds(1_800_000_000);
    private static readonly SigningKey s_key = SigningKey.Generate("ES256");
    private static readonly SigningKeyRing s_ring = new(
        new KeySchedule([new KeyTimes(s_key.Kid, s_key.Algorithm, s_now.AddDays(-2), s_now.AddDays(-1))]), new Dictionary<string, SigningKey> { [s_key.Kid] = s_key });

    [Fact]
    public void Every_token_is_read_back_as_it_was_granted_until_it_expires() => Gen.Select(
        Gen.String[1, 30], Gen.String[Gen.Char["ab.:"], 1, 6].Array[1, 5], Gen.Int[60, 86_400], Gen.Int[0, 90_000]).Sample(
        (id, scopes, lifetime, later) =>
        {
            id = Encoding.UTF8.GetString(Encoding.UTF8.GetBytes(id));
            var read = AccessTokenReader.Read(Token(id, scopes, lifetime), Issuer, s_ring, s_now.AddSeconds(later));
            return later >= lifetime
                ? read is null
                : read is not null && read.ClientId == id && read.Subject == id && read.Scope == string.Join(' ', scopes) && read.ExpiresAt == s_now.AddSeconds(lifetime);
        },
        iter: 2_000);

    [Fact]
    public void A_token_with_any_character_changed_added_or_missing_is_none()
    {
        var token = Token("reporting-job", ["catalog.read"], 600);
        AccessTokenReader.Read(token, Issuer, s_ring, s_now).Should().NotBeNull();

        Gen.Select(Gen.Int[0, token.Length - 1], Gen.Char["AZaz09-_.= \n"], Gen.Int[0, 2]).Where((at, c, how) => how != 0 || token[at] != c).Sample(
            (at, c, how) => AccessTokenReader.Read(
                how switch { 0 => $"{token[..at]}{c}{token[(at + 1)..]}", 1 => token.Insert(at, $"{c}"), _ => token.Remove(at, 1) }, Issuer, s_ring, s_now) is null,
            iter: 5_000);
    }

    [Fact]
    public void Whatever_is_said_to_be_a_token_is_none() => Gen.OneOf(
        Gen.String, Gen.String[Gen.Char["eyJ09-_.="], 0, 80], Gen.Select(Gen.Byte.Array[0, 30], Gen.Byte.Array[0, 30], (one, other)
            => $"{System.Buffers.Text.Base64Url.EncodeToString(one)}.{System.Buffers.Text.Base64Url.EncodeToString(other)}.AA")).Sample(
        text => AccessTokenReader.Read(text, Issuer, s_ring, s_now) is null, iter: 20_000);

    private static string Token(string id, string[] scopes, int lifetime) => Encoding.ASCII.GetString(AccessTokenIssuer.Issue(
        new GrantedToken { ClientId = id, Scopes = [.. scopes], Audience = ["urn:a"], Lifetime = TimeSpan.FromSeconds(lifetime) }, Issuer, s_key, s_now).AccessToken.Span);
}
