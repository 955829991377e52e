using System;
using System.Collections.Generic;
using System.Linq;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using System.Threading.Tasks;
using CsCheck;
using FluentAssertions;
using Microsoft.IdentityModel.Tokens;
using TokenService.Tests.Support;
using Xunit;
using static TokenService.Tests.Support.AssertionClients;

namespace TokenService.Tests.Endpoints;

/// <summary>Assertions that must never get a token: forged, altered, misdirected, too old, used before.</summary>
public sealed class ClientAssertionRefusalTests(ClientAssertionRefusalTests.Fixture fixture) : IClassFixture<ClientAssertionRefusalTests.Fixture>
{
    private static readonly ClientKeyPair s_stranger = ClientKeyPair.OfRsa();
    private static readonly byte[] s_header = Encoding.UTF8.GetBytes("{\"alg\":\"RS256\",\"kid\":\"1\"}");

    // Of P-256.
    private static readonly byte[] s_order = Convert.FromHexString("FFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551");

    /// <summary>Each makes an assertion out of a draft that is right.</summary>
    private static readonly Dictionary<string, Func<AssertionDraft, string>> s_attacks = new()
    {
        // The algorithm, and what it is checked with.
        ["alg none without signature"] = draft => draft.WithHeader("alg", "none").Signed(_ => []),
        ["alg None without signature"] = draft => draft.WithHeader("alg", "None").Signed(_ => []),
        ["alg nOnE with a signature"] = draft => draft.WithHeader("alg", "nOnE").Signed(content => Rsa.Sign("RS256", content)),
        ["alg NONE with dots alone"] = draft => draft.WithHeader("alg", "NONE").Signed(_ => [])[..^1] + ".",
        ["no alg"] = draft => draft.WithoutHeader("alg").Signed(content => Rsa.Sign("RS256", content)),
        ["an empty alg"] = draft => draft.WithHeader("alg", "").Signed(content => Rsa.Sign("RS256", content)),
        ["an alg that is a number"] = draft => draft.WithHeader("alg", 256).Signed(content => Rsa.Sign("RS256", content)),
        ["alg in lower case"] = draft => draft.WithHeader("alg", "rs256").Signed(content => Rsa.Sign("RS256", content)),
        ["alg RS1"] = draft => draft.WithHeader("alg", "RS1").Signed(content => Rsa.Rsa.SignData(content, HashAlgorithmName.SHA1, RSASignaturePadding.Pkcs1)),
        ["alg EdDSA"] = draft => draft.WithHeader("alg", "EdDSA").Signed(content => Rsa.Sign("RS256", content)),
        ["HS256 under the public key as PEM"] = draft => Hmac(draft, Encoding.ASCII.GetBytes(Rsa.PublicPem)),
        ["HS256 under the public key as PEM with a line break"] = draft => Hmac(draft, Encoding.ASCII.GetBytes(Rsa.PublicPem + "\n")),
        ["HS256 under the public key as PKCS #1 PEM"] = draft => Hmac(draft, Encoding.ASCII.GetBytes(Rsa.Rsa.ExportRSAPublicKeyPem())),
        ["HS256 under the public key as DER"] = draft => Hmac(draft, Rsa.Rsa.ExportSubjectPublicKeyInfo()),
        ["HS256 under the public key as JWK"] = draft => Hmac(draft, Encoding.UTF8.GetBytes(Rsa.Jwk().ToJsonString())),
        ["HS256 under the public key as JWK set"] = draft => Hmac(draft, Encoding.UTF8.GetBytes(ClientKeyPair.Set(Rsa.Jwk()))),
        ["HS256 under the modulus"] = draft => Hmac(draft, Rsa.Rsa.ExportParameters(false).Modulus!),
        ["HS256 under the modulus as text"] = draft => Hmac(draft, Encoding.ASCII.GetBytes(Base64UrlEncoder.Encode(Rsa.Rsa.ExportParameters(false).Modulus))),
        ["HS256 under nothing"] = draft => Hmac(draft, []),
        ["RS256 header over a PS256 signature"] = draft => draft.Signed(content => Rsa.Sign("PS256", content)),
        ["RS384 header over an RS256 signature"] = draft => draft.WithHeader("alg", "RS384").Signed(content => Rsa.Sign("RS256", content)),
        ["ES384 header over a P-256 signature"] = draft => draft.WithHeader("alg", "ES384").WithHeader("kid", "2").Signed(content => P256.Sign("ES256", content)),
        ["ES256 by the key on P-384"] = draft => draft.WithHeader("kid", "3").WithHeader("alg", "ES256")
            .Signed(content => P384.Ec.SignData(content, HashAlgorithmName.SHA256, DSASignatureFormat.IeeeP1363FixedFieldConcatenation)),
        ["ES256 with the kid of the RSA key"] = draft => draft.SignedBy(P256, "ES256"),

        // Keys that came along.
        ["a stranger's key"] = draft => draft.SignedBy(s_stranger),
        ["an embedded jwk"] = draft => draft.WithHeader("jwk", s_stranger.Jwk()).SignedBy(s_stranger),
        ["an embedded jwk under the registered kid"] = draft => draft.WithHeader("jwk", s_stranger.Jwk("1")).WithHeader("kid", "1").SignedBy(s_stranger),
        ["an embedded x5c"] = draft => draft.WithHeader("x5c", new JsonArray(Certificate(s_stranger))).SignedBy(s_stranger),
        ["an unknown kid"] = draft => draft.WithHeader("kid", "9").SignedBy(Rsa),
        ["a kid that is a path"] = draft => draft.WithHeader("kid", "../../../../dev/null").SignedBy(Rsa),
        ["HS256 under the empty file that kid names"] = draft => Hmac(draft.WithHeader("kid", "../../../../dev/null"), []),
        ["a kid that is SQL"] = draft => draft.WithHeader("kid", "1' OR '1'='1' --").SignedBy(Rsa),
        ["a kid that is a number"] = draft => draft.WithHeader("kid", 1).SignedBy(Rsa),
        ["a kid that is null"] = draft => draft.WithHeader("kid", null).SignedBy(Rsa),
        ["an empty kid"] = draft => draft.WithHeader("kid", "").SignedBy(Rsa),
        ["a very long kid"] = draft => draft.WithHeader("kid", new string('1', 257)).SignedBy(Rsa),

        // Header members that change the meaning of the rest.
        ["crit"] = draft => draft.WithHeader("crit", new JsonArray("exp")).SignedBy(Rsa),
        ["crit with a member that is not there"] = draft => draft.WithHeader("crit", new JsonArray("bork")).SignedBy(Rsa),
        ["an empty crit"] = draft => draft.WithHeader("crit", new JsonArray()).SignedBy(Rsa),
        ["b64 false"] = draft => draft.WithHeader("b64", false).WithHeader("crit", new JsonArray("b64")).SignedBy(Rsa),
        ["b64 false alone"] = draft => draft.WithHeader("b64", false).SignedBy(Rsa),
        ["zip"] = draft => draft.WithHeader("zip", "DEF").SignedBy(Rsa),
        ["typ of an access token"] = draft => draft.WithHeader("typ", "at+jwt").SignedBy(Rsa),
        ["typ dpop+jwt"] = draft => draft.WithHeader("typ", "dpop+jwt").SignedBy(Rsa),
        ["typ null"] = draft => draft.WithHeader("typ", null).SignedBy(Rsa),
        ["typ twice"] = draft => Raw("{\"alg\":\"RS256\",\"kid\":\"1\",\"typ\":\"JWT\",\"typ\":\"JWT\"}", draft),
        ["alg twice"] = draft => Raw("{\"alg\":\"none\",\"alg\":\"RS256\",\"kid\":\"1\"}", draft),
        ["alg twice, once escaped"] = draft => Raw("{\"alg\":\"RS256\",\"\\u0061lg\":\"none\",\"kid\":\"1\"}", draft),

        // Signatures.
        ["no signature"] = draft => draft.Signed(_ => []),
        ["a signature of zeros"] = draft => draft.Signed(_ => new byte[256]),
        ["a signature of ones"] = draft => draft.Signed(_ => [.. Enumerable.Repeat((byte)0xFF, 256)]),
        ["a signature over other bytes"] = draft => draft.Signed(content => Rsa.Sign("RS256", [.. content, 0])),
        ["a signature over the claims alone"] = draft => draft.Signed(content => Rsa.Sign("RS256", content[(Array.IndexOf(content, (byte)'.') + 1)..])),
        ["a signature with a byte more"] = draft => draft.Signed(content => [.. Rsa.Sign("RS256", content), 0]),
        ["a signature with a zero in front"] = draft => draft.Signed(content => [0, .. Rsa.Sign("RS256", content)]),
        ["a signature of 8 KB"] = draft => draft.Signed(content => [.. Rsa.Sign("RS256", content), .. new byte[8_000]]),
        ["a signature of one byte"] = draft => draft.Signed(_ => [1]),
        ["an ES256 signature of one byte"] = draft => draft.WithHeader("alg", "ES256").WithHeader("kid", "2").Signed(_ => [1]),
        ["an HS256 signature of one byte"] = draft => draft.WithHeader("alg", "HS256").Signed(_ => [1]),
        ["a signature with a byte less"] = draft => draft.Signed(content => Rsa.Sign("RS256", content)[..^1]),
        ["PKCS #1 v1.5 with garbage behind the digest"] = draft => draft.Signed(ForgedPadding),
        ["ES256 with r and s zero"] = draft => draft.WithHeader("alg", "ES256").WithHeader("kid", "2").Signed(_ => new byte[64]),
        ["ES256 with r zero"] = draft => draft.WithHeader("alg", "ES256").WithHeader("kid", "2").Signed(content => [.. new byte[32], .. P256.Sign("ES256", content)[32..]]),
        ["ES256 with s zero"] = draft => draft.WithHeader("alg", "ES256").WithHeader("kid", "2").Signed(content => [.. P256.Sign("ES256", content)[..32], .. new byte[32]]),
        ["ES256 with r and s the order of the curve"] = draft => draft.WithHeader("alg", "ES256").WithHeader("kid", "2").Signed(_ => [.. s_order, .. s_order]),
        ["ES256 with s the order of the curve"] = draft => draft.WithHeader("alg", "ES256").WithHeader("kid", "2").Signed(content => [.. P256.Sign("ES256", content)[..32], .. s_order]),
        ["ES256 in DER"] = draft => draft.WithHeader("alg", "ES256").WithHeader("kid", "2")
            .Signed(content => P256.Ec.SignData(content, HashAlgorithmName.SHA256, DSASignatureFormat.Rfc3279DerSequence)),
        ["ES256 with 63 bytes"] = draft => draft.WithHeader("alg", "ES256").WithHeader("kid", "2").Signed(content => P256.Sign("ES256", content)[..63]),
        ["ES256 with 65 bytes"] = draft => draft.WithHeader("alg", "ES256").WithHeader("kid", "2").Signed(content => [.. P256.Sign("ES256", content), 0]),

        // Who and for whom.
        ["no iss"] = draft => draft.Without("iss").SignedBy(Rsa),
        ["no sub"] = draft => draft.Without("sub").SignedBy(Rsa),
        ["another iss"] = draft => draft.With("iss", OtherJob).SignedBy(Rsa),
        ["another sub"] = draft => draft.With("sub", OtherJob).SignedBy(Rsa),
        ["iss in other case"] = draft => draft.With("iss", KeyJob.ToUpperInvariant()).SignedBy(Rsa),
        ["an empty iss and sub"] = draft => draft.With("iss", "").With("sub", "").SignedBy(Rsa),
        ["a sub that is an array"] = draft => draft.With("sub", new JsonArray(KeyJob)).SignedBy(Rsa),
        ["an iss that is a number"] = draft => draft.With("iss", 5).SignedBy(Rsa),
        ["no aud"] = draft => draft.Without("aud").SignedBy(Rsa),
        ["another server's aud"] = draft => draft.With("aud", "https://other.example.com").SignedBy(Rsa),
        ["the token endpoint as aud"] = draft => draft.With("aud", Issuer + "/oauth2/token").SignedBy(Rsa),
        ["the right aud with another beside it"] = draft => draft.With("aud", new JsonArray(Issuer, "https://other.example.com")).SignedBy(Rsa),
        ["the right aud behind another"] = draft => draft.With("aud", new JsonArray("https://other.example.com", Issuer)).SignedBy(Rsa),
        ["the right aud with a number beside it"] = draft => draft.With("aud", new JsonArray(Issuer, 5)).SignedBy(Rsa),
        ["the right aud twice"] = draft => draft.With("aud", new JsonArray(Issuer, Issuer)).SignedBy(Rsa),
        ["the right aud in an array in an array"] = draft => draft.With("aud", new JsonArray(new JsonArray(Issuer))).SignedBy(Rsa),
        ["an empty array as aud"] = draft => draft.With("aud", new JsonArray()).SignedBy(Rsa),
        ["an empty aud"] = draft => draft.With("aud", "").SignedBy(Rsa),
        ["a null aud"] = draft => draft.With("aud", null).SignedBy(Rsa),
        ["a number as aud"] = draft => draft.With("aud", 5).SignedBy(Rsa),
        ["an object as aud"] = draft => draft.With("aud", new JsonObject { ["iss"] = Issuer }).SignedBy(Rsa),
        ["aud with a slash at its end"] = draft => draft.With("aud", Issuer + "/").SignedBy(Rsa),
        ["aud in other case"] = draft => draft.With("aud", Issuer.ToUpperInvariant()).SignedBy(Rsa),
        ["aud with the default port"] = draft => draft.With("aud", Issuer + ":443").SignedBy(Rsa),
        ["aud percent-encoded"] = draft => draft.With("aud", "https://auth%2Eexample.com").SignedBy(Rsa),
        ["aud with a space"] = draft => draft.With("aud", Issuer + " ").SignedBy(Rsa),
        ["aud by http"] = draft => draft.With("aud", "http://auth.example.com").SignedBy(Rsa),

        // When.
        ["no exp"] = draft => draft.Without("exp").SignedBy(Rsa),
        ["exp past"] = draft => draft.With("exp", Now.ToUnixTimeSeconds() - 31).SignedBy(Rsa),
        ["exp 11 minutes ahead"] = draft => draft.With("exp", Now.ToUnixTimeSeconds() + 660).SignedBy(Rsa),
        ["exp a year ahead"] = draft => draft.With("exp", Now.ToUnixTimeSeconds() + 31_536_000).SignedBy(Rsa),
        ["exp in milliseconds"] = draft => draft.With("exp", Now.ToUnixTimeMilliseconds() + 60_000).SignedBy(Rsa),
        ["exp as text"] = draft => draft.With("exp", "1800000060").SignedBy(Rsa),
        ["exp null"] = draft => draft.With("exp", null).SignedBy(Rsa),
        ["exp true"] = draft => draft.With("exp", true).SignedBy(Rsa),
        ["exp in an array"] = draft => draft.With("exp", new JsonArray(1_800_000_060)).SignedBy(Rsa),
        ["exp negative"] = draft => draft.With("exp", -1_800_000_060).SignedBy(Rsa),
        ["exp zero"] = draft => draft.With("exp", 0).SignedBy(Rsa),
        ["exp at the end of the year 9999"] = draft => draft.With("exp", 253_402_300_799).SignedBy(Rsa),
        ["exp 29 seconds before it"] = draft => draft.With("exp", 253_402_300_770).SignedBy(Rsa),
        ["exp past it"] = draft => draft.With("exp", 253_402_300_800).SignedBy(Rsa),
        ["iat at the end of the year 9999"] = draft => draft.With("iat", 253_402_300_799).SignedBy(Rsa),
        ["nbf at the end of the year 9999"] = draft => draft.With("nbf", 253_402_300_799).SignedBy(Rsa),
        ["exp 1e308"] = draft => draft.With("exp", JsonNode.Parse("1e308")).SignedBy(Rsa),
        ["exp 1e999"] = draft => Claims(draft, "\"exp\":1800000060", "\"exp\":1e999"),
        ["exp -1e999"] = draft => Claims(draft, "\"exp\":1800000060", "\"exp\":-1e999"),
        ["exp NaN"] = draft => Claims(draft, "\"exp\":1800000060", "\"exp\":NaN"),
        ["exp Infinity"] = draft => Claims(draft, "\"exp\":1800000060", "\"exp\":Infinity"),
        ["exp of a thousand digits"] = draft => Claims(draft, "\"exp\":1800000060", "\"exp\":" + new string('9', 1000)),
        ["exp with a fraction, just past"] = draft => Claims(draft, "\"exp\":1800000060", "\"exp\":1799999969.9999"),
        ["exp twice"] = draft => Claims(draft, "\"exp\":1800000060", "\"exp\":1,\"exp\":1800000060"),
        ["iat in the future"] = draft => draft.With("iat", Now.ToUnixTimeSeconds() + 31).SignedBy(Rsa),
        ["iat as text"] = draft => draft.With("iat", "1800000000").SignedBy(Rsa),
        ["iat of another year"] = draft => draft.With("iat", Now.ToUnixTimeSeconds() - 31_536_000).SignedBy(Rsa),
        ["nbf in the future"] = draft => draft.With("nbf", Now.ToUnixTimeSeconds() + 31).SignedBy(Rsa),
        ["nbf as text"] = draft => draft.With("nbf", "1800000000").SignedBy(Rsa),
        ["nbf null"] = draft => draft.With("nbf", null).SignedBy(Rsa),

        // Which one.
        ["no jti"] = draft => draft.Without("jti").SignedBy(Rsa),
        ["an empty jti"] = draft => draft.With("jti", "").SignedBy(Rsa),
        ["a jti of 257 characters"] = draft => draft.With("jti", new string('j', 257)).SignedBy(Rsa),
        ["a jti that is a number"] = draft => draft.With("jti", 5).SignedBy(Rsa),
        ["sub twice"] = draft => Claims(draft, "\"sub\"", "\"sub\":\"" + KeyJob + "\",\"sub\""),
        ["jti twice"] = draft => Claims(draft, "\"jti\"", "\"jti\":\"other\",\"jti\""),
        ["a member twice, deep inside"] = draft => Claims(draft, "{\"iss\"", "{\"x\":{\"y\":1,\"y\":2},\"iss\""),

        // The form.
        ["no dots"] = draft => draft.SignedBy(Rsa).Replace(".", "", StringComparison.Ordinal),
        ["one dot"] = draft => draft.SignedBy(Rsa)[..draft.SignedBy(Rsa).LastIndexOf('.')],
        ["three dots"] = draft => draft.SignedBy(Rsa) + ".",
        ["dots alone"] = _ => "..",
        ["a JWE"] = draft => "eyJhbGciOiJSU0EtT0FFUCIsImVuYyI6IkEyNTZHQ00ifQ." + string.Join('.', draft.SignedBy(Rsa).Split('.')) + ".AAAA",
        ["a JWE with four parts empty"] = _ => "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0....",
        ["JSON serialization"] = draft => Flattened(draft.SignedBy(Rsa)),
        ["60 KB of claims"] = draft => draft.With("pad", new string('x', 45_000)).SignedBy(Rsa),
        ["60 KB of dots"] = _ => new string('.', 60_000),
        ["padding"] = draft => Pad(draft.SignedBy(Rsa)),
        ["base64 instead of base64url"] = draft => AnyPlus(draft),
        ["white space in front"] = draft => " " + draft.SignedBy(Rsa),
        ["white space behind"] = draft => draft.SignedBy(Rsa) + "\n",
        ["white space inside"] = draft => draft.SignedBy(Rsa).Insert(10, " "),
        ["another spelling of the same signature"] = draft => OtherSpelling(draft.SignedBy(Rsa)),
        ["another spelling of the same header"] = draft => OtherSpellingOfHeader(draft),
        ["a byte order mark before the header"] = draft => AssertionDraft.Compact([0xEF, 0xBB, 0xBF, .. s_header], Utf8(draft.Claims.ToJsonString()), Sign),
        ["a byte order mark before the claims"] = draft => AssertionDraft.Compact(s_header, [0xEF, 0xBB, 0xBF, .. Utf8(draft.Claims.ToJsonString())], Sign),
        ["UTF-16 claims"] = draft => AssertionDraft.Compact(s_header, Encoding.Unicode.GetBytes(draft.Claims.ToJsonString()), Sign),
        ["claims nested 10,000 deep"] = draft => Claims(draft, "{\"iss\"", "{\"x\":" + new string('[', 5_000) + new string(']', 5_000) + ",\"iss\""),
        ["a lone surrogate"] = draft => Claims(draft, "{\"iss\"", "{\"x\":\"\\ud800\",\"iss\""),
        ["a lone surrogate as a name"] = draft => Claims(draft, "{\"iss\"", "{\"\\udc00\":1,\"iss\""),
        ["a lone surrogate as jti"] = draft => Claims(draft, $"\"{draft.TokenId}\"", "\"\\ud800\""),
        ["bytes that are not UTF-8"] = draft => AssertionDraft.Compact(s_header, [.. "{\"x\":\""u8, 0xFF, .. "\","u8, .. Utf8(draft.Claims.ToJsonString())[1..]], Sign),
        ["a comment in the claims"] = draft => Claims(draft, "{\"iss\"", "{/**/\"iss\""),
        ["a comma too many"] = draft => Claims(draft, "}", ",}"),
        ["two JSON values"] = draft => Claims(draft, "}", "}{}"),
        ["claims that are an array"] = draft => AssertionDraft.Compact(s_header, Utf8($"[{draft.Claims.ToJsonString()}]"), Sign),
        ["claims that are text"] = _ => AssertionDraft.Compact(s_header, "\"x\""u8.ToArray(), Sign),
        ["claims that are null"] = _ => AssertionDraft.Compact(s_header, "null"u8.ToArray(), Sign),
        ["no claims"] = _ => AssertionDraft.Compact(s_header, [], Sign),
        ["no header"] = draft => AssertionDraft.Compact([], Utf8(draft.Claims.ToJsonString()), Sign),
        ["a header that is an array"] = draft => AssertionDraft.Compact("[]"u8.ToArray(), Utf8(draft.Claims.ToJsonString()), Sign),
        ["a NUL behind the claims"] = draft => AssertionDraft.Compact(s_header, [.. Utf8(draft.Claims.ToJsonString()), 0], Sign),
    };

