using System;
using System.Collections.Generic;
using System.Linq;
using System.Text;
using System.Text.Json.Nodes;
using System.Threading.Tasks;
using FluentAssertions;
using Microsoft.Extensions.Time.Testing;
using Microsoft.IdentityModel.JsonWebTokens;
using Microsoft.IdentityModel.Tokens;
using TokenService.Keys;
using TokenService.Tests.Support;
using Xunit;
using static TokenService.Tests.Support.TokenQueries;

namespace TokenService.Tests.Endpoints;

/// <summary>What is told of a live token, to whom; and that all else reads the same.</summary>
public sealed class IntrospectionTests(IntrospectionTests.Fixture fixture) : IClassFixture<IntrospectionTests.Fixture>
{
    private static readonly SigningKey s_stranger = SigningKey.Generate("RS256");

    private readonly RunningService _service = fixture.Service;

    [Fact]
    public async Task A_live_token_is_told_with_all_its_claims()
    {
        var token = await _service.GetToken();

        var answer = await _service.Introspect(token);

        IsKeptByNobody(answer);
        var claims = TokenDraft.Of(token).Claims;
        claims.Select(claim => claim.Key).Should().Equal("iss", "sub", "client_id", "aud", "scope", "iat", "exp", "jti");
        var told = JsonNode.Parse(answer.Body)!.AsObject();
        told.Count.Should().Be(claims.Count + 2);
        told["active"]!.GetValue<bool>().Should().BeTrue();
        told["token_type"]!.GetValue<string>().Should().Be("Bearer");
        foreach (var (name, value) in claims)
        {
            JsonNode.DeepEquals(told[name], value).Should().BeTrue(name);
        }
    }

    [Theory]
    [InlineData("RS256")]
    [InlineData("PS256")]
    [InlineData("ES256")]
    public async Task A_token_with_each_algorithm_is_read_back(string algorithm)
    {
        await using var service = await RunningService.Start($"--TokenService:SigningAlgorithm={algorithm}");
        var token = await service.GetToken();

        (await service.IsActive(token)).Should().BeTrue();
        var other = SigningKey.Generate(algorithm);
        IsInactive(await service.Introspect(TokenDraft.Of(token).SignedBy(other)));
        IsInactive(await service.Introspect(TokenDraft.Of(token).WithHeader("kid", other.Kid).SignedBy(other)));
        IsInactive(await service.Introspect(TokenDraft.Of(token).Signed(_ => new byte[algorithm == "ES256" ? 64 : 256])));
        foreach (var length in (int[])[1, 63, 65, 255, 257])
        {
            IsInactive(await service.Introspect(TokenDraft.Of(token).Signed(_ => Enumerable.Repeat((byte)1, length).ToArray())));
        }
    }

    [Theory]
    [InlineData("", CatalogApi, true)]
    [InlineData("", OrdersApi, true)]
    [InlineData("", Gateway, true)]
    [InlineData("&scope=catalog.read", CatalogApi, true)]
    [InlineData("&scope=catalog.read", OrdersApi, false)]
    [InlineData("&scope=catalog.read", Gateway, true)]
    [InlineData("&scope=orders.read", CatalogApi, false)]
    [InlineData("&scope=orders.read", OrdersApi, true)]
    public async Task A_caller_sees_the_tokens_that_are_also_for_its_resource_and_no_others(string extra, string caller, bool sees)
    {
        var token = await _service.GetToken(Wide, extra);

        var answer = await _service.Introspect(token, caller);

        if (sees)
        {
            answer.Json.GetProperty("active").GetBoolean().Should().BeTrue();
            answer.Json.GetProperty("aud").GetRawText().Should().Be(TokenDraft.Of(token).Claims["aud"]!.ToJsonString());
        }
        else
        {
            IsInactive(answer);
        }
    }

    [Theory]
    [InlineData(Job)]
    [InlineData(Nobody)]
    public async Task Who_is_registered_for_no_introspection_is_refused_whatever_the_token(string caller)
    {
        foreach (var token in (string[])[await _service.GetToken(), "garbage"])
        {
            TokenEndpointRefusalTests.Refused(await _service.Introspect(token, caller), 403, "unauthorized_client");
        }
    }

