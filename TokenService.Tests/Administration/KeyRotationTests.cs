using System;
using System.Collections.Concurrent;
using System.Collections.Generic;
using System.Linq;
using System.Threading.Tasks;
using FluentAssertions;
using Microsoft.Extensions.Time.Testing;
using Microsoft.IdentityModel.JsonWebTokens;
using TokenService.Administration;
using TokenService.Keys;
using TokenService.Storage;
using TokenService.Tests.Operations;
using TokenService.Tests.Support;
using Xunit;

namespace TokenService.Tests.Administration;

/// <summary>Signing keys on a running service, its clock in the hands of the test.</summary>
public sealed class KeyRotationTests : IDisposable
{
    private const string Grant = "grant_type=client_credentials";
    private const string LongJob = "long-job";
    private const string LongSecret = "long-secret-0123456789abcdef0123456789";

    private static readonly string s_file = AssertionClients.Resources($$"""
        { "client_id": "{{LongJob}}", "client_secret": ["{{LongSecret}}", "{{LongSecret}}-new"], "scope": "catalog.read", "access_token_lifetime": 86400 },
        { "client_id": "{{AssertionClients.KeyJob}}", "token_endpoint_auth_method": "private_key_jwt", "scope": "catalog.read",
          "jwks": {{ClientKeyPair.Set(AssertionClients.P256.Jwk("2"))}} }
        """);

    private readonly TemporaryFolder _folder = new();
    private readonly FakeTimeProvider _clock = new(AssertionClients.Now);

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task Through_months_of_rotation_no_request_is_refused_and_no_token_meets_a_verifier_that_cannot_check_it()
    {
        await using var service = await Start("--TokenService:KeyRotation=4.00:00:00", "--TokenService:SigningAlgorithm=ES256");
        var verifier = new CachingVerifier(service, _clock);
        var live = new ConcurrentQueue<string>();
        var seen = new ConcurrentDictionary<string, bool>();
        var end = _clock.GetUtcNow().AddDays(40);
        var random = new Random(1);
        for (var round = 0; _clock.GetUtcNow() < end; round++)
        {
            // Up to 50 minutes, so that no moment of the schedule is always met in the same way; the keys change while requests come.
            _clock.Advance(TimeSpan.FromSeconds(random.Next(60, 3000)));
            await Task.WhenAll(
                Task.Run(service.KeyRotation.Step),
                Check(await service.Token(Grant, $"{LongJob}:{LongSecret}{(round % 2 == 0 ? "" : "-new")}")),
                Check(await service.Send(AssertionClients.Draft().With("iat", Seconds()).With("exp", Seconds() + 60).WithHeader("kid", "2").SignedBy(AssertionClients.P256, "ES256"))));

            // All that still lives can be checked, too.
            while (live.TryPeek(out var oldest) && Expires(oldest) <= _clock.GetUtcNow())
            {
                live.TryDequeue(out _);
            }

            foreach (var token in live.Where((token, place) => place % 16 == round % 16 && Expires(token) > _clock.GetUtcNow()).Append(live.First()))
            {
                (await verifier.Checks(token)).Should().BeTrue(new JsonWebToken(token).Kid);
            }
        }

        seen.Should().HaveCountGreaterThanOrEqualTo(9);
        verifier.Fetches.Should().BeGreaterThan(100);
        service.Store.Current.Keys.Keys.Length.Should().BeInRange(1, 3);

        async Task Check(Answer answer)
        {
            answer.Status.Should().Be(200, answer.Body);
            (await verifier.Checks(answer.AccessToken)).Should().BeTrue(new JsonWebToken(answer.AccessToken).Kid);
            seen.TryAdd(new JsonWebToken(answer.AccessToken).Kid, true);
            live.Enqueue(answer.AccessToken);
        }
    }

    [Fact]
    public async Task Four_hundred_days_later_the_key_rotates_once_and_the_old_one_stays_until_its_tokens_have_expired()
    {
        await using var service = await Start();
        var old = (await Token(service)).Kid;

        _clock.Advance(TimeSpan.FromDays(400));
        await Steps(service);
        Kids(service).Should().HaveCount(2).And.Contain(old);
        (await Token(service)).Kid.Should().Be(old, "the new key is published first");

        _clock.Advance(TimeSpan.FromDays(1));
        await Steps(service);
        (await Token(service)).Kid.Should().NotBe(old);
        Kids(service).Should().HaveCount(2).And.Contain(old);

        _clock.Advance(TimeSpan.FromHours(24));
        await Steps(service);
        Kids(service).Should().HaveCount(2).And.Contain(old);

        _clock.Advance(KeySchedule.Margin);
        await Steps(service);
        Kids(service).Should().ContainSingle().Which.Should().NotBe(old);
    }

    [Fact]
    public async Task A_clock_set_back_by_four_hundred_days_makes_no_key_and_tokens_go_out()
    {
        await using var service = await Start();
        var kid = (await Token(service)).Kid;

        foreach (var jump in (double[])[-400, -400, 799, 1 / 24.0, -1 / 24.0])
        {
            _clock.AdjustTime(_clock.GetUtcNow().AddDays(jump));
            await Steps(service);
            (await Token(service)).Kid.Should().Be(kid);
            Kids(service).Should().HaveCount(1);
        }
    }