    /// <summary>The same for other methods that take a JWT: each must refuse them too, but for what its own rules allow.</summary>
    internal static IReadOnlyDictionary<string, Func<AssertionDraft, string>> AttackList => s_attacks;

    private readonly RunningService _service = fixture.Service;

    public static TheoryData<string> Attacks() => [.. s_attacks.Keys];

    [Theory]
    [MemberData(nameof(Attacks))]
    public async Task A_wrong_assertion_is_refused_and_does_not_use_up_its_jti(string attack)
    {
        var right = Draft();
        var wrong = Draft();
        if (wrong.Claims.ContainsKey("jti"))
        {
            wrong.With("jti", right.TokenId);
        }

        Refused(await _service.Send(s_attacks[attack](wrong)));

        var answer = await _service.Send(right.SignedBy(Rsa));
        answer.Status.Should().Be(200, answer.Body);
    }

    [Theory]
    [InlineData("jku")]
    [InlineData("x5u")]
    public async Task Keys_that_an_assertion_points_to_are_neither_used_nor_fetched(string header)
    {
        await using var host = await KeySetHost.Start(ClientKeyPair.Set(s_stranger.Jwk("1")));

        Refused(await _service.Send(Draft().WithHeader(header, host.Uri.AbsoluteUri).SignedBy(s_stranger)));
        (await _service.Send(Draft().WithHeader(header, host.Uri.AbsoluteUri).SignedBy(Rsa))).Status.Should().Be(200);
        host.Asked.Should().Be(0);
    }

