using System;
using System.Collections.Generic;
using System.Linq;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using System.Threading.Tasks;
using FluentAssertions;
using Microsoft.Extensions.Time.Testing;
using Microsoft.IdentityModel.Tokens;
using TokenService.Protocol;
using TokenService.Tests.Support;
using Xunit;
using static TokenService.Tests.Support.DPoPClients;

namespace TokenService.Tests.Endpoints;

/// <summary>DPoP at the token endpoint (RFC 9449): tokens that are bound to a key, and the proofs that must get none.</summary>
public sealed class DPoPTests : IDisposable
{
    private const string Ask = "grant_type=client_credentials";
    private const string Issuer = "http://127.0.0.1:5080";

    private static readonly ClientKeyPair s_key = ClientKeyPair.For("ES256");
    private static readonly ClientKeyPair s_rsa = ClientKeyPair.OfRsa();

    // Each makes a proof out of a draft that is right, beside a part of what the caller is told.
    private static readonly Dictionary<string, (Func<AssertionDraft, string> Make, string Told)> s_attacks = new()
    {
        ["no JWT"] = (_ => "garbage", "it must be a signed JWT in compact form"),
        ["an encrypted one"] = (_ => "a.b.c.d.e", "it must be a signed JWT in compact form"),
        ["two in a header"] = (draft => $"{draft.SignedBy(s_key)},{draft.SignedBy(s_key)}", "there must be one DPoP header"),
        ["alg none"] = (draft => draft.WithHeader("alg", "none").Signed(_ => [1]), "alg must be one of"),
        ["alg none without signature"] = (draft => draft.WithHeader("alg", "none").Signed(_ => []), "it must be signed"),
        ["alg nOnE"] = (draft => draft.WithHeader("alg", "nOnE").Signed(content => s_key.Sign("ES256", content)), "alg must be one of"),
        ["no alg"] = (draft => draft.WithoutHeader("alg").Signed(content => s_key.Sign("ES256", content)), "alg must be one of"),
        ["HS256 under the public key as PEM"] = (draft => Hmac(draft, Encoding.ASCII.GetBytes(s_key.PublicPem)), "alg must be one of"),
        ["HS256 under the public key as JWK"] = (draft => Hmac(draft, Encoding.UTF8.GetBytes(s_key.Jwk(null).ToJsonString())), "alg must be one of"),
        ["HS256 with a secret jwk"] = (draft => Hmac(draft.WithHeader("jwk", new JsonObject { ["kty"] = "oct", ["k"] = "AAAA" }), [0, 0, 0]), "alg must be one of"),
        ["ES256 with a secret jwk"] = (draft => draft.WithHeader("jwk", new JsonObject { ["kty"] = "oct", ["k"] = "AAAA" }).SignedBy(s_key), "jwk must be a public key alone"),
        ["a private key"] = (draft => draft.WithHeader("jwk", Private()).SignedBy(s_key), "jwk must be a public key alone"),
        ["no jwk"] = (draft => draft.WithoutHeader("jwk").SignedBy(s_key), "jwk must be the public key of the proof"),
        ["a jwk that is a text"] = (draft => draft.WithHeader("jwk", "x").SignedBy(s_key), "jwk must be a public key alone"),
        ["a jwk that is no point"] = (draft => draft.WithHeader("jwk", NoPoint()).SignedBy(s_key), "jwk must be a public key alone"),
        ["a short RSA key"] = (draft => Short(draft), "jwk must be a public key alone"),
        ["an alg of another kind of key"] = (draft => draft.WithHeader("jwk", s_rsa.Jwk(null)).SignedBy(s_key), "alg must go with the jwk"),
        ["another key's jwk"] = (draft => draft.WithHeader("jwk", ClientKeyPair.For("ES256").Jwk(null)).SignedBy(s_key), "it must be signed with the private key of its jwk"),
        ["r and s zero"] = (draft => draft.Signed(_ => new byte[64]), "it must be signed with the private key of its jwk"),
        ["a signature in DER"] = (draft => draft.Signed(content => s_key.Ec.SignData(content, HashAlgorithmName.SHA256, DSASignatureFormat.Rfc3279DerSequence)), "it must be signed with"),
        ["a signature over other bytes"] = (draft => draft.Signed(content => s_key.Sign("ES256", [.. content, 0])), "it must be signed with"),
        ["alg twice"] = (draft => Twice("alg", draft, s_key), "no member twice"),
        ["kty twice in the jwk"] = (draft => Raw(draft, header => header.Replace("\"kty\":", "\"kty\":\"RSA\",\"kty\":", StringComparison.Ordinal), claims => claims), "no member twice"),
        ["jti twice"] = (draft => Raw(draft, header => header, claims => claims.Replace("\"jti\":", "\"jti\":\"other\",\"jti\":", StringComparison.Ordinal)), "no member twice"),
        ["nonce twice, once escaped"] = (draft => Raw(draft, header => header, claims => claims[..^1] + ",\"\\u006eonce\":\"x\"}"), "no member twice"),
        ["a long RSA exponent"] = (draft => Rsa(draft, "e", [1, 0, 0, 0, 1]), "jwk must be a public key alone"),
        ["an RSA exponent of 1"] = (draft => Rsa(draft, "e", [1]), "jwk must be a public key alone"),
        ["a long RSA modulus"] = (draft => Rsa(draft, "n", [.. Enumerable.Repeat((byte)0xFF, 513)]), "jwk must be a public key alone"),
        ["a key for something else"] = (draft => draft.WithHeader("jwk", With("use", "enc")).SignedBy(s_key), "jwk must be a public key alone"),
        ["a key for another alg"] = (draft => draft.WithHeader("jwk", With("alg", "ES384")).SignedBy(s_key), "jwk must be a public key alone"),
        ["a part of a private key that is empty"] = (draft => draft.WithHeader("jwk", With("d", "")).SignedBy(s_key), "jwk must be a public key alone"),
        ["crit"] = (draft => draft.WithHeader("crit", new JsonArray("exp")).SignedBy(s_key), "its header may not have crit"),
        ["b64"] = (draft => draft.WithHeader("b64", false).SignedBy(s_key), "its header may not have b64"),
        ["no typ"] = (draft => draft.WithoutHeader("typ").SignedBy(s_key), "typ must be dpop+jwt"),
        ["typ JWT"] = (draft => draft.WithHeader("typ", "JWT").SignedBy(s_key), "typ must be dpop+jwt"),
        ["typ of a client assertion"] = (draft => draft.WithHeader("typ", "client-authentication+jwt").SignedBy(s_key), "typ must be dpop+jwt"),
        ["typ that is a number"] = (draft => draft.WithHeader("typ", 1).SignedBy(s_key), "typ must be dpop+jwt"),
        ["no htm"] = (draft => draft.Without("htm").SignedBy(s_key), "htm must be POST"),
        ["another htm"] = (draft => draft.With("htm", "GET").SignedBy(s_key), "htm must be POST"),
        ["htm in lower case"] = (draft => draft.With("htm", "post").SignedBy(s_key), "htm must be POST"),
        ["no htu"] = (draft => draft.Without("htu").SignedBy(s_key), "htu must be the token endpoint"),
        ["another htu"] = (draft => draft.With("htu", "https://other.example.com/oauth2/token").SignedBy(s_key), "htu must be the token endpoint"),
        ["the introspection endpoint as htu"] = (draft => draft.With("htu", Htu(draft).Replace("token", "introspect", StringComparison.Ordinal)).SignedBy(s_key), "htu must be"),
        ["htu by another scheme"] = (draft => draft.With("htu", Htu(draft).Replace("http:", "https:", StringComparison.Ordinal)).SignedBy(s_key), "htu must be"),
        ["htu with a user"] = (draft => draft.With("htu", Htu(draft).Replace("http://", "http://x@", StringComparison.Ordinal)).SignedBy(s_key), "htu must be"),
        ["htu with a slash at its end"] = (draft => draft.With("htu", Htu(draft) + "/").SignedBy(s_key), "htu must be"),
        ["htu with a slash that is encoded"] = (draft => draft.With("htu", Htu(draft).Replace("/token", "%2Ftoken", StringComparison.Ordinal)).SignedBy(s_key), "htu must be"),
        ["htu without the port"] = (draft => draft.With("htu", "http://127.0.0.1/oauth2/token").SignedBy(s_key), "htu must be"),
        ["htu that is another's with ours in its fragment"] = (draft => draft.With("htu", "https://other.example.com/#" + Htu(draft)).SignedBy(s_key), "htu must be"),
        ["htu in other case"] = (draft => draft.With("htu", Htu(draft).Replace("/oauth2", "/OAUTH2", StringComparison.Ordinal)).SignedBy(s_key), "htu must be"),
        ["a path as htu"] = (draft => draft.With("htu", "/oauth2/token").SignedBy(s_key), "htu must be"),
        ["no iat"] = (draft => draft.Without("iat").SignedBy(s_key), "iat must be a time"),
        ["iat as text"] = (draft => draft.With("iat", "1800000000").SignedBy(s_key), "iat must be a time"),
        ["iat 1e308"] = (draft => draft.With("iat", 1e308).SignedBy(s_key), "iat must be a time"),
        ["iat 31 seconds ahead"] = (draft => draft.With("iat", 1_800_000_031).SignedBy(s_key), "iat must not be in the future"),
        ["iat more than five minutes past"] = (draft => draft.With("iat", 1_799_999_699).SignedBy(s_key), "nor more than 5 minutes past"),
        ["no jti"] = (draft => draft.Without("jti").SignedBy(s_key), "jti must be a text of 1 to 256 characters"),
        ["an empty jti"] = (draft => draft.With("jti", "").SignedBy(s_key), "jti must be a text"),
        ["a long jti"] = (draft => draft.With("jti", new string('x', 257)).SignedBy(s_key), "jti must be a text"),
    };

