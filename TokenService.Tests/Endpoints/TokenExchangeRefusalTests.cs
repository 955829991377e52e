using System;
using System.Collections.Generic;
using System.Text.Json.Nodes;
using System.Threading.Tasks;
using FluentAssertions;
using Microsoft.Extensions.Time.Testing;
using TokenService.Keys;
using TokenService.Storage;
using TokenService.Tests.Operations;
using TokenService.Tests.Support;
using Xunit;
using static TokenService.Tests.Support.TokenExchanges;
using static TokenService.Tests.Support.TokenQueries;

namespace TokenService.Tests.Endpoints;

/// <summary>What is refused of a token exchange, with which error (RFC 8693 §2.2.2), and what the operator is told.</summary>
public sealed class TokenExchangeRefusalTests(TokenExchangeRefusalTests.Fixture fixture) : IClassFixture<TokenExchangeRefusalTests.Fixture>
{
    private const string NotLive = "a live access token of this service";

    private static readonly SigningKey s_stranger = SigningKey.Generate("RS256");

    private readonly RunningService _service = fixture.Service;

    [Theory]
    [InlineData("", "invalid_request", "subject_token", "nothing")]
    [InlineData("&subject_token=&subject_token_type=urn:ietf:params:oauth:token-type:access_token", "invalid_request", "subject_token", "nothing")]
    [InlineData("&subject_token=T", "invalid_request", "subject_token_type", "nothing")]
    [InlineData("&subject_token=T&subject_token_type=", "invalid_request", "subject_token_type", "nothing")]
    [InlineData("&subject_token=T&subject_token_type=access_token", "invalid_request", "subject_token_type", "\"access_token\"")]
    [InlineData("&subject_token=T&subject_token_type=urn:ietf:params:oauth:token-type:jwt", "invalid_request", "subject_token_type", "\"urn:ietf:params:oauth:token-type:jwt\"")]
    [InlineData("&subject_token=T&subject_token_type=urn:ietf:params:oauth:token-type:id_token", "invalid_request", "subject_token_type", "\"urn:ietf:params:oauth:token-type:id_token\"")]
    [InlineData("&subject_token=T&subject_token_type=URN:ietf:params:oauth:token-type:access_token", "invalid_request", "subject_token_type", "\"URN:ietf:params:oauth:token-type:access_token\"")]
    public async Task A_subject_that_is_missing_or_of_another_type(string form, string error, string check, string came)
    {
        var token = await _service.GetToken(Wide);

        await Refused(await _service.Token($"grant_type={Grant}{form.Replace("=T", $"={token}", StringComparison.Ordinal)}&scope=orders.read", Agent), error, check, came);
    }

    [Theory]
    [InlineData("&requested_token_type=urn:ietf:params:oauth:token-type:refresh_token", "invalid_request", "requested_token_type", "\"urn:ietf:params:oauth:token-type:refresh_token\"")]
    [InlineData("&requested_token_type=urn:ietf:params:oauth:token-type:jwt", "invalid_request", "requested_token_type", "\"urn:ietf:params:oauth:token-type:jwt\"")]
    [InlineData("&requested_token_type=access_token", "invalid_request", "requested_token_type", "\"access_token\"")]
    [InlineData("&actor_token=T&actor_token_type=urn:ietf:params:oauth:token-type:access_token", "invalid_request", "actor_token", "an actor")]
    [InlineData("&actor_token=T", "invalid_request", "actor_token", "an actor")]
    [InlineData("&actor_token_type=urn:ietf:params:oauth:token-type:access_token", "invalid_request", "actor_token", "an actor")]
    [InlineData("&audience=orders", "invalid_target", "audience", "\"orders\"")]
    [InlineData($"&audience={Sample.OrdersUri}", "invalid_target", "audience", $"\"{Sample.OrdersUri}\"")]
    [InlineData($"&audience={Sample.OrdersUri}&resource={Sample.OrdersUri}", "invalid_target", "audience", $"\"{Sample.OrdersUri}\"")]
    [InlineData("", "invalid_target", "resource", "none, and scopes of 2 resources")]
    [InlineData("&scope=orders.read+catalog.read", "invalid_target", "resource", "none, and scopes of 2 resources")]
    [InlineData($"&resource={Sample.OrdersUri}&resource={Sample.CatalogUri}", "invalid_target", "resource", "2 resources")]
    [InlineData($"&resource={Sample.OrdersUri}&resource={Sample.OrdersUri}", "invalid_target", "resource", "2 resources")]
    [InlineData("&resource=", "invalid_target", "resource", "\"\"")]
    [InlineData("&resource=orders", "invalid_target", "resource", "\"orders\"")]
    [InlineData($"&resource={Sample.OrdersUri}%23x", "invalid_target", "resource", $"\"{Sample.OrdersUri}#x\"")]
    [InlineData($"&resource={Sample.OrdersUri}/", "invalid_target", "resource", $"\"{Sample.OrdersUri}/\"")]
    [InlineData("&resource=urn:other", "invalid_target", "resource", "\"urn:other\"")]
    [InlineData("&scope=orders.read++orders.read", "invalid_scope", "scope", "\"orders.read  orders.read\"")]
    [InlineData("&scope=nothing", "invalid_scope", "scope", "\"nothing\"")]
    [InlineData("&scope=Orders.read", "invalid_scope", "scope", "\"Orders.read\"")]
    [InlineData("&scope=other", "invalid_scope", "scope", "\"other\"")]
    [InlineData($"&scope=catalog.read&resource={Sample.OrdersUri}", "invalid_scope", "resource", $"\"{Sample.OrdersUri}\"")]
    public async Task A_parameter_that_asks_for_what_there_is_not(string extra, string error, string check, string came)
    {
        var token = await _service.GetToken(Wide);

        var answer = await _service.Exchange(token, Agent, extra.Replace("=T", $"={token}", StringComparison.Ordinal));

        await Refused(answer, error, check, came);
    }

