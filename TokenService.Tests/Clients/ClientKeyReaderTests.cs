using System.Linq;
using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Nodes;
using CsCheck;
using FluentAssertions;
using Microsoft.IdentityModel.Tokens;
using TokenService.Clients;
using TokenService.Tests.Support;
using Xunit;

namespace TokenService.Tests.Clients;

/// <summary>Which public keys a client may be registered with.</summary>
public sealed class ClientKeyReaderTests
{
    private static readonly ClientKeyPair s_rsa = ClientKeyPair.OfRsa();
    private static readonly ClientKeyPair s_p521 = ClientKeyPair.For("ES512");
    private static readonly ClientKeyPair s_ec = ClientKeyPair.OfEc(ECCurve.NamedCurves.nistP256);

    [Fact]
    public void RSA_keys_of_2048_to_4096_bits_and_the_three_curves_are_read()
    {
        var read = Read(ClientKeyPair.Set(
            s_rsa.Jwk("1"), ClientKeyPair.OfRsa(4096).Jwk("2"), s_ec.Jwk("3"), ClientKeyPair.For("ES384").Jwk("4"), ClientKeyPair.For("ES512").Jwk(null)));

        read.Faults.Should().BeEmpty();
        read.Keys.Select(key => key.Jwk.Kid).Should().Equal("1", "2", "3", "4", null);
        read.Keys.Select(key => string.Join(' ', key.Algorithms)).Should().Equal(
            "RS256 RS384 RS512 PS256 PS384 PS512", "RS256 RS384 RS512 PS256 PS384 PS512", "ES256", "ES384", "ES512");
    }

    [Fact]
    public void An_alg_narrows_a_key_to_it()
        => Read(ClientKeyPair.Set(s_rsa.Jwk("1", "PS384"))).Keys.Single().Algorithms.Should().Equal("PS384");

    [Fact]
    public void A_zero_in_front_of_an_integer_is_dropped_and_members_nobody_knows_are_passed_over()
    {
        var jwk = s_rsa.Jwk();
        jwk["n"] = Base64UrlEncoder.Encode([0, .. s_rsa.Rsa.ExportParameters(false).Modulus!]);
        (jwk["x5t"], jwk["ext"], jwk["use"], jwk["key_ops"]) = ("abc", true, "sig", new JsonArray("verify"));

        Read(ClientKeyPair.Set(jwk)).Keys.Single().Should().Be(Read(ClientKeyPair.Set(s_rsa.Jwk())).Keys.Single());
    }

    [Theory]
    [InlineData("kty", null, "keys[0].kty must be \"RSA\" or \"EC\"")]
    [InlineData("kty", "\"oct\"", "keys[0].kty must be")]
    [InlineData("kty", "5", "keys[0].kty must be a string")]
    [InlineData("kid", "\"\"", "keys[0].kid must have 1 to 256 characters")]
    [InlineData("kid", "1", "keys[0].kid must be a string")]
    [InlineData("use", "\"enc\"", "keys[0].use must be \"sig\"")]
    [InlineData("key_ops", "[\"sign\"]", "keys[0].key_ops must have \"verify\"")]
    [InlineData("key_ops", "\"verify\"", "keys[0].key_ops must have \"verify\"")]
    [InlineData("alg", "\"ES256\"", "keys[0].alg does not go with the key; accepted: RS256, RS384")]
    [InlineData("alg", "\"HS256\"", "keys[0].alg does not go with the key")]
    [InlineData("alg", "\"none\"", "keys[0].alg does not go with the key")]
    [InlineData("n", null, "keys[0].n must be an integer in base64url")]
    [InlineData("n", "\"\"", "keys[0].n must be an integer in base64url")]
    [InlineData("n", "\"AA==\"", "keys[0].n must be an integer in base64url")]
    [InlineData("n", "\"AQAB\"", "keys[0].n must be an RSA modulus of 2048 to 4096 bits")]
    [InlineData("e", null, "keys[0].e must be an integer in base64url")]
    [InlineData("e", "\"AQ\"", "keys[0].e must be an odd public exponent")]
    [InlineData("e", "\"AQAA\"", "keys[0].e must be an odd public exponent")]
    [InlineData("e", "\"AQAAAAAB\"", "keys[0].e must be an odd public exponent")]
    [InlineData("d", "\"AQAB\"", "keys[0] holds a private or secret key")]
    [InlineData("k", "\"AQAB\"", "keys[0] holds a private or secret key")]
    public void A_wrong_RSA_key_is_refused_with_the_place(string member, string? value, string message)
        => Faults(Changed(s_rsa, member, value)).Should().ContainSingle().Which.Should().StartWith(message);