    private readonly TemporaryFolder _folder = new();
    private readonly FakeTimeProvider _clock = new(DateTimeOffset.FromUnixTimeSeconds(1_800_000_000));

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task A_proof_binds_the_token_to_its_key_with_every_algorithm()
    {
        await using var service = await Start();
        var nonce = await service.Nonce();
        foreach (var algorithm in AssertionAlgorithms.PrivateKey)
        {
            var key = ClientKeyPair.For(algorithm);

            var answer = await service.TokenWith(Free, Ask, service.Draft(key, _clock.GetUtcNow(), nonce, algorithm).SignedBy(key, algorithm));

            answer.Status.Should().Be(200, "{0}: {1}", algorithm, answer.Body);
            answer.Json.GetProperty("token_type").GetString().Should().Be("DPoP", algorithm);
            TokenDraft.Of(answer.AccessToken).Claims["cnf"]!.ToJsonString().Should().Be($$"""{"jkt":"{{Thumbprint(key)}}"}""", algorithm);
            var told = await service.Introspect(answer.AccessToken, TokenQueries.Gateway);
            (told.Json.GetProperty("token_type").GetString(), told.Json.GetProperty("cnf").GetProperty("jkt").GetString()).Should().Be(("DPoP", Thumbprint(key)), algorithm);
        }
    }