    [Fact]
    public async Task Several_services_on_one_store_make_one_new_key_and_all_sign_with_it()
    {
        var services = new List<RunningService>();
        for (var i = 0; i < 4; i++)
        {
            services.Add(await Start());
        }

        try
        {
            _clock.Advance(TimeSpan.FromDays(89));
            await Task.WhenAll(services.Select(service => Task.Run(service.KeyRotation.Step)));
            Count().Should().Be(2);

            _clock.Advance(TimeSpan.FromDays(1));
            var kids = new HashSet<string>();
            foreach (var service in services)
            {
                service.Store.Refresh();
                kids.Add((await Token(service)).Kid);
            }

            kids.Should().ContainSingle();
        }
        finally
        {
            foreach (var service in services)
            {
                await service.DisposeAsync();
            }
        }
    }

    [Fact]
    public async Task The_next_key_has_the_changed_algorithm_and_both_verify_meanwhile()
    {
        JsonWebToken before;
        await using (var first = await Start("--TokenService:SigningAlgorithm=RS256"))
        {
            before = await Token(first);
        }

        await using var service = await Start("--TokenService:SigningAlgorithm=ES256");
        await Steps(service);
        Kids(service).Should().HaveCount(1, "the next key has it, and that one comes when it is due");

        _clock.Advance(TimeSpan.FromDays(89));
        await Steps(service);
        var meanwhile = await Token(service);
        (meanwhile.Alg, service.Store.Current.Keys.Keys[1].Algorithm).Should().Be(("RS256", "ES256"));

        _clock.Advance(TimeSpan.FromDays(1));
        var after = await Token(service);
        after.Alg.Should().Be("ES256");
        var verifier = new CachingVerifier(service, _clock);
        (await verifier.Checks(before.EncodedToken)).Should().BeTrue();
        (await verifier.Checks(meanwhile.EncodedToken)).Should().BeTrue();
        (await verifier.Checks(after.EncodedToken)).Should().BeTrue();
    }

    [Fact]
    [Trait("Storage", "Sqlite")]
    public async Task While_the_store_takes_nothing_tokens_go_out_and_the_step_is_taken_later()
    {
        await using var service = await Start();
        _clock.Advance(TimeSpan.FromDays(89));
        Sql("CREATE TRIGGER full BEFORE INSERT ON signing_keys BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END");

        service.KeyRotation.Step().Should().BeFalse();
        Kids(service).Should().HaveCount(1);
        _ = await Token(service);

        Sql("DROP TRIGGER full");
        service.KeyRotation.Step().Should().BeTrue();
        Kids(service).Should().HaveCount(2);
    }

    [Fact]
    public async Task A_row_of_the_build_before_signs_from_its_making()
    {
        await using (await Start())
        {
        }

        Sql("UPDATE signing_keys SET signs_from = NULL");
        await using var service = await Start();
        _ = await Token(service);
        service.Store.Current.Keys.Schedule.Keys.Should().ContainSingle().Which.SignsFrom.Should().Be(AssertionClients.Now);
    }

    [Fact]
    public async Task Nothing_due_is_nothing_asked_of_the_store()
    {
        await using var service = await Start();
        Sql("ALTER TABLE signing_keys RENAME TO hidden");

        service.KeyRotation.Step().Should().BeTrue();
    }

    [Fact]
    public async Task The_JWKS_may_be_kept_for_half_of_what_a_key_is_published_ahead()
    {
        await using var service = await Start("--TokenService:KeyPublishAhead=00:10:01");

        var jwks = await service.Send(new(System.Net.Http.HttpMethod.Get, "/.well-known/jwks.json"));
        jwks.Response.Headers.CacheControl!.ToString().Should().Be("public, max-age=300");
    }

    [Fact]
    public void Commands_that_decide_at_once_all_do_what_they_say()
    {
        using var store = Store.Open(SettingsTests.Read(_folder.Path));
        var settings = SettingsTests.Read(_folder.Path, ("TokenService:SigningAlgorithm", "ES256"));
        KeyRotation.Step(store.Keys, settings, _clock);

        Parallel.For(0, 8, _ => KeyRotation.Rotate(store.Keys, settings, _clock, atOnce: false));
        store.Keys.Read().Keys.Should().HaveCount(9);

        var first = store.Keys.Read().Keys[0].Kid;
        var retired = 0;
        Parallel.For(0, 8, _ =>
        {
            try
            {
                KeyRotation.Retire(store.Keys, settings, _clock, first);
                System.Threading.Interlocked.Increment(ref retired);
            }
            catch (TokenService.Protocol.OperatorFaultException)
            {
                // Another was first.
            }
        });
        retired.Should().Be(1);
        store.Keys.Read().Keys.Should().HaveCount(8);
    }

    private Task<RunningService> Start(params string[] settings)
        => AssertionClients.Start(_folder, _clock, s_file, ["--TokenService:SigningAlgorithm=ES256", .. settings]);

    private static async Task<JsonWebToken> Token(RunningService service)
    {
        var answer = await service.Token(Grant, $"{LongJob}:{LongSecret}");
        answer.Status.Should().Be(200, answer.Body);
        return new JsonWebToken(answer.AccessToken);
    }

    // As often as the background would, and then some.
    private static async Task Steps(RunningService service)
    {
        for (var i = 0; i < 3; i++)
        {
            await Task.Run(service.KeyRotation.Step);
        }
    }

    private static List<string> Kids(RunningService service)
    {
        service.Store.Refresh();
        return [.. service.Store.Current.Keys.Keys.Select(key => key.Kid)];
    }

    private static DateTimeOffset Expires(string token) => new JsonWebToken(token).ValidTo;

    private long Seconds() => _clock.GetUtcNow().ToUnixTimeSeconds();

    private void Sql(string statement) => StoreFile.Execute(_folder, statement);

    private long Count() => StoreFile.Number(_folder, "SELECT COUNT(*) FROM signing_keys");
}
