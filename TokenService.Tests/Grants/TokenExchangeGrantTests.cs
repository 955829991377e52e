using System;
using System.Collections.Generic;
using System.Collections.Immutable;
using System.Linq;
using System.Text;
using System.Text.Json.Nodes;
using System.Threading;
using CsCheck;
using FluentAssertions;
using TokenService.Clients;
using TokenService.Grants;
using TokenService.Keys;
using TokenService.Protocol;
using TokenService.Tests.Support;
using TokenService.Tokens;
using Xunit;

namespace TokenService.Tests.Grants;

/// <summary>Whatever is asked, by whomever, of whichever token, however often: what comes of it can do no more than what it was made of.</summary>
public sealed class TokenExchangeGrantTests
{
    private const string Issuer = "https://tokens.example.com";

    private static readonly DateTimeOffset s_now = DateTimeOffset.FromUnixTimeSeconds(1_800_000_000);
    private static readonly SigningKey s_key = SigningKey.Generate("ES256");
    private static readonly SigningKeyRing s_keys = new(
        new([new(s_key.Kid, s_key.Algorithm, s_now.AddDays(-1), s_now.AddDays(-1))]), new Dictionary<string, SigningKey> { [s_key.Kid] = s_key });

    private static readonly string[] s_names = ["a1", "a2", "a3", "b1", "b2", "c1"];
    private static readonly string[] s_clients = ["k0", "k1", "k2", "k3"];
    private static readonly TimeSpan s_default = TimeSpan.FromHours(1);

    private static readonly TokenExchangeGrant s_grant = new(s_default, new(static (_, _) => false, static () => true), static () => Issuer);

    // A scope and a resource as somebody asks who knows the names, and now and then as somebody who does not.
    private static readonly Gen<string?> s_scope = Gen.Frequency(
        (4, Gen.Const((string?)null)),
        (4, Among(s_names).Array[1, 3].Select(names => (string?)string.Join(' ', names))),
        (1, Gen.OneOf(Among("x", " ", "a1  a1", "A1", "a1 x", "urn:a"), Gen.String[0, 5]).Select(text => (string?)text)));

    private static readonly Gen<string[]> s_resources = Gen.Frequency(
        (4, Gen.Const(Array.Empty<string>())),
        (4, Among("urn:a", "urn:b", "urn:c").Select(uri => new[] { uri })),
        (1, Gen.OneOf(Among("urn:a", "urn:b", "", "urn:A", "urn:a#", "urn:x"), Gen.String[0, 5]).Array[1, 3]));

    private static readonly Gen<Client> s_client =
        from scopes in Gen.Shuffle(s_names, 1, s_names.Length)
        from lifetime in Gen.OneOf(Gen.Const(0), Gen.Int[60, 86_400])
        select new Client
        {
            ClientId = "",
            AuthenticationMethod = "client_secret_basic",
            GrantTypes = [GrantTypes.TokenExchange],
            Scopes = [.. scopes],
            AccessTokenLifetime = lifetime == 0 ? null : TimeSpan.FromSeconds(lifetime),

            // Never has an effect here.
            TokenReuse = TimeSpan.FromSeconds(1),
            Origin = Origin.Command,
        };

    private static readonly Gen<Step> s_step =
        from client in Gen.Int[0, s_clients.Length - 1]
        from scope in s_scope
        from resources in s_resources
        from wait in Gen.OneOf(Gen.Const(0), Gen.Int[0, 2_000_000])
        select new Step(client, scope, [.. resources], TimeSpan.FromMilliseconds(wait));

    // Which scope is where: by the second layout, one has moved and one is gone.
    private static readonly Resource[][] s_layouts =
    [
        [Resource("urn:a", "a1", "a2", "a3"), Resource("urn:b", "b1", "b2"), Resource("urn:c", "c1")],
        [Resource("urn:a", "a1", "a3"), Resource("urn:b", "b1", "a2"), Resource("urn:c", "c1")],
    ];