    [Fact]
    public async Task Without_a_nonce_the_answer_brings_the_one_to_use()
    {
        await using var service = await Start();

        var refused = await service.TokenWith(Free, Ask, Proof(service, null));

        (refused.Status, refused.Error).Should().Be((400, "use_dpop_nonce"));
        refused.Json.GetProperty("error_description").GetString().Should().Be(
            "The DPoP proof needs the nonce of the DPoP-Nonce header of this answer. Make another proof with it.");
        var nonce = Nonce(refused);
        var accepted = await service.TokenWith(Free, Ask, Proof(service, nonce));
        accepted.Status.Should().Be(200, accepted.Body);
        Nonce(accepted).Should().Be(nonce, "the next proof may have the same");
    }

    [Fact]
    public async Task A_nonce_is_good_for_two_minutes_and_nobody_else_can_make_one()
    {
        await using var service = await Start();
        var nonce = await service.Nonce();
        foreach (var forged in (string[])["", "x", nonce[..^1], "A" + nonce[1..], new string('A', 300), Base64UrlEncoder.Encode(new byte[40])])
        {
            (await service.TokenWith(Free, Ask, Proof(service, forged == nonce ? "B" + nonce[1..] : forged))).Error.Should().Be("use_dpop_nonce", forged);
        }

        (await service.TokenWith(Free, Ask, service.Draft(s_key, _clock.GetUtcNow(), null).With("nonce", 5).SignedBy(s_key))).Error.Should().Be("use_dpop_nonce");
        _clock.Advance(TimeSpan.FromSeconds(119));
        var later = await service.TokenWith(Free, Ask, Proof(service, nonce));
        later.Status.Should().Be(200, later.Body);
        Nonce(later).Should().NotBe(nonce);
        _clock.Advance(TimeSpan.FromSeconds(1));
        (await service.TokenWith(Free, Ask, Proof(service, nonce))).Error.Should().Be("use_dpop_nonce");
        (await service.TokenWith(Free, Ask, Proof(service, Nonce(later)))).Status.Should().Be(200);
    }