    [Fact]
    public async Task An_assertion_is_good_for_one_token()
    {
        var assertion = Draft().SignedBy(Rsa);

        (await _service.Send(assertion)).Status.Should().Be(200);
        Refused(await _service.Send(assertion));
        Refused(await _service.Send(assertion));
    }

    [Fact]
    public async Task A_jti_that_was_used_is_refused_whatever_else_the_assertion_says()
    {
        var first = Draft();
        (await _service.Send(first.SignedBy(Rsa))).Status.Should().Be(200);

        Refused(await _service.Send(Draft().With("jti", first.TokenId).With("exp", Now.ToUnixTimeSeconds() + 500).SignedBy(Rsa, "RS512")));
    }

    [Fact]
    public async Task Of_50_identical_assertions_at_once_exactly_one_gets_a_token()
    {
        for (var round = 0; round < 10; round++)
        {
            var assertion = Draft().SignedBy(Rsa);

            var answers = await Task.WhenAll(Enumerable.Range(0, 50).Select(_ => _service.Send(assertion)));

            answers.Count(answer => answer.Status == 200).Should().Be(1);
            answers.Where(answer => answer.Status != 200).Should().OnlyContain(answer => answer.Status == 401);
        }
    }

    [Theory]
    [InlineData("&client_id=other-job")]
    [InlineData("&client_id=KEY-JOB")]
    [InlineData("&client_id=unknown")]
    public async Task A_client_id_that_names_another_client_is_refused(string extra)
        => Refused(await _service.Send(Draft().SignedBy(Rsa), extra));

