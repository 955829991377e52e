using System;
using System.Collections.Generic;
using System.Linq;
using System.Text;
using System.Text.Json;
using System.Threading.Tasks;
using CsCheck;
using FluentAssertions;
using Microsoft.IdentityModel.JsonWebTokens;
using Microsoft.IdentityModel.Tokens;
using TokenService.Keys;
using TokenService.Protocol;
using TokenService.Tokens;
using Xunit;

namespace TokenService.Tests.Tokens;

/// <summary>The service writes its tokens itself. Each is what the JWT library makes of the same claims, and the library reads it.</summary>
public sealed class AccessTokenIssuerTests
{
    private const string Issuer = "https://tokens.example.com/tenant";

    private static readonly DateTimeOffset s_now = new(2026, 11, 25, 12, 0, 0, TimeSpan.Zero);

    // Whatever may be in an id: other scripts, surrogate pairs, and what JSON has to escape.
    private static readonly Gen<string> s_ids = Gen.OneOf(
        Gen.String[Gen.Char.AlphaNumeric, 1, 40],
        Gen.String[Among('a', '"', '\\', '/', '<', '+', '&', '\'', 'ä', '語', '\u2028', ' ', '\u007f'), 1, 40],
        Gen.Const("client-🔑-\ud83d\ude00"));

    private static readonly Gen<GrantedToken> s_granted =
        from id in s_ids
        from scopes in Gen.String[Among('a', 'b', '.', ':', '/', '!', '<', '+', '~'), 1, 12].Array[1, 6]
        from resources in Among("https://api.example.com", "https://api.example.com/ä", "urn:example:catalog").Array[1, 3]
        from lifetime in Gen.Int[60, 86_400]
        select new GrantedToken
        {
            ClientId = id,
            Scopes = [.. scopes.Distinct()],
            Audience = [.. resources.Distinct()],
            Lifetime = TimeSpan.FromSeconds(lifetime),
        };

    [Theory]
    [InlineData("RS256")]
    [InlineData("PS256")]
    [InlineData("ES256")]
    public void A_token_is_what_the_JWT_library_makes_of_the_same_claims(string algorithm)
    {
        var key = SigningKey.Generate(algorithm);
        s_granted.Sample(granted =>
        {
            var answer = AccessTokenIssuer.Issue(granted, Issuer, key, s_now.AddMilliseconds(999));
            var own = Encoding.ASCII.GetString(answer.AccessToken.Span);
            var claims = Decoded(own, 1);

            // The one claim that is made up.
            var tokenId = claims.GetProperty("jti").GetString()!;
            var theirs = Library(granted, tokenId, key);

            JsonElement.DeepEquals(claims, Decoded(theirs, 1)).Should().BeTrue("{0} is to equal {1}", claims, Decoded(theirs, 1));
            JsonElement.DeepEquals(Decoded(own, 0), Decoded(theirs, 0)).Should().BeTrue("{0} is to equal {1}", Decoded(own, 0), Decoded(theirs, 0));
            own.Split('.')[2].Length.Should().Be(theirs.Split('.')[2].Length);
            (answer.TokenType, answer.ExpiresIn, answer.Scope)
                .Should().Be(("Bearer", (long)granted.Lifetime.TotalSeconds, string.Join(' ', granted.Scopes)));
        }, iter: algorithm == "ES256" ? 1_000 : 100);
    }

    [Theory]
    [InlineData("RS256")]
    [InlineData("PS256")]
    [InlineData("ES256")]
    public async Task The_JWT_library_accepts_a_token_by_the_published_key_and_by_no_other(string algorithm)
    {
        var key = SigningKey.Generate(algorithm);
        var published = new JsonWebKey(JsonSerializer.Serialize(key.PublicKey, ProtocolJson.Default.PublicJwk));
        var other = new JsonWebKey(JsonSerializer.Serialize(SigningKey.Generate(algorithm).PublicKey, ProtocolJson.Default.PublicJwk)) { Kid = published.Kid };
        foreach (var granted in s_granted.Array[20].Single())
        {
            var token = Encoding.ASCII.GetString(AccessTokenIssuer.Issue(granted, Issuer, key, DateTimeOffset.UtcNow).AccessToken.Span);

            (await Validate(token, published)).Exception.Should().BeNull();
            (await Validate(token, other)).IsValid.Should().BeFalse();
            (await Validate(Forged(token), published)).IsValid.Should().BeFalse();
        }
    }