    [Fact]
    [Trait("Storage", "Sqlite")]
    [Trait("Host", "InProcess")]
    public async Task With_another_master_key_all_go_on_with_nonces_under_that_one()
    {
        await using var service = await Start();
        var before = await service.Nonce();
        var rewrapped = await new Cli(_folder).Run(
            "keys", "rewrap", "--new-master-key", _folder.Write("new.key", Convert.ToBase64String(RandomNumberGenerator.GetBytes(32))));
        rewrapped.ExitCode.Should().Be(0, rewrapped.Error);
        await service.Refresh();
        await using var replica = await Start();

        (await service.TokenWith(Free, Ask, Proof(service, before))).Error.Should().Be("use_dpop_nonce", "whoever has the old key makes no nonces");
        foreach (var (one, other) in ((RunningService, RunningService)[])[(service, replica), (replica, service)])
        {
            (await other.TokenWith(Free, Ask, Proof(other, await one.Nonce()))).Status.Should().Be(200);
        }
    }

    [Fact]
    public async Task A_proof_that_breaks_a_rule_gets_no_token()
    {
        await using var service = await Start();
        var nonce = await service.Nonce();
        foreach (var (name, (make, told)) in s_attacks)
        {
            var answer = await service.TokenWith(Free, Ask, make(service.Draft(s_key, _clock.GetUtcNow(), nonce)));

            (answer.Status, answer.Error).Should().Be((400, "invalid_dpop_proof"), "{0}: {1}", name, answer.Body);
            answer.Json.GetProperty("error_description").GetString().Should().StartWith("The DPoP proof is refused: ").And.Contain(told, name);
        }
    }

    [Fact]
    public async Task What_else_a_jwk_says_does_not_count()
    {
        await using var service = await Start();
        var nonce = await service.Nonce();
        foreach (var (member, value) in ((string, JsonNode)[])
        [
            ("kid", "of the sender's"), ("alg", "ES256"), ("use", "sig"), ("key_ops", new JsonArray("verify")), ("x5c", new JsonArray("AAAA")), ("x5u", "http://127.0.0.1:1/"), ("ext", true),
        ])
        {
            var answer = await service.TokenWith(Free, Ask, service.Draft(s_key, _clock.GetUtcNow(), nonce).WithHeader("jwk", With(member, value)).SignedBy(s_key));

            answer.Status.Should().Be(200, "{0}: {1}", member, answer.Body);
            TokenDraft.Of(answer.AccessToken).Claims["cnf"]!["jkt"]!.GetValue<string>().Should().Be(Thumbprint(s_key), member);
        }
    }

    [Fact]
    public async Task There_must_be_one_header_and_it_must_not_be_empty()
    {
        await using var service = await Start();
        var nonce = await service.Nonce();
        foreach (var proofs in (string[][])[[Proof(service, nonce), Proof(service, nonce)], [Proof(service, nonce), ""], ["", Proof(service, nonce)], [""]])
        {
            var answer = await service.TokenWith(Free, Ask, proofs);

            (answer.Status, answer.Error).Should().Be((400, "invalid_dpop_proof"), answer.Body);
        }
    }

    // The limit of all headers comes first.
    [Fact]
    public async Task A_huge_proof_is_refused_before_it_is_read()
    {
        await using var service = await Start();

        var answer = await service.TokenWith(Free, Ask, service.Draft(s_key, _clock.GetUtcNow(), null).With("x", new string('x', 20_000)).SignedBy(s_key));

        answer.Status.Should().Be(431);
    }