    [Theory]
    [InlineData("")]
    [InlineData("urn:ietf:params:oauth:client-assertion-type:saml2-bearer")]
    [InlineData("URN:IETF:PARAMS:OAUTH:CLIENT-ASSERTION-TYPE:JWT-BEARER")]
    [InlineData("urn:ietf:params:oauth:client-assertion-type:jwt-bearer ")]
    [InlineData("jwt-bearer")]
    public async Task A_wrong_or_missing_type_is_refused(string type)
    {
        Refused(await _service.Token(AssertionDraft.Form(Draft().SignedBy(Rsa), type)));
        Refused(await _service.Token($"grant_type=client_credentials&client_assertion={Draft().SignedBy(Rsa)}"));
    }

    [Fact]
    public async Task A_type_without_an_assertion_is_refused()
    {
        Refused(await _service.Token(AssertionDraft.Form("")));
        Refused(await _service.Token($"grant_type=client_credentials&client_assertion_type={Uri.EscapeDataString(AssertionDraft.JwtBearer)}&client_id={KeyJob}"));
    }

    [Fact]
    public async Task Two_credentials_at_once_are_refused_as_invalid_request()
    {
        var form = AssertionDraft.Form(Draft().SignedBy(Rsa));

        foreach (var answer in (Answer[])
        [
            await _service.Token($"{form}&client_id={KeyJob}&client_secret=x"),
            await _service.Token(form, $"{BasicJob}:{BasicSecret}"),
            await _service.Token($"{form}&client_assertion={Draft().SignedBy(Rsa)}"),
            await _service.Token($"{form}&client_assertion_type=x"),
        ])
        {
            (answer.Status, answer.Error).Should().Be((400, "invalid_request"));
        }
    }