    [Fact]
    public void No_two_tokens_have_the_same_id_whichever_threads_make_them()
    {
        var key = SigningKey.Generate("ES256");
        var granted = new GrantedToken { ClientId = "job", Scopes = ["read"], Audience = ["https://api.example.com"], Lifetime = TimeSpan.FromMinutes(1) };
        var ids = ParallelEnumerable.Range(0, 5_000)
            .Select(_ => Decoded(Encoding.ASCII.GetString(AccessTokenIssuer.Issue(granted, Issuer, key, s_now).AccessToken.Span), 1).GetProperty("jti").GetString()!)
            .ToList();

        ids.Should().OnlyHaveUniqueItems();
        ids.Should().AllSatisfy(id => Base64UrlEncoder.DecodeBytes(id).Should().HaveCount(16));
    }

    [Theory]
    [InlineData("RS256")]
    [InlineData("PS256")]
    [InlineData("ES256")]
    [InlineData("ES384")]
    [InlineData("ES512")]
    public void Many_threads_sign_with_one_key(string algorithm)
    {
        var key = SigningKey.Generate(algorithm);
        ParallelEnumerable.Range(0, 200).WithDegreeOfParallelism(16).All(number =>
        {
            var content = Encoding.UTF8.GetBytes($"content {number}");
            var signature = new byte[key.SignatureLength];
            key.Sign(content, signature);
            return key.Verifies(content, signature);
        }).Should().BeTrue();
    }

    private static Gen<T> Among<T>(params T[] values) => Gen.Int[0, values.Length - 1].Select(place => values[place]);

    private static string Library(GrantedToken granted, string tokenId, SigningKey key)
        => new JsonWebTokenHandler { SetDefaultTimesOnTokenCreation = false }.CreateToken(new SecurityTokenDescriptor
        {
            TokenType = "at+jwt",
            SigningCredentials = key.Credentials,
            Claims = new Dictionary<string, object>
            {
                ["iss"] = Issuer,
                ["sub"] = granted.ClientId,
                ["client_id"] = granted.ClientId,
                ["aud"] = granted.Audience is [var single] ? single : granted.Audience.ToList(),
                ["scope"] = string.Join(' ', granted.Scopes),
                ["iat"] = s_now.ToUnixTimeSeconds(),
                ["exp"] = s_now.ToUnixTimeSeconds() + (long)granted.Lifetime.TotalSeconds,
                ["jti"] = tokenId,
            },
        });

    private static JsonElement Decoded(string token, int part) => JsonDocument.Parse(Base64UrlEncoder.DecodeBytes(token.Split('.')[part])).RootElement;

    private static string Forged(string token)
    {
        var parts = token.Split('.');
        var claims = Encoding.UTF8.GetString(Base64UrlEncoder.DecodeBytes(parts[1])).Replace("\"iat\":", "\"iat\":1", StringComparison.Ordinal);
        return $"{parts[0]}.{Base64UrlEncoder.Encode(claims)}.{parts[2]}";
    }

    private static Task<TokenValidationResult> Validate(string token, SecurityKey key) => new JsonWebTokenHandler().ValidateTokenAsync(token, new TokenValidationParameters
    {
        ValidIssuer = Issuer,
        ValidAudiences = ["https://api.example.com", "https://api.example.com/ä", "urn:example:catalog"],
        ValidTypes = ["at+jwt"],
        IssuerSigningKey = key,
    });
}