    [Fact]
    public async Task Query_fragment_and_ways_to_write_the_same_address_do_not_count()
    {
        await using var service = await Start();
        var nonce = await service.Nonce();
        var address = new Uri(service.Url, "/oauth2/token").ToString();
        foreach (var written in (string[])[address + "?x=1", address + "#x", address.Replace("http", "HTTP", StringComparison.Ordinal), address.Replace("token", "%74oken", StringComparison.Ordinal)])
        {
            var answer = await service.TokenWith(Free, Ask, service.Draft(s_key, _clock.GetUtcNow(), nonce).With("htu", written).SignedBy(s_key));

            answer.Status.Should().Be(200, "{0}: {1}", written, answer.Body);
        }
    }

    [Fact]
    public async Task Refuses_a_replayed_proof_also_after_a_restart_and_takes_the_same_jti_of_another_key()
    {
        string proof;
        await using (var service = await Start($"--TokenService:Issuer={Issuer}"))
        {
            proof = Fixed(s_key, await service.Nonce());
            (await service.TokenWith(Free, Ask, proof)).Status.Should().Be(200);
            await Refuses(service);
        }

        await using (var service = await Start($"--TokenService:Issuer={Issuer}"))
        {
            await Refuses(service);
            var other = ClientKeyPair.For("ES256");
            (await service.TokenWith(Free, Ask, Fixed(other, await service.Nonce()))).Status.Should().Be(200);
        }

        async Task Refuses(RunningService service)
        {
            var again = await service.TokenWith(Free, Ask, proof);
            (again.Status, again.Error).Should().Be((400, "invalid_dpop_proof"));
            again.Json.GetProperty("error_description").GetString().Should().Be("The DPoP proof is refused: jti must be another one for each proof.");
        }

        string Fixed(ClientKeyPair key, string nonce) => Draft(key, "ES256", Issuer + "/oauth2/token", _clock.GetUtcNow(), nonce).With("jti", "once").SignedBy(key);
    }

    [Fact]
    public async Task A_proof_over_several_connections_at_once_gets_one_token()
    {
        await using var service = await Start();
        var nonce = await service.Nonce();
        for (var round = 0; round < 10; round++)
        {
            var proof = Proof(service, nonce);

            var answers = await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => Task.Run(() => service.TokenWith(Free, Ask, proof))));