    [Fact]
    public void No_exchange_ever_widens_scope_audience_life_or_chain()
    {
        var (exchanged, refused, deepest, moved) = (0, 0, 0, 0);
        var known = new HashSet<string> { "invalid_request", "invalid_scope", "invalid_target" };
        var tokens =
            from owner in Gen.Int[0, s_clients.Length - 1]
            from scopes in Gen.Shuffle(s_names, 1, s_names.Length)
            from lifetime in Gen.Int[60, 86_400]
            select (Owner: s_clients[owner], Scopes: scopes, Lifetime: lifetime);

        Gen.Select(tokens, s_client.Array[4], s_step.Array[1, 9], Gen.Int[0, 1]).Sample(
            (first, clients, steps, layout) =>
            {
                var registry = new Registry(clients.Select((client, i) => client with { ClientId = s_clients[i] }), s_layouts[layout]);
                var issuedBy = new Registry([], s_layouts[0]);
                var now = s_now;
                var subject = Sign(
                    new()
                    {
                        ClientId = first.Owner,
                        Scopes = [.. first.Scopes],
                        Audience = [.. first.Scopes.Select(name => issuedBy.ResourceOf(name)!).Distinct()],
                        Lifetime = TimeSpan.FromSeconds(first.Lifetime),
                    },
                    now);
                var origin = Claims.Of(subject);
                var depth = 0;
                foreach (var step in steps)
                {
                    now += step.Wait;
                    var caller = registry.FindClient(s_clients[step.Client])!;
                    var request = new TokenRequest
                    {
                        GrantType = GrantTypes.TokenExchange,
                        Scope = step.Scope,
                        Resources = step.Resources,
                        Exchange = new() { SubjectToken = new(subject), SubjectTokenType = TokenTypes.AccessToken },
                    };
                    if (s_grant.Decide(request, new(caller, "secret"), registry, s_keys, now).Refused(out var error, out var granted))
                    {
                        Interlocked.Increment(ref refused);
                        if (!known.Contains(error.Code))
                        {
                            return false;
                        }

                        continue;
                    }

                    if (granted.Reuse is not null)
                    {
                        return false;
                    }

                    // What is in the signed token counts, not what was meant to be.
                    var next = Sign(granted, now);
                    if (!IsNarrower(Claims.Of(next), Claims.Of(subject), origin, caller, step, now))
                    {
                        return false;
                    }

                    Interlocked.Increment(ref exchanged);
                    if (layout == 1)
                    {
                        Interlocked.Increment(ref moved);
                    }

                    subject = next;
                    depth++;
                }

                InterlockedMax(ref deepest, depth);
                return depth <= 4;
            },
            iter: 20_000);

        // A property that only ever sees refusals shows nothing.
        exchanged.Should().BeGreaterThan(5_000);
        refused.Should().BeGreaterThan(5_000);
        moved.Should().BeGreaterThan(1_000);
        deepest.Should().Be(4);
    }

    [Theory]
    [InlineData("k0", 0)]
    [InlineData("k0 k0", 0)]
    [InlineData("k1", 1)]
    [InlineData("k1 k1", 1)]
    [InlineData("k1 k2", 2)]
    [InlineData("k1 k2 k1 k0", 4)]
    public void Each_hand_that_a_token_goes_into_is_an_actor_and_a_client_that_narrows_its_own_is_none(string callers, int actors)
    {
        var subject = Sign(Granted(), s_now);
        foreach (var caller in callers.Split(' '))
        {
            Exchange(caller, subject).Refused(out var error, out var granted).Should().BeFalse(error?.Reason);
            subject = Sign(granted!, s_now);
        }

        var claims = Claims.Of(subject);
        claims.Actors.Should().HaveCount(actors);
        (claims.Subject, claims.ClientId).Should().Be(("k0", callers.Split(' ')[^1]));
    }

    [Fact]
    public void A_token_that_was_exchanged_four_times_is_not_exchanged_again()
    {
        // Its own client counts as any other: the way is bounded, whoever goes it.
        foreach (var callers in (string[][])[["k1", "k2", "k3", "k1"], ["k0", "k0", "k0", "k0"]])
        {
            var subject = Sign(Granted(), s_now);
            foreach (var caller in callers)
            {
                Exchange(caller, subject).Refused(out _, out var granted).Should().BeFalse();
                subject = Sign(granted!, s_now);
            }

            Exchange("k2", subject).Refused(out var error, out _).Should().BeTrue();
            (error!.Code, error.Failed.Name).Should().Be(("invalid_request", "exchanged_from"));
        }
    }