    [Theory]
    [InlineData("subject_token")]
    [InlineData("subject_token_type")]
    [InlineData("requested_token_type")]
    [InlineData("actor_token")]
    [InlineData("actor_token_type")]
    [InlineData("audience")]
    [InlineData("scope")]
    public async Task A_parameter_sent_twice(string name)
    {
        var form = $"grant_type={Grant}&{name}=a&{name}=a";

        await Refused(await _service.Token(form, Agent), "invalid_request", "form", $"{name} twice", clientId: null);
    }

    // The tool has orders.write, and the token has orders.read; of both there is orders.read.
    [Fact]
    public async Task A_scope_that_the_client_has_and_the_token_has_not_and_the_other_way_round()
    {
        var wide = await _service.GetToken(Wide);

        await Refused(await _service.Exchange(wide, Tool, "&scope=orders.write"), "invalid_scope", "scope", "\"orders.write\"", "tool");
        await Refused(await _service.Exchange(wide, Tool, "&scope=orders.read+orders.write"), "invalid_scope", "scope", "\"orders.write\"", "tool");
        await Refused(await _service.Exchange(wide, Tool, "&scope=catalog.read"), "invalid_scope", "scope", "\"catalog.read\"", "tool");
        await Refused(await _service.Exchange(wide, Tool, $"&resource={Sample.CatalogUri}"), "invalid_target", "resource", $"\"{Sample.CatalogUri}\"", "tool");
        await Refused(await _service.Exchange(await _service.GetToken(), Tool), "invalid_scope", "scope", "a subject token with none of its scopes", "tool");

        // What an exchange has taken away does not come back with the next one.
        var narrow = await _service.Exchanged(wide, Agent, "&scope=catalog.read");
        await Refused(await _service.Exchange(narrow, Agent, "&scope=orders.read"), "invalid_scope", "scope", "\"orders.read\"");
        await Refused(await _service.Exchange(narrow, Agent, $"&resource={Sample.OrdersUri}"), "invalid_target", "resource", $"\"{Sample.OrdersUri}\"");
    }

    [Fact]
    public async Task A_client_that_is_not_registered_for_it()
    {
        foreach (var (basic, registered) in ((string, string)[])[(Job, "client_credentials"), (Wide, "client_credentials"), (CatalogApi, "none")])
        {
            var id = basic.Split(':')[0];

            await Refused(
                await _service.Exchange(await _service.GetToken(Wide), basic, "&scope=orders.read"), "unauthorized_client", "grant_types", $"\"{Grant}\"", id,
                $"a grant that it is registered for: {registered}");
        }

        await Refused(
            await _service.Token("grant_type=client_credentials", Tool), "unauthorized_client", "grant_types", "\"client_credentials\"", "tool",
            $"a grant that it is registered for: {Grant}");
    }

