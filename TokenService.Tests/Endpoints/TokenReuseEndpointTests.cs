using System;
using System.Collections.Generic;
using System.Linq;
using System.Text;
using System.Threading.Tasks;
using FluentAssertions;
using Microsoft.Extensions.Time.Testing;
using Microsoft.IdentityModel.JsonWebTokens;
using TokenService.Administration;
using TokenService.Protocol;
using TokenService.Storage;
using TokenService.Tests.Operations;
using TokenService.Tests.Support;
using Xunit;

namespace TokenService.Tests.Endpoints;

/// <summary>Clients with <c>token_reuse</c>, on a running service whose clock is in the hands of the test.</summary>
public sealed class TokenReuseEndpointTests : IDisposable
{
    private const string Grant = "grant_type=client_credentials";
    private const string Chatty = $"chatty:{Secret}";
    private const string Twin = $"twin:{Secret}";
    private const string Plain = $"plain:{Secret}";
    private const string Asker = $"asker:{Secret}";
    private const string Secret = "chatty-secret-0123456789abcdef0123456789";
    private const int Lifetime = 600;
    private const int Window = 60;

    private static readonly string s_file = $$"""
        { "resources": [
            { "resource": "{{Sample.CatalogUri}}", "scopes": [ { "name": "catalog.read" } ] },
            { "resource": "{{Sample.OrdersUri}}", "scopes": [ { "name": "orders.read" }, { "name": "orders.write" } ] } ],
          "clients": [
            { "client_id": "chatty", "client_secret": "{{Secret}}", "scope": "catalog.read orders.read orders.write", "access_token_lifetime": 600, "token_reuse": 60 },
            { "client_id": "twin", "client_secret": "{{Secret}}", "scope": "catalog.read orders.read orders.write", "access_token_lifetime": 600, "token_reuse": 60 },
            { "client_id": "plain", "client_secret": "{{Secret}}", "scope": "catalog.read orders.read orders.write", "access_token_lifetime": 600 },
            { "client_id": "default", "client_secret": "{{Secret}}", "scope": "catalog.read", "token_reuse": 360 },
            { "client_id": "{{AssertionClients.KeyJob}}", "token_endpoint_auth_method": "private_key_jwt", "scope": "catalog.read", "token_reuse": 60,
              "jwks": {{ClientKeyPair.Set(AssertionClients.P256.Jwk("2"))}} },
            { "client_id": "asker", "grant_types": [], "client_secret": "{{Secret}}", "introspection": true } ] }
        """;

    private readonly TemporaryFolder _folder = new();
    private readonly FakeTimeProvider _clock = new(AssertionClients.Now);

    public void Dispose() => _folder.Dispose();

    [Fact]
    [Trait("Host", "InProcess")]
    public async Task The_same_request_gets_the_same_token_with_what_is_left_of_its_life_and_after_the_time_another()
    {
        await using var service = await Start();
        var first = await Get(service);
        (first.ExpiresIn, first.Scope).Should().Be((Lifetime, "catalog.read orders.read orders.write"));

        _clock.Advance(TimeSpan.FromSeconds(Window - 1));
        (await Get(service)).Should().Be(first with { ExpiresIn = Lifetime - Window + 1 });
        (await service.IsActive(first.Token, Asker)).Should().BeTrue();

        // It is not used that makes it last longer.
        _clock.Advance(TimeSpan.FromSeconds(1));
        var second = await Get(service);
        second.Token.Should().NotBe(first.Token);
        second.ExpiresIn.Should().Be(Lifetime);
        (await service.IsActive(first.Token, Asker)).Should().BeTrue("it lives as long as it said");
        (await Get(service)).Should().Be(second);
    }

    [Fact]
    public async Task What_differs_in_anything_is_another_token()
    {
        await using var service = await Start();
        string[] different =
        [
            "", "&scope=orders.read", "&scope=orders.write+orders.read", "&scope=orders.read+orders.write", "&scope=catalog.read+orders.read",
            $"&resource={Sample.CatalogUri}", "&scope=catalog.read+orders.read+orders.write&resource=" + Sample.OrdersUri + "&scope_hint=x",
        ];
        var tokens = new List<Given>();
        foreach (var extra in different)
        {
            tokens.Add(await Get(service, Chatty, extra));
            tokens.Add(await Get(service, Twin, extra));
        }

        // The last names in another way what "orders.read orders.write" is.
        tokens.Select(token => token.Token).Distinct().Should().HaveCount(2 * (different.Length - 1));
        tokens.Where((_, i) => i % 2 == 0).Should().OnlyContain(token => token.ClientId == "chatty");
        tokens.Where((_, i) => i % 2 == 1).Should().OnlyContain(token => token.ClientId == "twin");

        // What grants the same is the same: all scopes by their names, or a scope named twice.
        (await Get(service, Chatty, "&scope=catalog.read+orders.read+orders.write")).Should().Be(tokens[0]);
        (await Get(service, Chatty, "&scope=orders.read+orders.read")).Should().Be(tokens[2]);
        foreach (var (i, extra) in different.Index())
        {
            (await Get(service, Chatty, extra)).Should().Be(tokens[2 * i]);
        }
    }