    [Theory]
    [InlineData("access_token")]
    [InlineData("refresh_token")]
    [InlineData("something")]
    [InlineData("")]
    public async Task The_hint_changes_nothing(string hint)
    {
        var answer = await _service.Token($"token={await _service.GetToken()}&token_type_hint={hint}", CatalogApi, Introspection);

        answer.Json.GetProperty("active").GetBoolean().Should().BeTrue();
        IsInactive(await _service.Token($"token=x&token_type_hint={hint}", CatalogApi, Introspection));
    }

    [Fact]
    public async Task The_same_forger_with_nothing_forged_is_believed()
    {
        var token = await _service.GetToken();

        (await _service.IsActive(TokenDraft.Of(token).SignedBy(Key()))).Should().BeTrue("the forger of the next test must be able to forge");
        (await _service.IsActive(TokenDraft.Of(token).WithHeader("other", 1).With("other", 1).SignedBy(Key()))).Should().BeTrue();
    }

    public static TheoryData<string> Dead() => [.. s_dead.Keys];

    // From a live token for the catalog and the key that signs.
    private static readonly Dictionary<string, Func<string, SigningKey, string>> s_dead = new()
    {
        ["garbage"] = (_, _) => "garbage",
        ["a space"] = (_, _) => " ",
        ["dots"] = (_, _) => "..",
        ["many dots"] = (_, _) => new string('.', 30_000),
        ["60,000 characters"] = (token, _) => token + new string('A', 60_000),
        ["no text"] = (_, _) => "\u0001\u00e9\u20ac",
        ["three parts of nothing"] = (_, _) => "YQ.YQ.YQ",
        ["white space before"] = (token, _) => " " + token,
        ["a line break after"] = (token, _) => token + "\n",
        ["a padded signature"] = (token, _) => token + "==",
        ["standard base64"] = (token, key) => Spelled(token, key),
        ["another spelling of the last character"] = (token, _) => LastCharacterRespelled(token),
        ["a scheme before"] = (token, _) => "Bearer " + token,
        ["two parts"] = (token, _) => token[..token.LastIndexOf('.')],
        ["no signature"] = (token, _) => token[..(token.LastIndexOf('.') + 1)],
        ["four parts"] = (token, _) => token + ".AAAA",
        ["JWE"] = (token, key) => $"{Part("""{"alg":"dir","enc":"A128GCM","typ":"at+jwt"}""")}..{string.Join('.', token.Split('.'))}",
        ["JWS in JSON"] = (token, _) => token.Split('.') is var parts
            ? $$"""{"protected":"{{parts[0]}}","payload":"{{parts[1]}}","signature":"{{parts[2]}}"}"""
            : "",
        ["an altered header"] = (token, _) => Altered(token, 5),
        ["altered claims"] = (token, _) => Altered(token, token.IndexOf('.', StringComparison.Ordinal) + 5),
        ["an altered signature"] = (token, _) => Altered(token, token.LastIndexOf('.') + 5),
        ["the claims of another"] = (token, _) => TokenDraft.Of(token).With("scope", "catalog.read orders.read").Unsigned(),
        ["alg none"] = (token, _) => TokenDraft.Of(token).WithHeader("alg", "none").Unsigned(),
        ["alg None"] = (token, _) => TokenDraft.Of(token).WithHeader("alg", "None").Unsigned(),
        ["alg none and no signature"] = (token, _) => TokenDraft.Of(token).WithHeader("alg", "none").Signed(_ => []),
        ["no alg"] = (token, key) => TokenDraft.Of(token).WithoutHeader("alg").SignedBy(key),
        ["alg as a number"] = (token, key) => TokenDraft.Of(token).WithHeader("alg", 256).SignedBy(key),
        ["another alg by the right key"] = (token, key) => TokenDraft.Of(token).WithHeader("alg", "PS256").SignedBy(key, "PS256"),
        ["another signature than the alg says"] = (token, key) => TokenDraft.Of(token).SignedBy(key, "PS256"),
        ["an HMAC under the public key"] = (token, key) => TokenDraft.Of(token).WithHeader("alg", "HS256")
            .Signed(content => AssertionDraft.Mac("HS256", Encoding.UTF8.GetBytes(key.PublicKey.N!), content)),
        ["no kid"] = (token, key) => TokenDraft.Of(token).WithoutHeader("kid").SignedBy(key),
        ["an unknown kid"] = (token, key) => TokenDraft.Of(token).WithHeader("kid", "x").SignedBy(key),
        ["a kid in other letters"] = (token, key) => TokenDraft.Of(token).WithHeader("kid", key.Kid.ToUpperInvariant()).SignedBy(key),
        ["a key that is not in the ring"] = (token, _) => TokenDraft.Of(token).WithHeader("kid", s_stranger.Kid).SignedBy(s_stranger),
        ["a strange key under a known kid"] = (token, _) => TokenDraft.Of(token).SignedBy(s_stranger),
        ["a strange key that it brings itself"] = (token, _) => TokenDraft.Of(token)
            .WithHeader("jwk", new JsonObject { ["kty"] = "RSA", ["n"] = s_stranger.PublicKey.N, ["e"] = s_stranger.PublicKey.E }).SignedBy(s_stranger),
        ["typ JWT"] = (token, key) => TokenDraft.Of(token).WithHeader("typ", "JWT").SignedBy(key),
        ["typ in other letters"] = (token, key) => TokenDraft.Of(token).WithHeader("typ", "AT+JWT").SignedBy(key),
        ["no typ"] = (token, key) => TokenDraft.Of(token).WithoutHeader("typ").SignedBy(key),
        ["another issuer"] = (token, key) => TokenDraft.Of(token).With("iss", "https://other.example.com").SignedBy(key),
        ["an issuer with a slash"] = (token, key) => TokenDraft.Of(token) is var draft ? draft.With("iss", $"{draft.Claims["iss"]}/").SignedBy(key) : "",
        ["no issuer"] = (token, key) => TokenDraft.Of(token).Without("iss").SignedBy(key),
        ["expired now"] = (token, key) => TokenDraft.Of(token).With("exp", Fixture.Now.ToUnixTimeSeconds()).SignedBy(key),
        ["long expired"] = (token, key) => TokenDraft.Of(token).With("exp", 1).SignedBy(key),
        ["exp before all time"] = (token, key) => TokenDraft.Of(token).With("exp", -1).SignedBy(key),
        ["exp beyond all time"] = (token, key) => TokenDraft.Of(token).With("exp", 1e300).SignedBy(key),
        ["exp as a text"] = (token, key) => TokenDraft.Of(token).With("exp", "1900000000").SignedBy(key),
        ["no exp"] = (token, key) => TokenDraft.Of(token).Without("exp").SignedBy(key),
        ["no aud"] = (token, key) => TokenDraft.Of(token).Without("aud").SignedBy(key),
        ["an empty aud"] = (token, key) => TokenDraft.Of(token).With("aud", new JsonArray()).SignedBy(key),
        ["aud as a number"] = (token, key) => TokenDraft.Of(token).With("aud", 1).SignedBy(key),
        ["aud with a number"] = (token, key) => TokenDraft.Of(token).With("aud", new JsonArray(Sample.CatalogUri, 1)).SignedBy(key),
        ["for another resource"] = (token, key) => TokenDraft.Of(token).With("aud", Sample.OrdersUri).SignedBy(key),
        ["a resource in other letters"] = (token, key) => TokenDraft.Of(token).With("aud", Sample.CatalogUri.ToUpperInvariant()).SignedBy(key),
        ["an unknown client"] = (token, key) => TokenDraft.Of(token).With("client_id", "removed").With("sub", "removed").SignedBy(key),
        ["no client"] = (token, key) => TokenDraft.Of(token).Without("client_id").SignedBy(key),
        ["client_id as a number"] = (token, key) => TokenDraft.Of(token).With("client_id", 1).SignedBy(key),
        ["no jti"] = (token, key) => TokenDraft.Of(token).Without("jti").SignedBy(key),
        ["a member twice in the header"] = (token, key) => Raw(
            $$"""{"alg":"RS256","kid":"{{key.Kid}}","typ":"at+jwt","typ":"at+jwt"}""", TokenDraft.Of(token).Claims.ToJsonString(), key),
        ["a member twice in the claims"] = (token, key) => Raw(
            TokenDraft.Of(token).Header.ToJsonString(), TokenDraft.Of(token).Claims.ToJsonString().Replace("{", "{\"x\":1,\"x\":1,", StringComparison.Ordinal), key),
        ["claims that are no object"] = (token, key) => Raw(TokenDraft.Of(token).Header.ToJsonString(), "[]", key),
        ["claims that are no JSON"] = (token, key) => Raw(TokenDraft.Of(token).Header.ToJsonString(), "{", key),
        ["claims behind a byte order mark"] = (token, key) => Raw(
            TokenDraft.Of(token).Header.ToJsonString(), "\uFEFF" + TokenDraft.Of(token).Claims.ToJsonString(), key),
    };

    [Theory]
    [MemberData(nameof(Dead))]
    public async Task Whatever_is_no_live_token_reads_the_same(string what)
    {
        var token = await _service.GetToken();

        IsInactive(await _service.Introspect(s_dead[what](token, Key())));
        (await _service.IsActive(token)).Should().BeTrue("the token itself is live");
    }

    [Fact]
    public async Task A_token_of_another_service_reads_the_same()
    {
        await using var other = await RunningService.Start(folder: null, new FakeTimeProvider(Fixture.Now), File);

        IsInactive(await _service.Introspect(await other.GetToken()));
    }

    [Fact]
    public async Task A_token_reads_as_inactive_from_the_second_that_it_expires_in()
    {
        var clock = new FakeTimeProvider(Fixture.Now);
        await using var service = await RunningService.Start(folder: null, clock, File);
        var token = await service.GetToken();

        clock.Advance(TimeSpan.FromSeconds(599.999));
        (await service.IsActive(token)).Should().BeTrue();
        clock.Advance(TimeSpan.FromMilliseconds(1));
        IsInactive(await service.Introspect(token));
    }

    [Fact]
    public async Task The_tokens_of_a_disabled_or_removed_client_read_the_same()
    {
        using var folder = new TemporaryFolder();

        // Into the store, and then without the file, which would bring the removed one back.
        await (await RunningService.Start(folder, null, File)).DisposeAsync();
        await using var service = await RunningService.Start(folder, null, null);
        var (disabled, removed, other) = (await service.GetToken(), await service.GetToken(Wide), await service.GetToken(Wide));
        (await service.IsActive(removed)).Should().BeTrue();

        TokenEndpointRefusalTests.Disable(folder, Sample.Job);
        using (var store = TokenService.Storage.Store.Open(Operations.SettingsTests.Read(folder.Path)))
        {
            store.Registry.Change(_ => new() { RemovedClients = [Sample.Wide] });
        }

        await service.Refresh();
        IsInactive(await service.Introspect(disabled));
        IsInactive(await service.Introspect(removed));
        IsInactive(await service.Introspect(other, Gateway));
    }

    [Fact]
    public async Task The_tokens_of_a_removed_client_do_not_come_back_with_another_one_of_the_same_id()
    {
        using var folder = new TemporaryFolder();
        await using var service = await RunningService.Start(folder, null, File);
        var token = await service.GetToken(Wide);

        using (var store = TokenService.Storage.Store.Open(Operations.SettingsTests.Read(folder.Path)))
        {
            var client = store.Registry.Read().FindClient(Sample.Wide)!;
            foreach (var (registered, alive) in ((TimeSpan, bool)[])[(TimeSpan.FromMinutes(1), false), (TimeSpan.FromMinutes(-1), true)])
            {
                store.Registry.Change(_ => new() { RemovedClients = [Sample.Wide] });
                store.Registry.Change(_ => new() { Clients = [client with { IssuedAt = DateTimeOffset.UtcNow + registered }] });
                await service.Refresh();
                (await service.IsActive(token)).Should().Be(alive);
            }
        }
    }

    [Fact]
    public async Task A_token_by_a_key_that_is_gone_from_the_store_reads_the_same()
    {
        using var folder = new TemporaryFolder();
        await using var service = await RunningService.Start(folder, null, File);
        var token = await service.GetToken();
        (await service.IsActive(token)).Should().BeTrue();

        var settings = Operations.SettingsTests.Read(folder.Path);
        using (var store = TokenService.Storage.Store.Open(settings))
        {
            TokenService.Administration.KeyRotation.Retire(
                store.Keys, settings, TimeProvider.System, new JsonWebToken(token).Kid);
        }

        await service.Refresh();
        IsInactive(await service.Introspect(token));
        IsInactive(await service.Introspect(token, Gateway));
        (await service.IsActive(await service.GetToken())).Should().BeTrue();
    }

    internal static void IsInactive(Answer answer)
    {
        answer.Body.Should().Be("""{"active":false}""");
        IsKeptByNobody(answer);
    }

    private static void IsKeptByNobody(Answer answer)
    {
        answer.Status.Should().Be(200);
        answer.Response.Headers.Concat(answer.Response.Content.Headers)
            .Where(header => header.Key is not ("Date" or "Content-Length"))
            .Select(header => $"{header.Key}: {string.Join(',', header.Value)}")
            .Should().BeEquivalentTo("Cache-Control: no-store", "Pragma: no-cache", "Content-Type: application/json");
    }

    // As it is in the store.
    private SigningKey Key()
    {
        using var store = TokenService.Storage.Store.Open(Operations.SettingsTests.Read(_service.Folder.Path));
        return TokenService.Storage.StoreTransaction.Read(store.DataSource, store.Keys.ReadRing).SigningAt(Fixture.Now);
    }

    private static string Part(string json) => Base64UrlEncoder.Encode(json);

    private static string Raw(string header, string claims, SigningKey key) => AssertionDraft.Compact(
        Encoding.UTF8.GetBytes(header), Encoding.UTF8.GetBytes(claims), content => TokenDraft.Sign(key, key.Algorithm, content));

    private static string Altered(string token, int at) => token[..at] + (token[at] == 'A' ? 'B' : 'A') + token[(at + 1)..];

    // Signed until there is a character that both alphabets spell differently.
    private static string Spelled(string token, SigningKey key)
    {
        for (var i = 0; ; i++)
        {
            var signed = TokenDraft.Of(token).With("x", i).SignedBy(key);
            if (signed.AsSpan(signed.LastIndexOf('.')).ContainsAny('-', '_'))
            {
                return signed.Replace('-', '+').Replace('_', '/');
            }
        }
    }

    // 256 bytes leave 4 bits over, which are zero.
    private static string LastCharacterRespelled(string token)
    {
        const string alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        var respelled = token[..^1] + alphabet[alphabet.IndexOf(token[^1], StringComparison.Ordinal) + 1];
        Lenient(respelled).Should().Equal(Lenient(token));
        return respelled;

        static byte[] Lenient(string text) => Convert.FromBase64String(text.Split('.')[2].Replace('-', '+').Replace('_', '/') + "==");
    }

    // The clock stands still, so that no token of a test expires.
    public sealed class Fixture : IAsyncLifetime
    {
        internal static DateTimeOffset Now { get; } = DateTimeOffset.FromUnixTimeSeconds(1_800_000_000);

        internal RunningService Service { get; private set; } = null!;

        public async Task InitializeAsync() => Service = await RunningService.Start(folder: null, new FakeTimeProvider(Now), File);

        public async Task DisposeAsync() => await Service.DisposeAsync();
    }
}