    [Theory]
    [InlineData(KeyJob)]
    [InlineData(BasicJob)]
    [InlineData("unknown")]
    public async Task An_HMAC_is_accepted_only_from_a_client_that_is_registered_for_it(string clientId)
    {
        foreach (var secret in (string[])[MacSecret, BasicSecret])
        {
            Refused(await _service.Send(Draft(clientId).SignedWith(secret)));
        }
    }

    [Theory]
    [InlineData(MacJob)]
    [InlineData(BasicJob)]
    [InlineData("unknown")]
    public async Task A_key_is_accepted_only_from_the_client_that_registered_it(string clientId)
        => Refused(await _service.Send(Draft(clientId).SignedBy(Rsa)));

    [Theory]
    [InlineData("another-secret-0123456789abcdef0123456789")]
    [InlineData("")]
    [InlineData(MacSecret + "x")]
    [InlineData(BasicSecret)]
    public async Task An_HMAC_under_another_secret_is_refused(string secret)
        => Refused(await _service.Send(Draft(MacJob).SignedWith(secret)));

    [Fact]
    public async Task The_secret_of_an_HMAC_is_not_accepted_itself_nor_the_secret_of_Basic_as_one()
    {
        foreach (var answer in (Answer[])
        [
            await _service.Token("grant_type=client_credentials", $"{MacJob}:{MacSecret}"),
            await _service.Token($"grant_type=client_credentials&client_id={MacJob}&client_secret={MacSecret}"),
            await _service.Send(Draft(BasicJob).SignedWith(BasicSecret)),
        ])
        {
            Refused(answer);
        }
    }