    [Fact]
    public async Task Without_it_each_request_gets_a_token_of_its_own()
    {
        await using var service = await Start();

        var tokens = await Task.WhenAll(Enumerable.Range(0, 20).Select(_ => Get(service, Plain)));

        tokens.Select(token => new JsonWebToken(token.Token).Id).Should().OnlyHaveUniqueItems();
    }

    [Fact]
    public async Task A_hundred_at_once_share_one_signature()
    {
        await using var service = await Start();

        var tokens = await Task.WhenAll(Enumerable.Range(0, 100).Select(i => Get(service, i % 2 == 0 ? Chatty : Twin)));

        tokens.Distinct().Should().HaveCount(2);
        tokens.Select(token => new JsonWebToken(token.Token).Id).Distinct().Should().HaveCount(2);
        tokens.Where((_, i) => i % 2 == 0).Should().OnlyContain(token => token.ClientId == "chatty");
    }

    [Fact]
    public async Task Who_does_not_authenticate_or_asks_for_too_much_is_refused_as_ever()
    {
        await using var service = await Start();
        var first = await Get(service);

        (await service.Token(Grant, "chatty:wrong")).Status.Should().Be(401);
        (await service.Token(Grant, $"nobody:{Secret}")).Status.Should().Be(401);
        (await service.Token($"{Grant}&client_id=chatty&client_secret={Secret}")).Status.Should().Be(401, "it is registered for another method");
        (await service.Token($"{Grant}&scope=catalog.write", Chatty)).Error.Should().Be("invalid_scope");
        (await service.Token($"{Grant}&resource=urn:other", Chatty)).Error.Should().Be("invalid_target");
        (await service.Token("grant_type=password", Chatty)).Error.Should().Be("unsupported_grant_type");
        (await Get(service)).Should().Be(first);
    }

    [Fact]
    public async Task An_assertion_is_used_up_by_a_token_that_was_given_before()
    {
        await using var service = await Start();
        var assertions = Enumerable.Range(0, 10).Select(_ => AssertionClients.Draft().WithHeader("kid", "2").SignedBy(AssertionClients.P256, "ES256")).ToList();

        var answers = await Task.WhenAll(assertions.Select(assertion => service.Send(assertion)));
        answers.Should().OnlyContain(answer => answer.Status == 200);
        answers.Select(answer => answer.AccessToken).Distinct().Should().ContainSingle();

        foreach (var assertion in assertions)
        {
            ClientAssertionRefusalTests.Refused(await service.Send(assertion));
        }
    }

    [Fact]
    public async Task A_token_that_was_revoked_is_given_to_nobody_again_and_the_others_are()
    {
        await using var service = await Start();
        var (first, other) = (await Get(service), await Get(service, Chatty, "&scope=orders.read"));

        RevocationTests.IsEmpty(await service.Revoke(first.Token, Twin));
        (await Get(service)).Should().Be(first, "it is not the twin's to revoke");
        RevocationTests.IsEmpty(await service.Revoke(first.Token, Chatty));

        var second = await Get(service);
        second.Token.Should().NotBe(first.Token);
        (await service.IsActive(second.Token, Asker)).Should().BeTrue();
        (await Get(service)).Should().Be(second);
        (await Get(service, Chatty, "&scope=orders.read")).Should().Be(other);
    }

    [Fact]
    public async Task What_is_revoked_while_many_ask_is_never_given_after_that()
    {
        await using var service = await Start();
        for (var round = 0; round < 10; round++)
        {
            var token = (await Get(service)).Token;
            var asking = Enumerable.Range(0, 20).Select(_ => Get(service)).ToList();
            await service.Revoke(token, Chatty);
            (await Task.WhenAll(Enumerable.Range(0, 10).Select(_ => Get(service)))).Should().NotContain(given => given.Token == token);
            await Task.WhenAll(asking);
        }
    }