    [Fact]
    public async Task A_client_that_has_not_proved_itself_whatever_the_token()
    {
        foreach (var (basic, token) in ((string?, string)[])[(null, await _service.GetToken(Wide)), ("agent:wrong", await _service.GetToken(Wide)), (null, "garbage")])
        {
            TokenEndpointRefusalTests.Refused(await _service.Exchange(token, basic!, "&scope=orders.read"), 401, "invalid_client");
        }
    }

    [Fact]
    public async Task A_grant_type_that_is_only_like_it()
    {
        foreach (var name in (string[])[Grant + " ", Grant.ToUpperInvariant(), "token-exchange", "token_exchange"])
        {
            var answer = await _service.Token($"grant_type={Uri.EscapeDataString(name)}&subject_token=x&subject_token_type={AccessToken}", Agent);

            TokenEndpointRefusalTests.Refused(answer, 400, "unsupported_grant_type");
        }
    }

    public static TheoryData<string> Dead() => [.. s_dead.Keys];

    // From a live token for catalog and orders, and the key that signs.
    private static readonly Dictionary<string, Func<string, SigningKey, string>> s_dead = new()
    {
        ["garbage"] = (_, _) => "garbage",
        ["60,000 characters"] = (token, _) => token + new string('A', 60_000),
        ["many dots"] = (_, _) => new string('.', 30_000),
        ["a scheme before"] = (token, _) => "Bearer " + token,
        ["no signature"] = (token, _) => token[..(token.LastIndexOf('.') + 1)],
        ["alg none"] = (token, _) => TokenDraft.Of(token).WithHeader("alg", "none").Signed(_ => []),
        ["a wider scope"] = (token, _) => TokenDraft.Of(token).With("scope", "orders.read orders.write").Unsigned(),
        ["a longer life"] = (token, _) => TokenDraft.Of(token).With("exp", 1_900_000_000).Unsigned(),
        ["a strange key under a known kid"] = (token, _) => TokenDraft.Of(token).SignedBy(s_stranger),
        ["a key that is not in the ring"] = (token, _) => TokenDraft.Of(token).WithHeader("kid", s_stranger.Kid).SignedBy(s_stranger),
        ["typ JWT"] = (token, key) => TokenDraft.Of(token).WithHeader("typ", "JWT").SignedBy(key),
        ["another issuer"] = (token, key) => TokenDraft.Of(token).With("iss", "https://other.example.com").SignedBy(key),
        ["expired now"] = (token, key) => TokenDraft.Of(token).With("exp", Fixture.Now.ToUnixTimeSeconds()).SignedBy(key),
        ["no subject"] = (token, key) => TokenDraft.Of(token).Without("sub").SignedBy(key),
        ["no scope"] = (token, key) => TokenDraft.Of(token).Without("scope").SignedBy(key),
        ["scope as a list"] = (token, key) => TokenDraft.Of(token).With("scope", new JsonArray("orders.read")).SignedBy(key),
        ["an unknown client"] = (token, key) => TokenDraft.Of(token).With("client_id", "removed").With("sub", "removed").SignedBy(key),
        ["a subject that is not the client, and no exchange"] = (token, key) => TokenDraft.Of(token).With("sub", Sample.Job).SignedBy(key),
        ["an actor and no exchange"] = (token, key) => TokenDraft.Of(token).With("act", Actor("agent")).SignedBy(key),
        ["an exchange of nothing"] = (token, key) => TokenDraft.Of(token).With("exchanged_from", new JsonArray()).SignedBy(key),
        ["an exchange of a number"] = (token, key) => TokenDraft.Of(token).With("exchanged_from", new JsonArray(1)).SignedBy(key),
        ["five exchanges"] = (token, key) => TokenDraft.Of(token).With("exchanged_from", new JsonArray("a", "b", "c", "d", "e")).SignedBy(key),
        ["more actors than exchanges"] = (token, key) => TokenDraft.Of(token).With("client_id", "agent")
            .With("act", Actor("agent", Actor("tool"))).With("exchanged_from", new JsonArray("a")).SignedBy(key),
        ["another actor than the client"] = (token, key) => TokenDraft.Of(token).With("client_id", "agent")
            .With("act", Actor("tool")).With("exchanged_from", new JsonArray("a")).SignedBy(key),
        ["an actor without name"] = (token, key) => TokenDraft.Of(token).With("client_id", "agent")
            .With("act", new JsonObject()).With("exchanged_from", new JsonArray("a")).SignedBy(key),
        ["an actor as a text"] = (token, key) => TokenDraft.Of(token).With("client_id", "agent")
            .With("act", "agent").With("exchanged_from", new JsonArray("a")).SignedBy(key),
        ["an actor that is removed"] = (token, key) => TokenDraft.Of(token).With("client_id", "agent")
            .With("act", Actor("agent", Actor("removed"))).With("exchanged_from", new JsonArray("a", "b")).SignedBy(key),
        ["a subject that is removed"] = (token, key) => TokenDraft.Of(token).With("client_id", "agent").With("sub", "removed")
            .With("act", Actor("agent")).With("exchanged_from", new JsonArray("a")).SignedBy(key),
    };

