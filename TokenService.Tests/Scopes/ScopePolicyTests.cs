using System;
using System.Collections.Immutable;
using System.Linq;
using CsCheck;
using FluentAssertions;
using TokenService.Clients;
using TokenService.Scopes;
using Xunit;

namespace TokenService.Tests.Scopes;

public sealed class ScopePolicyTests
{
    private static readonly Registry s_registry = new([], [Resource("urn:a", "a1", "a2", "a3"), Resource("urn:b", "b1", "b2"), Resource("urn:c", "c1")]);

    private static readonly string[] s_names = ["a1", "a2", "a3", "b1", "b2", "c1"];

    [Theory]
    [InlineData("a1 b1", null, "", "a1 b1", "urn:a urn:b")]
    [InlineData("a1 b1", "", "", "a1 b1", "urn:a urn:b")]
    [InlineData("a1 a2", null, "", "a1 a2", "urn:a")]
    [InlineData("a1 b1", "b1", "", "b1", "urn:b")]
    [InlineData("a1 b1", "b1 a1 b1", "", "b1 a1", "urn:b urn:a")]
    [InlineData("a1 b1", null, "urn:b", "b1", "urn:b")]
    [InlineData("a1 b1", null, "urn:b urn:a", "a1 b1", "urn:a urn:b")]
    [InlineData("a1 a2 b1", "a2 b1", "urn:a", "a2", "urn:a")]
    public void Grants(string registered, string? scope, string resources, string granted, string audience)
    {
        var refused = Decide(registered, scope, resources).Refused(out _, out var scopes);

        refused.Should().BeFalse();
        string.Join(' ', scopes!.Names).Should().Be(granted);
        string.Join(' ', scopes.Audience).Should().Be(audience);
    }

    [Theory]
    [InlineData("a1", "a2", "", "invalid_scope")]
    [InlineData("a1", "a1 a2", "", "invalid_scope")]
    [InlineData("a1", "x", "", "invalid_scope")]
    [InlineData("a1", " ", "", "invalid_scope")]
    [InlineData("a1", "a1  a1", "", "invalid_scope")]
    [InlineData("a1 b1", "b1", "urn:a", "invalid_scope")]
    [InlineData("a1", null, "urn:b", "invalid_target")]
    [InlineData("a1", null, "urn:x", "invalid_target")]
    [InlineData("a1", null, "urn:a urn:x", "invalid_target")]
    [InlineData("", null, "", "invalid_scope")]
    public void Refuses(string registered, string? scope, string resources, string error)
    {
        Decide(registered, scope, resources).Refused(out var refusal, out _).Should().BeTrue();
        refusal!.Code.Should().Be(error);
    }

    [Fact]
    public void Never_grants_a_scope_that_the_client_lacks_or_an_audience_of_which_no_scope_was_granted()
    {
        var known = Among(s_names);
        var names = Gen.OneOf(known, Among("x", "", " ", "a1 ", "A1", "a1\"", "a1\0", "urn:a"), Gen.String[0, 5]);
        var scope = Gen.OneOf(Gen.Const(""), names.Array[0, 8].Select(parts => string.Join(' ', parts)), Gen.String);
        var resources = Gen.OneOf(Among("urn:a", "urn:b", "urn:c", "", "urn:A", "urn:a#", "urn:x"), Gen.String[0, 8]).Array[0, 4];
        var registered = known.Array[0, 6].Select(own => own.Distinct().ToArray());
        var granted = 0;

        Gen.Select(registered, scope, resources).Sample(
            (own, wanted, targets) =>
            {
                if (ScopePolicy.Decide(Client([.. own]), wanted, [.. targets], s_registry).Refused(out var error, out var result))
                {
                    return error.Code is "invalid_scope" or "invalid_target";
                }

                System.Threading.Interlocked.Increment(ref granted);
                return !result.Names.IsEmpty
                    && result.Names.All(own.Contains)
                    && result.Names.Distinct().Count() == result.Names.Length
                    && (wanted.Length == 0 || result.Names.All(wanted.Split(' ').Contains))
                    && result.Audience.ToHashSet().SetEquals(result.Names.Select(name => s_registry.ResourceOf(name)!))
                    && result.Audience.Distinct().Count() == result.Audience.Length
                    && (targets.Length == 0 || result.Audience.All(targets.Contains));
            },
            iter: 100_000);

        granted.Should().BeGreaterThan(1000, "a property that only ever sees refusals shows nothing");
    }

    private static Gen<string> Among(params string[] values) => Gen.Int[0, values.Length - 1].Select(i => values[i]);

    private static TokenService.Protocol.Result<GrantedScopes> Decide(string registered, string? scope, string resources)
        => ScopePolicy.Decide(Client(Words(registered)), scope, Words(resources), s_registry);

    private static ImmutableArray<string> Words(string text) => [.. text.Split(' ', StringSplitOptions.RemoveEmptyEntries)];

    private static Client Client(ImmutableArray<string> scopes) => new()
    {
        ClientId = "client",
        AuthenticationMethod = "client_secret_basic",
        GrantTypes = ["client_credentials"],
        Scopes = scopes,
        Origin = Origin.Command,
    };

    private static Resource Resource(string uri, params string[] scopes)
        => new() { Uri = uri, Scopes = [.. scopes.Select(name => new Scope(name, null))], Origin = Origin.Command };
}