    [Theory]
    [InlineData("RS256")]
    [InlineData("PS384")]
    public async Task An_algorithm_that_the_client_did_not_register_is_refused(string algorithm)
    {
        Refused(await _service.Send(Draft(PsJob).SignedBy(Rsa, algorithm)));
        (await _service.Send(Draft(PsJob).SignedBy(Rsa, "PS256"))).Status.Should().Be(200);
    }

    [Fact]
    public async Task PSS_salts_have_the_length_of_the_hash()
    {
        var digestLength = PssWithSalt(32);
        (await _service.Send(Draft(PsJob).WithHeader("alg", "PS256").Signed(digestLength))).Status.Should().Be(200, "the signer of this test must be right");

        foreach (var length in (int[])[0, 20, 31, 33, 222])
        {
            Refused(await _service.Send(Draft(PsJob).WithHeader("alg", "PS256").Signed(PssWithSalt(length))));
        }
    }

    [Fact]
    public async Task A_disabled_client_is_refused()
    {
        using var folder = new TemporaryFolder();
        await using var service = await Start(folder);
        (await service.Send(Draft().SignedBy(Rsa))).Status.Should().Be(200);

        TokenEndpointRefusalTests.Disable(folder, KeyJob);
        await service.Refresh();

        Refused(await service.Send(Draft().SignedBy(Rsa)));
    }