    [Fact]
    public async Task A_revocation_at_another_replica_counts_as_soon_as_it_is_known()
    {
        await using var service = await Start();
        await using var another = await Start();
        var (here, there) = (await Get(service), await Get(another));
        here.Token.Should().NotBe(there.Token, "replicas share nothing but the store");

        RevocationTests.IsEmpty(await service.Revoke(there.Token, Chatty));
        await another.Refresh();

        (await Get(another)).Token.Should().NotBe(there.Token);
        (await Get(service)).Should().Be(here);
    }

    [Fact]
    public async Task While_the_store_does_not_answer_nobody_knows_what_was_revoked_and_each_request_is_signed()
    {
        await using var service = await Start();
        var first = await Get(service);
        StoreFile.Execute(_folder, "ALTER TABLE revoked_tokens RENAME TO hidden");
        await service.Refresh();

        var (second, third) = (await Get(service), await Get(service));
        new[] { first, second, third }.Select(given => given.Token).Should().OnlyHaveUniqueItems();

        StoreFile.Execute(_folder, "ALTER TABLE hidden RENAME TO revoked_tokens");
        await service.Refresh();
        (await Get(service)).Should().Be(third);
    }

    [Theory]
    [InlineData("disabled and enabled")]
    [InlineData("disabled and enabled while nobody looked")]
    [InlineData("its scopes")]
    [InlineData("its name")]
    [InlineData("its lifetime")]
    [InlineData("its secret")]
    [InlineData("removed and added")]
    [InlineData("the resource of a scope")]
    [InlineData("keys rotate --now")]
    [InlineData("keys retire")]
    public async Task After_a_change_another_token_is_given(string change)
    {
        await using var service = await Start();
        var first = await Get(service, Chatty, "&scope=orders.read");
        var kid = new JsonWebToken(first.Token).Kid;
        var basic = Chatty;

        // A key made in the same moment as the one before does not come after it.
        _clock.Advance(TimeSpan.FromSeconds(1));
        using (var store = Store.Open(SettingsTests.Read(_folder.Path)))
        {
            var registration = new Registration(store.Registry, _clock);
            var settings = SettingsTests.Read(_folder.Path, ("TokenService:SigningAlgorithm", "ES256"));
            switch (change)
            {
                case "disabled and enabled":
                    registration.Switch("chatty", disabled: true);
                    await service.Refresh();
                    (await service.Token($"{Grant}&scope=orders.read", Chatty)).Status.Should().Be(401);
                    registration.Switch("chatty", disabled: false);
                    break;
                case "disabled and enabled while nobody looked":
                    registration.Switch("chatty", disabled: true);
                    registration.Switch("chatty", disabled: false);
                    break;
                case "its scopes":
                    Apply(store, s_file.Replace("\"scope\": \"catalog.read orders.read orders.write\"", "\"scope\": \"orders.read\"", StringComparison.Ordinal));
                    break;
                case "its name":
                    Apply(store, s_file.Replace("\"client_id\": \"chatty\",", "\"client_id\": \"chatty\", \"client_name\": \"n\",", StringComparison.Ordinal));
                    break;
                case "its lifetime":
                    Apply(store, s_file.Replace("\"access_token_lifetime\": 600", "\"access_token_lifetime\": 601", StringComparison.Ordinal));
                    break;
                case "its secret":
                    basic = $"chatty:{registration.RotateSecret("chatty", TimeSpan.FromHours(1)).Secret.Reveal()}";
                    break;
                case "removed and added":
                    Apply(store, s_file.Replace("\"chatty\"", "\"quiet\"", StringComparison.Ordinal));
                    Apply(store, s_file);
                    break;
                case "the resource of a scope":
                    Apply(store, s_file.Replace(Sample.OrdersUri, "https://new.example.com", StringComparison.Ordinal));
                    break;
                case "keys rotate --now":
                    KeyRotation.Rotate(store.Keys, settings, _clock, atOnce: true);
                    break;
                default:
                    KeyRotation.Retire(store.Keys, settings, _clock, kid);
                    break;
            }
        }

        await service.Refresh();
        var second = await Get(service, basic, "&scope=orders.read");

        second.Token.Should().NotBe(first.Token);
        (await Get(service, Chatty, "&scope=orders.read")).Should().Be(second);
        (new JsonWebToken(second.Token).Kid != kid).Should().Be(change.StartsWith("keys", StringComparison.Ordinal));
        (await service.IsActive(first.Token, Asker)).Should().Be(change != "keys retire", "tokens that are out live on");
    }

