using System;
using System.Linq;
using System.Net.Http.Headers;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Threading.Tasks;
using FluentAssertions;
using Microsoft.Extensions.Time.Testing;
using TokenService.Tests.Operations;
using TokenService.Tests.Support;
using Xunit;
using static TokenService.Tests.Support.TokenExchanges;
using static TokenService.Tests.Support.TokenQueries;

namespace TokenService.Tests.Endpoints;

/// <summary>Token exchange (RFC 8693): what comes of it, and how long it lives.</summary>
public sealed class TokenExchangeTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();
    private readonly FakeTimeProvider _clock = new(DateTimeOffset.FromUnixTimeSeconds(1_800_000_000));

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task Another_client_gets_a_token_of_the_same_subject_for_one_resource_and_is_named_as_the_actor()
    {
        await using var service = await Start();
        var subject = await service.GetToken(Wide);
        _clock.Advance(TimeSpan.FromSeconds(1));

        var answer = await service.Exchange(subject, Agent, "&scope=orders.read");

        answer.Status.Should().Be(200, answer.Body);
        answer.Json.EnumerateObject().Select(member => member.Name).Should().Equal("access_token", "issued_token_type", "token_type", "expires_in", "scope");
        answer.Json.GetProperty("issued_token_type").GetString().Should().Be("urn:ietf:params:oauth:token-type:access_token");
        (answer.Json.GetProperty("token_type").GetString(), answer.Json.GetProperty("expires_in").GetInt32(), answer.Json.GetProperty("scope").GetString())
            .Should().Be(("Bearer", 300, "orders.read"));
        answer.Response.Headers.CacheControl.Should().Be(new CacheControlHeaderValue { NoStore = true });

        var (old, claims) = (TokenDraft.Of(subject).Claims, TokenDraft.Of(answer.AccessToken).Claims);
        claims.Select(claim => claim.Key).Should().Equal("iss", "sub", "client_id", "aud", "scope", "iat", "exp", "jti", "act", "exchanged_from");
        (Text(claims, "iss"), Text(claims, "sub"), Text(claims, "client_id"), Text(claims, "aud"), Text(claims, "scope"))
            .Should().Be((Text(old, "iss"), Sample.Wide, "agent", Sample.OrdersUri, "orders.read"));
        claims["act"]!.ToJsonString().Should().Be("""{"sub":"agent"}""");
        claims["exchanged_from"]!.ToJsonString().Should().Be($"""["{Text(old, "jti")}"]""");
        Text(claims, "jti").Should().NotBe(Text(old, "jti"));
        TokenDraft.Of(answer.AccessToken).Header["typ"]!.GetValue<string>().Should().Be("at+jwt");
    }

    [Fact]
    public async Task The_next_actor_holds_the_one_before_it()
    {
        await using var service = await Start();
        var first = await service.Exchanged(await service.GetToken(Wide), Agent, "&scope=orders.read");

        var claims = TokenDraft.Of(await service.Exchanged(first, Tool)).Claims;

        claims["act"]!.ToJsonString().Should().Be("""{"sub":"tool","act":{"sub":"agent"}}""");
        (Text(claims, "sub"), Text(claims, "client_id")).Should().Be((Sample.Wide, "tool"));
        claims["exchanged_from"]!.AsArray().Should().HaveCount(2);
    }

    [Fact]
    public async Task A_client_that_narrows_its_own_token_is_no_actor()
    {
        await using var service = await Start();
        var claims = TokenDraft.Of(await service.Exchanged(await service.GetToken(Agent), Agent, "&scope=catalog.read")).Claims;

        (Text(claims, "sub"), Text(claims, "client_id"), Text(claims, "scope")).Should().Be(("agent", "agent", "catalog.read"));
        claims.ContainsKey("act").Should().BeFalse();
        claims["exchanged_from"]!.AsArray().Should().ContainSingle();
    }

    [Theory]
    [InlineData("&scope=orders.read", "orders.read", Sample.OrdersUri)]
    [InlineData("&scope=catalog.read", "catalog.read", Sample.CatalogUri)]
    [InlineData($"&resource={Sample.OrdersUri}", "orders.read", Sample.OrdersUri)]
    [InlineData($"&resource={Sample.CatalogUri}", "catalog.read", Sample.CatalogUri)]
    [InlineData($"&resource={Sample.CatalogUri}&scope=orders.read+catalog.read", "catalog.read", Sample.CatalogUri)]
    [InlineData($"&resource={Sample.OrdersUri}&requested_token_type=urn:ietf:params:oauth:token-type:access_token", "orders.read", Sample.OrdersUri)]
    [InlineData($"&resource={Sample.OrdersUri}&audience=&actor_token=&actor_token_type=&requested_token_type=", "orders.read", Sample.OrdersUri)]
    public async Task Scope_and_resource_narrow_as_they_do_with_client_credentials(string extra, string scope, string resource)
    {
        await using var service = await Start();

        var answer = await service.Exchange(await service.GetToken(Wide), Agent, extra);

        answer.Status.Should().Be(200, answer.Body);
        answer.Json.GetProperty("scope").GetString().Should().Be(scope);
        Text(TokenDraft.Of(answer.AccessToken).Claims, "aud").Should().Be(resource);
    }

    [Fact]
    public async Task Without_scope_it_gets_what_is_in_the_token_and_in_its_own_registration()
    {
        await using var service = await Start();

        var answer = await service.Exchange(await service.GetToken(), Agent);

        answer.Json.GetProperty("scope").GetString().Should().Be("catalog.read", "the token has catalog.search too, and the client has orders.read too");
    }

    [Fact]
    public async Task It_lives_no_longer_than_the_subject_token_nor_than_its_client_may_have_it()
    {
        await using var service = await Start();
        var subject = await service.GetToken(Wide);

        (await service.Exchange(subject, Agent, "&scope=orders.read")).Json.GetProperty("expires_in").GetInt32().Should().Be(300, "access_token_lifetime of the client");
        _clock.Advance(TimeSpan.FromSeconds(3_599.4));
        var answer = await service.Exchange(subject, Agent, "&scope=orders.read");

        answer.Json.GetProperty("expires_in").GetInt32().Should().Be(1);
        TokenDraft.Of(answer.AccessToken).Claims["exp"]!.GetValue<long>().Should().Be(TokenDraft.Of(subject).Claims["exp"]!.GetValue<long>());
        (await service.IsActive(answer.AccessToken, Gateway)).Should().BeTrue();
        _clock.Advance(TimeSpan.FromSeconds(0.6));
        (await service.IsActive(answer.AccessToken, Gateway)).Should().BeFalse();
    }

    [Fact]
    public async Task It_is_introspected_like_any_token_with_its_chain()
    {
        await using var service = await Start();
        var token = await service.Exchanged(await service.GetToken(Wide), Agent, "&scope=orders.read");

        var told = JsonNode.Parse((await service.Introspect(token, OrdersApi)).Body)!.AsObject();

        (told["active"]!.GetValue<bool>(), Text(told, "token_type")).Should().Be((true, "Bearer"));
        foreach (var (name, value) in TokenDraft.Of(token).Claims)
        {
            JsonNode.DeepEquals(told[name], value).Should().BeTrue(name);
        }

        IntrospectionTests.IsInactive(await service.Introspect(token, CatalogApi));
    }

    [Fact]
    public async Task With_the_subject_token_or_any_on_the_way_it_is_revoked_and_by_itself_it_takes_nothing_else_along()
    {
        await using var service = await Start();
        foreach (var (revoked, by) in ((int, string)[])[(0, Wide), (1, Agent), (2, Tool)])
        {
            var first = await service.GetToken(Wide);
            var second = await service.Exchanged(first, Agent, "&scope=orders.read");
            var third = await service.Exchanged(second, Tool);
            string[] tokens = [first, second, third];
            foreach (var token in tokens)
            {
                (await service.IsActive(token, Gateway)).Should().BeTrue();
            }

            (await service.Revoke(tokens[revoked], by)).Status.Should().Be(200);

            for (var i = 0; i < tokens.Length; i++)
            {
                (await service.IsActive(tokens[i], Gateway)).Should().Be(i < revoked, $"{revoked} was revoked, and this is {i}");
                (await service.Exchange(tokens[i], Agent, "&scope=orders.read")).Status.Should().Be(i < revoked ? 200 : 400);
            }
        }
    }

    [Fact]
    public async Task The_subject_cannot_take_back_the_token_of_an_actor_alone()
    {
        await using var service = await Start();
        var token = await service.Exchanged(await service.GetToken(Wide), Agent, "&scope=orders.read");

        (await service.Revoke(token, Wide)).Status.Should().Be(200);
        (await service.IsActive(token, Gateway)).Should().BeTrue("it was given to the actor: RFC 7009 §2.1");

        (await service.Revoke(token, Agent)).Status.Should().Be(200);
        IntrospectionTests.IsInactive(await service.Introspect(token, Gateway));
    }

    [Theory]
    [InlineData(Sample.Wide)]
    [InlineData("agent")]
    [InlineData("tool")]
    public async Task With_its_subject_or_any_of_its_actors_it_is_disabled(string client)
    {
        await using var service = await Start();
        var token = await service.Exchanged(await service.Exchanged(await service.GetToken(Wide), Agent, "&scope=orders.read"), Tool);
        (await service.IsActive(token, Gateway)).Should().BeTrue();

        TokenEndpointRefusalTests.Disable(_folder, client);
        await service.Refresh();

        IntrospectionTests.IsInactive(await service.Introspect(token, Gateway));
    }

    [Theory]
    [InlineData(Sample.Wide)]
    [InlineData("agent")]
    [InlineData("tool")]
    public async Task With_its_subject_or_any_of_its_actors_it_is_removed_and_another_one_of_that_id_is_another(string id)
    {
        // Into the store, and then without the file, which would bring the removed one back.
        await (await Start()).DisposeAsync();
        await using var service = await RunningService.Start(_folder, _clock, null);
        var token = await service.Exchanged(await service.Exchanged(await service.GetToken(Wide), Agent, "&scope=orders.read"), Tool);
        using var store = TokenService.Storage.Store.Open(SettingsTests.Read(_folder.Path));
        var client = store.Registry.Read().FindClient(id)!;

        store.Registry.Change(_ => new() { RemovedClients = [id] });
        await service.Refresh();
        IntrospectionTests.IsInactive(await service.Introspect(token, Gateway));

        foreach (var (registered, alive) in ((TimeSpan, bool)[])[(TimeSpan.FromMinutes(1), false), (TimeSpan.FromMinutes(-1), true)])
        {
            store.Registry.Change(_ => new() { RemovedClients = [id] });
            store.Registry.Change(_ => new() { Clients = [client with { IssuedAt = _clock.GetUtcNow() + registered }] });
            await service.Refresh();
            (await service.IsActive(token, Gateway)).Should().Be(alive);
        }
    }

    [Fact]
    public async Task Each_exchange_gives_a_token_of_its_own_even_to_a_client_with_token_reuse()
    {
        await using var service = await Start();
        var subject = await service.GetToken(Reuser);
        (await service.GetToken(Reuser)).Should().Be(subject, "it is given again with the other grant");

        var tokens = new[] { await service.Exchanged(subject, Reuser), await service.Exchanged(subject, Reuser) };

        tokens.Distinct().Should().HaveCount(2);
    }

    [Fact]
    public async Task The_client_authenticates_as_it_is_registered()
    {
        await using var service = await Start();
        var subject = await service.GetToken(Wide);

        var answer = await service.Token(
            $"{Form(subject)}&scope=orders.read&client_id={Sample.FormJob}-exchange&client_secret={Sample.FormSecret}");

        answer.Status.Should().Be(200, answer.Body);
        TokenDraft.Of(answer.AccessToken).Claims["act"]!.ToJsonString().Should().Be($$"""{"sub":"{{Sample.FormJob}}-exchange"}""");
    }

    [NeedsFact("curl", "apt-get install curl")]
    public async Task Curl_exchanges_a_token()
    {
        await using var service = await Start();
        var subject = await service.GetToken(Wide);

        var finished = await RunningProgram.Run(
            "curl",
            [
                "-sS", "-u", Agent, "-d", "grant_type=urn:ietf:params:oauth:grant-type:token-exchange", "-d", $"subject_token={subject}",
                "-d", "subject_token_type=urn:ietf:params:oauth:token-type:access_token", "-d", $"resource={Sample.OrdersUri}",
                new Uri(service.Url, "/oauth2/token").ToString(),
            ]);

        JsonDocument.Parse(finished.Output).RootElement.GetProperty("scope").GetString().Should().Be("orders.read", finished.Output);
    }

    private Task<RunningService> Start() => RunningService.Start(_folder, _clock, TokenExchanges.File);

    private static string Text(JsonObject json, string member) => json[member]!.GetValue<string>();
}