            answers.Count(answer => answer.Status == 200).Should().Be(1);
            answers.Count(answer => answer.Error == "invalid_dpop_proof").Should().Be(3);
        }
    }

    [Fact]
    public async Task A_client_that_must_be_bound_gets_nothing_without_a_proof_by_no_grant()
    {
        await using var service = await Start();
        var subject = await service.GetToken(TokenQueries.Wide);
        foreach (var form in (string[])[Ask, TokenExchanges.Form(subject) + "&scope=orders.read"])
        {
            var refused = await service.TokenWith(Bound, form);

            (refused.Status, refused.Error).Should().Be((400, "invalid_request"));
            refused.Json.GetProperty("error_description").GetString().Should().Be(
                "The client's tokens are bound to a key (dpop_bound_access_tokens). Send a proof of it in the DPoP header.");
            var bound = await service.TokenWith(Bound, form, Proof(service, await service.Nonce()));
            bound.Status.Should().Be(200, bound.Body);
            TokenDraft.Of(bound.AccessToken).Claims["cnf"]!["jkt"]!.GetValue<string>().Should().Be(Thumbprint(s_key));
        }
    }

    [Fact]
    public async Task A_bound_token_is_not_exchanged()
    {
        await using var service = await Start();
        var bound = (await service.TokenWith(Bound, Ask, Proof(service, await service.Nonce()))).AccessToken;

        foreach (string[] proofs in (string[][])[[], [Proof(service, await service.Nonce())]])
        {
            var answer = await service.TokenWith(TokenExchanges.Agent, TokenExchanges.Form(bound) + "&scope=orders.read", proofs);

            (answer.Status, answer.Error).Should().Be((400, "invalid_request"), answer.Body);
        }
    }

    [Fact]
    public async Task A_token_is_given_again_to_the_same_key_only()
    {
        await using var service = await Start();
        var nonce = await service.Nonce();
        var other = ClientKeyPair.For("ES256");
        var mine = await Take(s_key);

        (await Take(s_key)).Should().Be(mine);
        (await Take(other)).Should().NotBe(mine);
        var unbound = (await service.TokenWith(TokenExchanges.Reuser, Ask)).AccessToken;
        TokenDraft.Of(unbound).Claims.ContainsKey("cnf").Should().BeFalse();

        async Task<string> Take(ClientKeyPair key)
            => (await service.TokenWith(TokenExchanges.Reuser, Ask, service.Draft(key, _clock.GetUtcNow(), nonce).SignedBy(key))).AccessToken;
    }

    [Fact]
    public async Task Who_is_not_authenticated_learns_nothing_of_the_proof_and_uses_nothing_up()
    {
        await using var service = await Start();
        var proof = Proof(service, await service.Nonce());
        foreach (var sent in (string[])["garbage", proof])
        {
            var refused = await service.TokenWith($"{Sample.Job}:wrong", Ask, sent);
            (refused.Status, refused.Error).Should().Be((401, "invalid_client"));
        }

        (await service.TokenWith(Free, "grant_type=client_credentials&scope=unknown", proof)).Error.Should().Be("invalid_scope");
        (await service.TokenWith(Free, Ask, proof)).Status.Should().Be(200);
    }

    [Fact]
    public async Task The_metadata_names_the_algorithms()
    {
        await using var service = await Start();

        var metadata = JsonNode.Parse(await service.Http.GetStringAsync("/.well-known/oauth-authorization-server"))!;

        metadata["dpop_signing_alg_values_supported"]!.AsArray().Select(name => name!.GetValue<string>()).Should().Equal(AssertionAlgorithms.PrivateKey);
    }

    private Task<RunningService> Start(params string[] settings) => RunningService.Start(_folder, _clock, DPoPClients.File, settings);

    private string Proof(RunningService service, string? nonce) => service.Draft(s_key, _clock.GetUtcNow(), nonce).SignedBy(s_key);

    private static string Htu(AssertionDraft draft) => draft.Claims["htu"]!.GetValue<string>();

    private static string Hmac(AssertionDraft draft, byte[] key) => draft.WithHeader("alg", "HS256").Signed(content => AssertionDraft.Mac("HS256", key, content));

    private static string Short(AssertionDraft draft)
    {
        var key = ClientKeyPair.OfRsa(1024);
        return draft.WithHeader("jwk", key.Jwk(null)).SignedBy(key, "RS256");
    }

    private static JsonObject Private()
    {
        var jwk = s_key.Jwk(null);
        jwk["d"] = Base64UrlEncoder.Encode(s_key.Ec.ExportParameters(true).D);
        return jwk;
    }

    private static JsonObject With(string member, JsonNode value)
    {
        var jwk = s_key.Jwk(null);
        jwk[member] = value;
        return jwk;
    }

    private static string Rsa(AssertionDraft draft, string member, byte[] value)
    {
        var jwk = s_rsa.Jwk(null);
        jwk[member] = Base64UrlEncoder.Encode(value);
        return draft.WithHeader("jwk", jwk).SignedBy(s_rsa, "RS256");
    }

    private static string Raw(AssertionDraft draft, Func<string, string> header, Func<string, string> claims) => AssertionDraft.Compact(
        Encoding.UTF8.GetBytes(header(draft.Header.ToJsonString())), Encoding.UTF8.GetBytes(claims(draft.Claims.ToJsonString())), content => s_key.Sign("ES256", content));

    private static JsonObject NoPoint()
    {
        var jwk = s_key.Jwk(null);
        jwk["y"] = jwk["x"]!.GetValue<string>();
        return jwk;
    }

    // RFC 7638 §3, by hand.
    private static string Thumbprint(ClientKeyPair key)
    {
        var jwk = new JsonObject([.. key.Jwk(null).OrderBy(member => member.Key, StringComparer.Ordinal).Select(member => KeyValuePair.Create(member.Key, member.Value?.DeepClone()))]);
        return Base64UrlEncoder.Encode(SHA256.HashData(Encoding.UTF8.GetBytes(jwk.ToJsonString())));
    }
}