    [Theory]
    [MemberData(nameof(Dead))]
    public async Task A_subject_token_that_is_no_live_token_of_this_service(string what)
    {
        var token = await _service.GetToken(Wide);

        var answer = await _service.Exchange(s_dead[what](token, Key()), Agent, "&scope=orders.read");

        await Refused(answer, "invalid_request", "subject_token", came: null, expected: NotLive);
        answer.Json.GetProperty("error_description").GetString().Should().StartWith("The subject token is no live access token", "whatever it is, it reads the same");
        IntrospectionTests.IsInactive(await _service.Introspect(s_dead[what](token, Key()), Gateway));
        (await _service.Exchange(token, Agent, "&scope=orders.read")).Status.Should().Be(200, "the token itself is live");
    }

    [Fact]
    public async Task The_same_forger_with_nothing_forged_is_believed()
    {
        var token = await _service.GetToken(Wide);
        foreach (var draft in (TokenDraft[])
        [
            TokenDraft.Of(token),
            TokenDraft.Of(token).With("client_id", "agent").With("act", Actor("agent", Actor("tool"))).With("exchanged_from", new JsonArray("a", "b")),
            TokenDraft.Of(token).With("exchanged_from", new JsonArray("a", "b", "c")),
        ])
        {
            (await _service.Exchange(draft.SignedBy(Key()), Agent, "&scope=orders.read")).Status.Should().Be(200, draft.Claims.ToJsonString());
        }
    }

    [Theory]
    [InlineData("""{"jkt":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}""")]
    [InlineData("""{"x5t#S256":"bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2"}""")]
    [InlineData("{}")]
    [InlineData("null")]
    [InlineData("1")]
    public async Task A_subject_token_that_is_bound_to_a_key(string confirmation)
    {
        var token = TokenDraft.Of(await _service.GetToken(Wide)).With("cnf", JsonNode.Parse(confirmation)).SignedBy(Key());

        await Refused(await _service.Exchange(token, Agent, "&scope=orders.read"), "invalid_request", "cnf", "one that is");
        await Refused(await _service.Exchange(token, Tool, "&scope=orders.read"), "invalid_request", "cnf", "one that is", "tool");
    }

    [Fact]
    public async Task A_fifth_exchange()
    {
        var token = await _service.GetToken(Wide);
        foreach (var actor in (string[])[Agent, Tool, Agent, Tool])
        {
            token = await _service.Exchanged(token, actor, "&scope=orders.read");
        }

        TokenDraft.Of(token).Claims["act"]!.ToJsonString().Should().Be("""{"sub":"tool","act":{"sub":"agent","act":{"sub":"tool","act":{"sub":"agent"}}}}""");
        (await _service.IsActive(token, Gateway)).Should().BeTrue();
        foreach (var (basic, id) in ((string, string)[])[(Agent, "agent"), (Tool, "tool")])
        {
            await Refused(await _service.Exchange(token, basic, "&scope=orders.read"), "invalid_request", "exchanged_from", "one more exchange of it", id);
        }
    }