    [Fact]
    public async Task The_audience_rule_is_named_to_who_got_it_wrong()
    {
        foreach (var clientId in (string[])[KeyJob, BasicJob, "unknown"])
        {
            var answer = await _service.Send(Draft(clientId, Issuer + "/oauth2/token").SignedBy(Rsa));

            answer.Json.GetProperty("error_description").GetString().Should()
                .Be($"The client assertion is refused: aud must be the issuer, {Issuer}, as its only value.");
        }
    }

    // What is said must follow from the assertion alone: if it differed, it would tell who is registered, and for what.
    [Theory]
    [MemberData(nameof(Attacks))]
    public async Task A_wrong_assertion_reads_the_same_whoever_is_registered(string attack)
    {
        var answers = new List<string>();
        foreach (var clientId in (string[])[KeyJob, OtherJob, PsJob, MacJob, BasicJob, "unknown"])
        {
            // Where iss and sub are a part of the attack, they stay as it wants them.
            var assertion = s_attacks[attack](Draft(clientId));
            var answer = await _service.Send(assertion);
            answers.Add(answer.Status == 200
                ? "a token, which is right for this client"
                : answer.Status + string.Join('\n', answer.Response.Headers.Where(header => header.Key != "Date").Select(header => $"{header.Key}: {string.Join(',', header.Value)}"))
                    + answer.Body.Replace(answer.Json.GetProperty("trace_id").GetString()!, "", StringComparison.Ordinal));
        }

        answers.Where(answer => !answer.StartsWith("a token", StringComparison.Ordinal)).Distinct().Should().ContainSingle();
    }

    [Fact]
    public async Task One_changed_character_of_a_good_assertion_never_gets_a_token()
    {
        const string alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/ \n%\u0000";
        var goods = ((ClientKeyPair Key, string Kid, string Algorithm)[])[(Rsa, "1", "RS256"), (Rsa, "1", "PS512"), (P256, "2", "ES256"), (P521, "4", "ES512")];

        await Gen.Select(Gen.Int[0, goods.Length - 1], Gen.Int[0, 10_000], Gen.Int[0, alphabet.Length - 1]).SampleAsync(
            async (which, position, replacement) =>
            {
                var (key, kid, algorithm) = goods[which];
                var assertion = Draft().WithHeader("kid", kid).SignedBy(key, algorithm).ToCharArray();
                var at = position % assertion.Length;
                if (assertion[at] == alphabet[replacement])
                {
                    return;
                }

                assertion[at] = alphabet[replacement];
                Refused(await _service.Send(new string(assertion)));
            },
            iter: 3_000,
            threads: 4);
    }

    [Fact]
    public async Task One_changed_claim_of_a_good_assertion_never_gets_a_token()
    {
        var values = Gen.OneOf<JsonNode?>(
            Gen.String.Select(text => (JsonNode?)JsonValue.Create(text)),
            Gen.Long.Select(number => (JsonNode?)JsonValue.Create(number)),
            Gen.Double.Where(double.IsFinite).Select(number => (JsonNode?)JsonValue.Create(number)),
            Gen.Bool.Select(value => (JsonNode?)JsonValue.Create(value)),
            Gen.Const((JsonNode?)null),
            Gen.String.Array[0, 3].Select(texts => (JsonNode?)new JsonArray([.. texts.Select(text => (JsonNode?)JsonValue.Create(text))])),
            Gen.String.Select(text => (JsonNode?)new JsonObject { ["x"] = text }));

        // Signed again, since the signature alone would stop it: only the rule for the claim can.
        await Gen.Select(OneOf("iss", "sub", "aud", "exp"), values).SampleAsync(
            async (claim, value) => Refused(await _service.Send(Draft().With(claim, value?.DeepClone()).SignedBy(Rsa))),
            iter: 1_500,
            threads: 4);

        // And not signed again, for any claim.
        await Gen.Select(OneOf("iss", "sub", "aud", "exp", "iat", "jti", "nbf", "other"), values).SampleAsync(
            async (claim, value) =>
            {
                var draft = Draft();
                var signature = draft.SignedBy(Rsa).Split('.')[2];
                var changed = draft.With(claim, value?.DeepClone()).Signed(_ => []);
                Refused(await _service.Send(changed + signature));
            },
            iter: 1_500,
            threads: 4);
    }

    internal static void Refused(Answer answer)
    {
        answer.Status.Should().Be(401, answer.Body);
        TokenEndpointRefusalTests.Refused(answer, 401, "invalid_client");
    }

    private static Gen<string> OneOf(params string[] names) => Gen.Int[0, names.Length - 1].Select(index => names[index]);

    private static string Hmac(AssertionDraft draft, byte[] key) => draft.WithHeader("alg", "HS256").Signed(content => AssertionDraft.Mac("HS256", key, content));