    [Theory]
    [InlineData("crv", "\"P-224\"", "keys[0].crv must be \"P-256\", \"P-384\" or \"P-521\"")]
    [InlineData("crv", "\"secp256k1\"", "keys[0].crv must be")]
    [InlineData("crv", "\"P-384\"", "keys[0].x must be 48 bytes")]
    [InlineData("x", null, "keys[0].x must be 32 bytes")]
    [InlineData("x", "\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"", "keys[0] is no key: x and y are no point on the curve")]
    [InlineData("y", "\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE\"", "keys[0] is no key: x and y are no point on the curve")]
    public void A_wrong_EC_key_is_refused_with_the_place(string member, string? value, string message)
        => Faults(Changed(s_ec, member, value)).Should().ContainSingle().Which.Should().StartWith(message);

    [Theory]
    [InlineData(1024)]
    [InlineData(2040)]
    [InlineData(4104)]
    public void An_RSA_key_of_another_length_is_refused(int bits)
        => Faults(ClientKeyPair.Set(ClientKeyPair.OfRsa(bits).Jwk())).Single().Should().StartWith("keys[0].n must be an RSA modulus");

    [Fact]
    public void The_point_at_infinity_is_no_key()
    {
        var jwk = s_ec.Jwk();
        (jwk["x"], jwk["y"]) = (Base64UrlEncoder.Encode(new byte[32]), Base64UrlEncoder.Encode(new byte[32]));

        Faults(ClientKeyPair.Set(jwk)).Single().Should().Contain("no point on the curve");
    }

    [Fact]
    public void An_even_modulus_is_no_key()
    {
        var modulus = s_rsa.Rsa.ExportParameters(false).Modulus!;
        modulus[^1] ^= 1;
        Faults(Changed(s_rsa, "n", $"\"{Base64UrlEncoder.Encode(modulus)}\"")).Single().Should().StartWith("keys[0].n must be an RSA modulus");
    }

    [Theory]
    [InlineData("[]", "must be a JWK Set")]
    [InlineData("{}", "must be a JWK Set")]
    [InlineData("{\"keys\":{}}", "must be a JWK Set")]
    [InlineData("{\"keys\":[]}", "keys must have 1 to 32 keys")]
    [InlineData("{\"keys\":[5]}", "keys[0] must be a JWK")]
    public void What_is_no_key_set_is_refused(string json, string message) => Faults(json).Single().Should().StartWith(message);

    [Fact]
    public void A_kid_that_stands_twice_is_refused_and_so_are_33_keys()
    {
        Faults(ClientKeyPair.Set(s_rsa.Jwk(), s_ec.Jwk())).Single().Should().Be("keys[1].kid stands already at another key");
        Faults(ClientKeyPair.Set([.. Enumerable.Range(0, 33).Select(i => s_ec.Jwk($"{i}"))])).Single().Should().Be("keys must have 1 to 32 keys");
    }

    private static string Changed(ClientKeyPair key, string member, string? value)
    {
        var jwk = key.Jwk();
        jwk.Remove(member);
        if (value is not null)
        {
            jwk[member] = JsonNode.Parse(value);
        }

        return ClientKeyPair.Set(jwk);
    }

    private static string[] Faults(string json) => [.. Read(json).Faults.Select(fault => $"{fault.Place} {fault.Message}".TrimStart())];

    private static ClientKeysRead Read(string json) => ClientKeyReader.Read(JsonDocument.Parse(json).RootElement);

    [Fact]
    public void A_changed_key_is_refused_or_another_one()
    {
        foreach (var set in (string[])[ClientKeyPair.Set(s_rsa.Jwk()), ClientKeyPair.Set(s_ec.Jwk())])
        {
            var key = Read(set).Keys.Single();
            Gen.Select(Gen.Int[0, set.Length - 1], Gen.Char["AQgw019-_\"{}[]:,=\\ nedk"]).Sample(
                (at, c) =>
                {
                    var changed = $"{set[..at]}{c}{set[(at + 1)..]}";
                    return changed == set || Strict(changed) is not { } read || read.Keys.IsEmpty || !read.Keys[0].Equals(key) || !read.Faults.IsEmpty || changed.Replace(" ", "") == set;
                },
                iter: 3_000);
        }
    }

    [Fact]
    public void What_was_read_reads_the_same_when_it_is_written_again() => Gen.Int[0, 2].Sample(
        which =>
        {
            var pair = (ClientKeyPair[])[s_rsa, s_ec, s_p521];
            var key = Read(ClientKeyPair.Set(pair[which].Jwk())).Keys.Single();
            var jwk = System.Text.Json.JsonSerializer.SerializeToElement(key.Jwk, TokenService.Protocol.ProtocolJson.Default.PublicJwk);
            return ClientKeyReader.ReadOne(jwk, out var again) is null && key.Equals(again) && key.Thumbprint() == again!.Thumbprint();
        },
        iter: 10);

    private static ClientKeysRead? Strict(string json) => TokenService.Protocol.StrictJson.ReadObject(System.Text.Encoding.UTF8.GetBytes(json)) is { } set ? ClientKeyReader.Read(set) : null;
}