    [Fact]
    [Trait("Host", "InProcess")]
    public async Task A_key_that_time_brings_in_ends_what_the_one_before_signed()
    {
        await using var service = await Start();
        _clock.Advance(TimeSpan.FromDays(89));
        service.KeyRotation.Step();
        await service.Refresh();
        _clock.Advance(TimeSpan.FromDays(1) - TimeSpan.FromSeconds(10));
        var first = await Get(service);
        (await Get(service)).Should().Be(first);

        _clock.Advance(TimeSpan.FromSeconds(10));
        var second = await Get(service);

        new JsonWebToken(second.Token).Kid.Should().NotBe(new JsonWebToken(first.Token).Kid);
    }

    [Theory]
    [InlineData(-1, false)]
    [InlineData(-3600, false)]
    [InlineData(30, true)]
    [InlineData(60, false)]
    [InlineData(3600, false)]
    [InlineData(86_400 * 30, false)]
    [Trait("Host", "InProcess")]
    public async Task A_clock_that_is_set_gives_no_token_of_the_future_and_none_that_is_old(int seconds, bool same)
    {
        await using var service = await Start();
        var first = await Get(service);

        _clock.AdjustTime(AssertionClients.Now.AddSeconds(seconds));

        var second = await Get(service);
        (second.Token == first.Token).Should().Be(same);
        second.ExpiresIn.Should().Be(same ? Lifetime - seconds : Lifetime);
        second.IssuedAt.Should().BeOnOrBefore(_clock.GetUtcNow());

        // Time itself goes on, whatever the clock on the wall says: set back each time, it keeps no token young.
        _clock.Advance(TimeSpan.FromSeconds(Window));
        _clock.AdjustTime(AssertionClients.Now.AddSeconds(seconds));
        (await Get(service)).Token.Should().NotBe(second.Token);
    }

    [Fact]
    [Trait("Host", "InProcess")]
    public async Task Where_the_default_lifetime_became_shorter_a_tenth_of_it_counts()
    {
        await using var service = await Start("--TokenService:AccessTokenLifetime=00:05:00");
        var first = await Get(service, $"default:{Secret}");
        first.ExpiresIn.Should().Be(300);

        _clock.Advance(TimeSpan.FromSeconds(29));
        (await Get(service, $"default:{Secret}")).Should().Be(first with { ExpiresIn = 271 });
        _clock.Advance(TimeSpan.FromSeconds(1));
        (await Get(service, $"default:{Secret}")).Token.Should().NotBe(first.Token);
    }

    [Fact]
    [Trait("Host", "InProcess")]
    public async Task A_service_whose_file_asks_for_more_than_a_tenth_of_its_default_does_not_start()
    {
        var start = () => RunningService.Start(_folder, _clock, s_file, "--TokenService:AccessTokenLifetime=00:05:00");

        (await start.Should().ThrowAsync<OperatorFaultException>()).Which.Message.Should().Contain("clients[3].token_reuse must be from 1 to 30 seconds");
    }