    [Fact]
    public async Task A_subject_token_that_was_revoked_or_whose_client_is_disabled_or_removed()
    {
        using var folder = new TemporaryFolder();

        // Into the store, and then without the file, which would bring the removed one back.
        await (await RunningService.Start(folder, null, TokenExchanges.File)).DisposeAsync();
        await using var service = await RunningService.Start(folder, null, null);
        var (revoked, disabled, removed) = (await service.GetToken(Wide), await service.GetToken(), await service.GetToken(Wide));
        await service.Revoke(revoked, Wide);

        Refused(await service.Exchange(revoked, Agent, "&scope=catalog.read"));
        (await service.Exchange(disabled, Agent, "&scope=catalog.read")).Status.Should().Be(200);
        (await service.Exchange(removed, Agent, "&scope=catalog.read")).Status.Should().Be(200);

        TokenEndpointRefusalTests.Disable(folder, Sample.Job);
        using (var store = TokenService.Storage.Store.Open(SettingsTests.Read(folder.Path)))
        {
            store.Registry.Change(_ => new() { RemovedClients = [Sample.Wide] });
        }

        await service.Refresh();
        Refused(await service.Exchange(disabled, Agent, "&scope=catalog.read"));
        Refused(await service.Exchange(removed, Agent, "&scope=catalog.read"));

        static void Refused(Answer answer) => TokenEndpointRefusalTests.Refused(answer, 400, "invalid_request");
    }

    [Fact]
    public async Task A_subject_token_by_a_key_that_was_retired()
    {
        using var folder = new TemporaryFolder();
        await using var service = await RunningService.Start(folder, null, TokenExchanges.File);
        var token = await service.GetToken(Wide);
        var settings = SettingsTests.Read(folder.Path);
        using (var store = TokenService.Storage.Store.Open(settings))
        {
            TokenService.Administration.KeyRotation.Retire(store.Keys, settings, TimeProvider.System, TokenDraft.Of(token).Header["kid"]!.GetValue<string>());
        }

        await service.Refresh();

        TokenEndpointRefusalTests.Refused(await service.Exchange(token, Agent, "&scope=orders.read"), 400, "invalid_request");
        (await service.Exchange(await service.GetToken(Wide), Agent, "&scope=orders.read")).Status.Should().Be(200);
    }

    [Fact]
    public async Task Any_subject_token_while_nobody_knows_what_was_revoked()
    {
        using var folder = new TemporaryFolder();
        await using var service = await RunningService.Start(folder, null, TokenExchanges.File);
        var (token, forged) = (await service.GetToken(Wide), TokenDraft.Of(await service.GetToken(Wide)).SignedBy(s_stranger));

        StoreFile.Execute(folder, "ALTER TABLE revoked_tokens RENAME TO away");
        await service.Refresh();

        TokenEndpointRefusalTests.Refused(await service.Exchange(token, Agent, "&scope=orders.read"), 503, "temporarily_unavailable");
        TokenEndpointRefusalTests.Refused(await service.Exchange(forged, Agent, "&scope=orders.read"), 400, "invalid_request");
        StoreFile.Execute(folder, "ALTER TABLE away RENAME TO revoked_tokens");
        await service.Refresh();
        (await service.Exchange(token, Agent, "&scope=orders.read")).Status.Should().Be(200);
    }

    private async Task Refused(Answer answer, string error, string check, string? came, string? clientId = "agent", string? expected = null)
    {
        TokenEndpointRefusalTests.Refused(answer, 400, error);
        var kept = await RefusalVerdictTests.Find(_service.Folder, answer);
        (kept.Error, kept.Failed.Name, kept.ClientId).Should().Be((error, check, clientId));
        kept.Failed.Came.Should().Be(came ?? kept.Failed.Came).And.NotContain("eyJ");
        kept.Failed.Expected.Should().Be(expected ?? kept.Failed.Expected);
    }

    private static JsonObject Actor(string id, JsonObject? before = null)
        => before is null ? new JsonObject { ["sub"] = id } : new JsonObject { ["sub"] = id, ["act"] = before };

    // As it is in the store.
    private SigningKey Key()
    {
        using var store = TokenService.Storage.Store.Open(SettingsTests.Read(_service.Folder.Path));
        return StoreTransaction.Read(store.DataSource, store.Keys.ReadRing).SigningAt(Fixture.Now);
    }

    // The clock stands still, so that no token of a test expires.
    public sealed class Fixture : IAsyncLifetime
    {
        internal static DateTimeOffset Now { get; } = DateTimeOffset.FromUnixTimeSeconds(1_800_000_000);

        internal RunningService Service { get; private set; } = null!;

        public async Task InitializeAsync() => Service = await RunningService.Start(folder: null, new FakeTimeProvider(Now), TokenExchanges.File);

        public async Task DisposeAsync() => await Service.DisposeAsync();
    }
}