    private static Result<GrantedToken> Exchange(string caller, string subject)
    {
        var registry = new Registry(s_clients.Select(id => Client(id)), s_layouts[0]);
        var request = new TokenRequest
        {
            GrantType = GrantTypes.TokenExchange,
            Exchange = new() { SubjectToken = new(subject), SubjectTokenType = TokenTypes.AccessToken },
        };
        return s_grant.Decide(request, new(registry.FindClient(caller)!, "secret"), registry, s_keys, s_now);
    }

    private static GrantedToken Granted() => new() { ClientId = "k0", Scopes = ["a1"], Audience = ["urn:a"], Lifetime = s_default };

    private static Client Client(string id) => new()
    {
        ClientId = id,
        AuthenticationMethod = "client_secret_basic",
        GrantTypes = [GrantTypes.TokenExchange],
        Scopes = ["a1"],
        Origin = Origin.Command,
    };

    private static bool IsNarrower(Claims next, Claims subject, Claims origin, Client caller, Step step, DateTimeOffset now)
        => next.Scopes.Length > 0 && next.Scopes.Distinct().Count() == next.Scopes.Length
            && next.Scopes.All(name => subject.Scopes.Contains(name) && origin.Scopes.Contains(name) && caller.Scopes.Contains(name))
            && (string.IsNullOrEmpty(step.Scope) || next.Scopes.All(step.Scope.Split(' ').Contains))
            && next.Audience is [var target] && subject.Audience.Contains(target) && origin.Audience.Contains(target)
            && (step.Resources.IsEmpty || step.Resources is [var asked] && asked == target)
            && next.ExpiresAt <= subject.ExpiresAt && next.ExpiresAt <= origin.ExpiresAt && next.ExpiresAt > now.ToUnixTimeSeconds()
            && next.ExpiresAt - next.IssuedAt <= (caller.AccessTokenLifetime ?? s_default).TotalSeconds
            && next.Subject == origin.Subject && next.ClientId == caller.ClientId
            && next.Actors.Length <= 4
            && next.Actors.SequenceEqual(caller.ClientId == subject.ClientId ? subject.Actors : [caller.ClientId, .. subject.Actors])
            && next.ExchangedFrom.SequenceEqual([subject.TokenId, .. subject.ExchangedFrom]) && next.ExchangedFrom.Length <= 4;

    private static string Sign(GrantedToken granted, DateTimeOffset now)
        => Encoding.ASCII.GetString(AccessTokenIssuer.Issue(granted, Issuer, s_key, now).AccessToken.Span);

    private static void InterlockedMax(ref int most, int value)
    {
        for (var seen = Volatile.Read(ref most); value > seen; seen = Volatile.Read(ref most))
        {
            Interlocked.CompareExchange(ref most, value, seen);
        }
    }

    private static Gen<string> Among(params string[] values) => Gen.Int[0, values.Length - 1].Select(i => values[i]);

    private static Resource Resource(string uri, params string[] scopes)
        => new() { Uri = uri, Scopes = [.. scopes.Select(name => new Scope(name, null))], Origin = Origin.Command };

    private sealed record Step(int Client, string? Scope, ImmutableArray<string> Resources, TimeSpan Wait);

    // Read by nothing of the service.
    private sealed record Claims(
        string Subject, string ClientId, string[] Scopes, string[] Audience, long IssuedAt, long ExpiresAt, string TokenId, string[] Actors, string[] ExchangedFrom)
    {
        public static Claims Of(string token)
        {
            var json = TokenDraft.Of(token).Claims;
            var actors = new List<string>();
            for (var act = json["act"]; act is not null; act = act["act"])
            {
                actors.Add(act["sub"]!.GetValue<string>());
            }

            return new(
                json["sub"]!.GetValue<string>(),
                json["client_id"]!.GetValue<string>(),
                json["scope"]!.GetValue<string>().Split(' '),
                json["aud"] is JsonArray several ? [.. several.Select(uri => uri!.GetValue<string>())] : [json["aud"]!.GetValue<string>()],
                json["iat"]!.GetValue<long>(),
                json["exp"]!.GetValue<long>(),
                json["jti"]!.GetValue<string>(),
                [.. actors],
                json["exchanged_from"] is JsonArray ids ? [.. ids.Select(id => id!.GetValue<string>())] : []);
        }
    }
}