    [Fact]
    [Trait("Host", "OwnProgram")]
    public async Task The_log_says_of_each_token_whether_it_was_given_before()
    {
        var (port, cli) = (RunningProgram.FreePort(), new Cli(_folder));
        (await cli.Run("apply", _folder.Write("clients.json", s_file))).ExitCode.Should().Be(0);
        await using var program = await cli.Serve(port, "--Logging:LogLevel:TokenService=Debug");

        (await Commands.CommandTests.TokenOf(port, "chatty", Secret)).Status.Should().Be(200);
        await program.Prints("Token for client chatty: scope catalog.read orders.read orders.write, reused False (trace_id ");
        var again = await Commands.CommandTests.TokenOf(port, "chatty", Secret);
        await program.Prints("Token for client chatty: scope catalog.read orders.read orders.write, reused True (trace_id ");
        program.Printed.Should().NotContain(again.AccessToken);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [Trait("Host", "InProcess")]
    public async Task Whatever_happens_in_whatever_order_no_token_is_given_that_may_not_be(int seed)
    {
        var random = new Random(seed);
        await using var service = await Start();
        using var store = Store.Open(SettingsTests.Read(_folder.Path));
        var registration = new Registration(store.Registry, _clock);
        var settings = SettingsTests.Read(_folder.Path, ("TokenService:SigningAlgorithm", "ES256"));
        string[] clients = [Chatty, Twin, Plain];
        string[] requests = ["", "&scope=orders.read", "&scope=orders.write+orders.read", $"&resource={Sample.CatalogUri}"];
        string[] scopes = ["catalog.read orders.read orders.write", "orders.read", "orders.write orders.read", "catalog.read"];

        // Of each token: what it was given for, when in monotonic time, and after how many changes.
        var seen = new Dictionary<string, (string Client, int Request, long At, int Changes)>(StringComparer.Ordinal);
        var revoked = new HashSet<string>(StringComparer.Ordinal);
        var (changes, reused) = (0, 0);
        for (var step = 0; step < 400; step++)
        {
            switch (random.Next(40))
            {
                case < 30:
                    var (client, request) = (clients[random.Next(clients.Length)], random.Next(requests.Length));
                    var given = await Get(service, client, requests[request]);
                    (given.ClientId, given.Scope).Should().Be((client.Split(':')[0], scopes[request]));
                    given.ExpiresIn.Should().Be((long)(given.IssuedAt.AddSeconds(Lifetime) - _clock.GetUtcNow()).TotalSeconds).And.BeInRange(Lifetime - Window + 1, Lifetime);
                    revoked.Should().NotContain(given.Token);
                    new JsonWebToken(given.Token).Kid.Should().Be(service.Store.Current.Keys.SigningAt(_clock.GetUtcNow()).Kid);
                    if (seen.TryGetValue(given.Token, out var before))
                    {
                        reused++;
                        client.Should().NotBe(Plain);
                        (before.Client, before.Request, before.Changes).Should().Be((client, request, changes));
                        _clock.GetElapsedTime(before.At).Should().BeLessThan(TimeSpan.FromSeconds(Window));
                    }
                    else
                    {
                        given.IssuedAt.Should().Be(_clock.GetUtcNow());
                        seen.Add(given.Token, (client, request, _clock.GetTimestamp(), changes));
                    }

                    break;
                case < 33:
                    _clock.Advance(TimeSpan.FromSeconds(random.Next(1, 40)));
                    break;
                case 33:
                    _clock.AdjustTime(_clock.GetUtcNow().AddSeconds(random.Next(-20, 30)));
                    break;
                case < 38 when seen.Count > 0:
                    var token = seen.Keys.ElementAt(seen.Count - 1 - random.Next(Math.Min(6, seen.Count)));
                    RevocationTests.IsEmpty(await service.Revoke(token, seen[token].Client));
                    (await service.IsActive(token, Asker)).Should().BeFalse();

                    // What is not issued yet, by the clock as it is now, is no token to revoke.
                    if (new JsonWebToken(token).IssuedAt <= _clock.GetUtcNow())
                    {
                        revoked.Add(token);
                    }

                    break;
                case 38:
                    registration.Switch("chatty", disabled: true);
                    registration.Switch("chatty", disabled: false);
                    Changed();
                    break;
                default:
                    KeyRotation.Rotate(store.Keys, settings, _clock, atOnce: true);
                    Changed();
                    break;
            }
        }

        reused.Should().BeGreaterThan(20);
        seen.Count.Should().BeGreaterThan(50);
        revoked.Should().NotBeEmpty();
        changes.Should().BeGreaterThan(5);

        void Changed()
        {
            service.Store.Refresh();
            changes++;
        }
    }

    private async Task<RunningService> Start(params string[] settings)
    {
        // Not the service's own file: that would be applied again.
        using (var store = Store.Open(SettingsTests.Read(_folder.Path)))
        {
            Apply(store, s_file);
        }

        return await RunningService.Start(
            _folder,
            _clock,
            null,
            [$"--TokenService:Issuer={AssertionClients.Issuer}", "--TokenService:SigningAlgorithm=ES256", "--TokenService:RateLimit:FailuresPerMinute=0", .. settings]);
    }

    private void Apply(Store store, string file)
        => ApplyFile.Once(DeclarativeFile.Parse(Encoding.UTF8.GetBytes(file), "clients.json", development: true), store.Registry, _clock.GetUtcNow());

    private static async Task<Given> Get(RunningService service, string basic = Chatty, string extra = "")
    {
        var answer = await service.Token(Grant + extra, basic);
        answer.Status.Should().Be(200, answer.Body);
        var token = new JsonWebToken(answer.AccessToken);
        token.GetClaim("scope").Value.Should().Be(answer.Json.GetProperty("scope").GetString());
        return new(
            answer.AccessToken, token.Subject, answer.Json.GetProperty("scope").GetString()!, answer.Json.GetProperty("expires_in").GetInt64(), token.IssuedAt);
    }

    private sealed record Given(string Token, string ClientId, string Scope, long ExpiresIn, DateTimeOffset IssuedAt);
}
