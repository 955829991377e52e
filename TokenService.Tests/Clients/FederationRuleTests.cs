using System;
using System.Linq;
using System.Text.Json;
using FluentAssertions;
using TokenService.Clients;
using Xunit;

namespace TokenService.Tests.Clients;

/// <summary>Which claims of a token meet which rule.</summary>
public sealed class FederationRuleTests
{
    private const string Claims = """
        {
          "sub": "system:serviceaccount:shop:indexer", "empty": "", "number": 42, "true": true, "nothing": null,
          "groups": ["acme", "acme/ops", 7], "kubernetes.io": { "namespace": "shop", "serviceaccount": { "name": "indexer" }, "a/b": { "~c": "deep" } },
          "https://example.com/claim": "url", "object": { "sub": "x" }
        }
        """;

    [Theory]
    [InlineData("sub", "system:serviceaccount:shop:indexer")]
    [InlineData("sub", "other|system:serviceaccount:shop:indexer")]
    [InlineData("sub", "system:serviceaccount:shop:*")]
    [InlineData("sub", "system:serviceaccount:*")]
    [InlineData("groups", "acme/ops")]
    [InlineData("groups", "acme/*")]
    [InlineData("/kubernetes.io/namespace", "shop")]
    [InlineData("/kubernetes.io/serviceaccount/name", "indexer")]
    [InlineData("/kubernetes.io/a~1b/~0c", "deep")]
    [InlineData("https://example.com/claim", "url")]
    [InlineData("/sub", "system:serviceaccount:shop:indexer")]
    public void Meets(string claim, string values) => IsMet(claim, values).Should().BeTrue();

    [Theory]
    [InlineData("sub", "system:serviceaccount:shop:index")]
    [InlineData("sub", "system:serviceaccount:shop:indexer2")]
    [InlineData("sub", "system:serviceaccount:shop:INDEXER")]
    [InlineData("sub", "serviceaccount:shop:indexer")]
    [InlineData("sub", "system:serviceaccount:shop:indexer:*")]
    [InlineData("sub", "system:serviceaccount:shops:*")]
    [InlineData("sub", "other|another")]
    [InlineData("empty", "x")]
    [InlineData("number", "42")]
    [InlineData("true", "true")]
    [InlineData("nothing", "null")]
    [InlineData("missing", "x")]
    [InlineData("object", "x")]
    [InlineData("groups", "acme/ops/*")]
    [InlineData("groups", "7")]
    [InlineData("groups", "ops")]
    [InlineData("kubernetes.io", "shop")]
    [InlineData("kubernetes.io/namespace", "shop")]
    [InlineData("kubernetes.io.namespace", "shop")]
    [InlineData("/kubernetes.io/namespace/x", "shop")]
    [InlineData("/groups/0", "acme")]
    [InlineData("/", "x")]
    public void Does_not_meet(string claim, string values) => IsMet(claim, values).Should().BeFalse();

    [Fact]
    public void A_star_stands_for_at_least_one_character()
    {
        var rule = new ClaimRule("sub", ["a:*"]);

        rule.IsMet(Json("""{ "sub": "a:" }""")).Should().BeFalse();
        rule.IsMet(Json("""{ "sub": "a:b" }""")).Should().BeTrue();
        rule.IsMet(Json("""{ "sub": "a:*" }""")).Should().BeTrue();
    }

    [Fact]
    public void All_claims_of_a_rule_must_be_met()
    {
        var rule = new FederationRule("x", [new("sub", ["system:serviceaccount:*"]), new("/kubernetes.io/namespace", ["shop", "store"])]);

        rule.FirstBroken(Json(Claims)).Should().BeNull();
        rule.FirstBroken(Json(Claims.Replace("\"namespace\": \"shop\"", "\"namespace\": \"bank\"", StringComparison.Ordinal)))!
            .Claim.Should().Be("/kubernetes.io/namespace");
    }

    [Fact]
    public void What_is_written_is_read_again()
    {
        FederationRule[] rules = [new("x", [new("sub", ["a\"b", "ü:*"]), new("/c~1d", ["e"])]), new("y", [new("f", ["g"])])];

        var read = FederationRule.Read(FederationRule.Write([.. rules]));

        read.Select(rule => (rule.Issuer, string.Join(';', rule.Claims.Select(claim => $"{claim.Claim}={string.Join('|', claim.Values)}"))))
            .Should().Equal(("x", "sub=a\"b|ü:*;/c~1d=e"), ("y", "f=g"));
    }

    private static bool IsMet(string claim, string values) => new ClaimRule(claim, [.. values.Split('|')]).IsMet(Json(Claims));

    private static JsonElement Json(string text) => JsonDocument.Parse(text).RootElement;

    [Theory]
    [InlineData("federated_jwt", true)]
    [InlineData("client_secret_basic", false)]
    [InlineData("private_key_jwt", false)]
    public void Rules_that_a_former_build_has_left_at_a_client_of_another_method_count_for_nothing(string method, bool counts)
    {
        var issuer = new TrustedIssuer { Name = "x", Issuer = "https://x.example.com" };
        var client = new Client
        {
            ClientId = "a",
            AuthenticationMethod = method,
            GrantTypes = [],
            Scopes = [],
            Federation = [new("x", [new("sub", ["s"])])],
            Origin = Origin.File,
        };

        new Registry([client], [], [issuer]).WorkloadsOf(issuer, "s").Any().Should().Be(counts);
        new Registry([], [], [issuer]).With(["a"], [client]).WorkloadsOf(issuer, "s").Any().Should().Be(counts);
        new Registry([client], [], [issuer]).With(["a"], []).WorkloadsOf(issuer, "s").Should().BeEmpty();
    }
}