    private static byte[] Utf8(string text) => Encoding.UTF8.GetBytes(text);

    private static byte[] Sign(byte[] content) => Rsa.Sign("RS256", content);

    private static string Raw(string header, AssertionDraft draft) => AssertionDraft.Compact(Utf8(header), Utf8(draft.Claims.ToJsonString()), Sign);

    // Rightly signed, with the claims as they are written here.
    private static string Claims(AssertionDraft draft, string part, string other)
    {
        var json = draft.Claims.ToJsonString();
        json.Should().Contain(part, "the attack must be one");
        return AssertionDraft.Compact(s_header, Utf8(json.Replace(part, other, StringComparison.Ordinal)), Sign);
    }

    private static string Flattened(string assertion)
    {
        var parts = assertion.Split('.');
        return $$"""{"protected":"{{parts[0]}}","payload":"{{parts[1]}}","signature":"{{parts[2]}}"}""";
    }

    private static string Pad(string assertion) => string.Join('.', assertion.Split('.').Select(part => part.PadRight((part.Length + 3) / 4 * 4, '=')))
        .Replace(assertion, assertion + "=", StringComparison.Ordinal);

    // Until a signature has a character in which the two alphabets differ.
    private static string AnyPlus(AssertionDraft draft)
    {
        while (true)
        {
            var assertion = draft.With("n", Guid.NewGuid().ToString()).SignedBy(Rsa);
            var signature = assertion.LastIndexOf('.');
            if (assertion.AsSpan(signature).ContainsAny('-', '_'))
            {
                return assertion[..signature] + assertion[signature..].Replace('-', '+').Replace('_', '/');
            }
        }
    }

    // 256 bytes end with two bits that no byte takes: a lenient reader does not look at them.
    private static string OtherSpelling(string assertion)
    {
        const string alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        var other = assertion[..^1] + alphabet[alphabet.IndexOf(assertion[^1], StringComparison.Ordinal) | 1];
        other.Should().NotBe(assertion);
        return other;
    }

    private static string OtherSpellingOfHeader(AssertionDraft draft)
    {
        const string alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        draft.WithHeader("x", "");
        string header;
        while ((header = Base64UrlEncoder.Encode(Utf8(draft.Header.ToJsonString()))).Length % 4 == 0)
        {
            draft.WithHeader("x", draft.Header["x"]!.GetValue<string>() + "x");
        }

        var content = $"{header[..^1]}{alphabet[alphabet.IndexOf(header[^1], StringComparison.Ordinal) | 1]}.{Base64UrlEncoder.Encode(Utf8(draft.Claims.ToJsonString()))}";
        return $"{content}.{Base64UrlEncoder.Encode(Sign(Encoding.ASCII.GetBytes(content)))}";
    }

    private static string Certificate(ClientKeyPair key) => Convert.ToBase64String(
        new System.Security.Cryptography.X509Certificates.CertificateRequest("CN=x", key.Rsa, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1)
            .CreateSelfSigned(DateTimeOffset.UnixEpoch, DateTimeOffset.UnixEpoch.AddYears(200)).RawData);

    // The digest right behind a short padding, and what is left filled with zeros (Bleichenbacher 2006).
    private static byte[] ForgedPadding(byte[] content)
    {
        byte[] block =
        [
            0x00, 0x01, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x00, .. Convert.FromHexString("3031300D060960864801650304020105000420"), .. SHA256.HashData(content),
        ];
        return RawRsa([.. block, .. new byte[256 - block.Length]]);
    }

    // RFC 8017 §9.1.1 with a salt of any length, which .NET itself does not make.
    private static Func<byte[], byte[]> PssWithSalt(int length) => content =>
    {
        var salt = RandomNumberGenerator.GetBytes(length);
        var hash = SHA256.HashData([.. new byte[8], .. SHA256.HashData(content), .. salt]);
        byte[] block = [.. new byte[256 - length - 32 - 2], 0x01, .. salt];
        var mask = Enumerable.Range(0, 8).SelectMany(i => SHA256.HashData([.. hash, 0, 0, 0, (byte)i])).Take(block.Length).ToArray();
        for (var i = 0; i < block.Length; i++)
        {
            block[i] ^= mask[i];
        }

        block[0] &= 0x7F;
        return RawRsa([.. block, .. hash, 0xBC]);
    };

    private static byte[] RawRsa(byte[] block)
    {
        var key = Rsa.Rsa.ExportParameters(true);
        var number = System.Numerics.BigInteger.ModPow(Number(block), Number(key.D!), Number(key.Modulus!)).ToByteArray(isUnsigned: true, isBigEndian: true);
        return [.. new byte[256 - number.Length], .. number];

        static System.Numerics.BigInteger Number(byte[] bytes) => new(bytes, isUnsigned: true, isBigEndian: true);
    }

    // One service for all: none of the refusals changes anything.
    public sealed class Fixture : IAsyncLifetime
    {
        internal RunningService Service { get; private set; } = null!;

        public async Task InitializeAsync() => Service = await Start();

        public async Task DisposeAsync() => await Service.DisposeAsync();
    }
}
