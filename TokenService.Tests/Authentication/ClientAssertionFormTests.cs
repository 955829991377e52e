using System;
using System.Collections.Immutable;
using System.Linq;
using System.Text;
using CsCheck;
using FluentAssertions;
using Microsoft.IdentityModel.JsonWebTokens;
using TokenService.Authentication;
using TokenService.Protocol;
using TokenService.Tests.Support;
using Xunit;
using static TokenService.Tests.Support.AssertionClients;

namespace TokenService.Tests.Authentication;

/// <summary>Taking apart and judging whatever a stranger sends.</summary>
public sealed class ClientAssertionFormTests
{
    private static readonly ImmutableArray<string> s_audiences = [Issuer];

    [Fact]
    public void Nothing_that_is_sent_ends_in_an_exception()
    {
        Judge(Gen.String);
        Judge(Gen.Char["AZaz09-_.=+/ {}\"\0"].Array[0, 400].Select(chars => new string(chars)));
        Judge(Gen.Select(Json, Json).Select((header, claims) => AssertionDraft.Compact(Encoding.UTF8.GetBytes(header), Encoding.UTF8.GetBytes(claims), _ => [1])));
        Judge(Gen.Select(Gen.Byte.Array[0, 60], Gen.Byte.Array[0, 60]).Select((header, claims) => AssertionDraft.Compact(header, claims, _ => [1])));

        static void Judge(Gen<string> texts) => texts.Sample(
            text =>
            {
                if (ClientAssertion.Read(text, out var assertion) is { } fault)
                {
                    IsTellable(fault);
                    return;
                }

                foreach (var broken in AssertionRules.Broken(assertion!, "other", s_audiences, Now))
                {
                    IsTellable(broken);
                }
            },
            iter: 50_000);
    }

    // What both read, both must read alike; where this service refuses and the library does not, the refusal is on purpose.
    [Fact]
    public void What_is_accepted_here_the_library_reads_in_the_same_way()
    {
        var read = 0;
        Gen.Select(Json, Json).Sample(
            (header, claims) =>
            {
                var text = AssertionDraft.Compact(Encoding.UTF8.GetBytes(header), Encoding.UTF8.GetBytes(claims), _ => [1]);
                if (ClientAssertion.Read(text, out var assertion) is null && ByLibrary(text) is { } other)
                {
                    System.Threading.Interlocked.Increment(ref read);
                    if (assertion!.Algorithm is { } algorithm)
                    {
                        other.Alg.Should().Be(algorithm);
                    }

                    if (assertion.Subject is { } subject)
                    {
                        other.Subject.Should().Be(subject);
                    }

                    if (assertion.TokenId is { } id)
                    {
                        other.Id.Should().Be(id);
                    }
                }
            },
            iter: 20_000);
        read.Should().BeGreaterThan(1_000, "the generator must make what can be read");

        // It refuses members of a wrong type at once, which here the rules do.
        static JsonWebToken? ByLibrary(string text)
        {
            try
            {
                return new JsonWebToken(text);
            }
            catch (ArgumentException)
            {
                return null;
            }
        }
    }

    [Fact]
    public void Every_broken_rule_is_named_not_only_the_first()
    {
        var text = new AssertionDraft("a", "https://other.example.com", Now.AddHours(-1)).WithHeader("typ", "x").WithHeader("alg", "none").Without("jti")
            .Signed(_ => [1]);
        ClientAssertion.Read(text, out var assertion).Should().BeNull();

        AssertionRules.Broken(assertion!, "b", s_audiences, Now).Select(fault => fault.Expected.Split(' ')[0])
            .Should().Equal("typ", "alg", "client_id", "aud", "exp", "jti");
    }

    [Theory]
    [InlineData("plus", 64 * 1024)]
    [InlineData("[[[[", 16 * 1024)]
    public void The_largest_that_is_sent_is_judged_without_taking_it_apart(string part, int length)
        => ClientAssertion.Read(string.Concat(Enumerable.Repeat(part, length / part.Length)) + "x", out _)!.Expected.Should().Contain("at most 16384 characters");

    // RFC 6749 §5.2: the characters of error_description. And nothing that was sent.
    private static void IsTellable(FailedCheck fault)
    {
        fault.Expected.Should().MatchRegex("^[\\x20-\\x21\\x23-\\x5B\\x5D-\\x7E]{5,}$");
        fault.Came.Should().MatchRegex("^[ -~…]*$");
    }

    // JSON of the members that count, with values of all kinds, sometimes damaged.
    private static Gen<string> Json
    {
        get
        {
            var values = Gen.OneOf(
                Gen.String.Select(text => System.Text.Json.JsonSerializer.Serialize(text)),
                Gen.Double.Select(number => double.IsFinite(number) ? number.ToString("R", System.Globalization.CultureInfo.InvariantCulture) : "1e400"),
                Gen.Long.Select(number => number.ToString(System.Globalization.CultureInfo.InvariantCulture)),
                Gen.Int[0, 6].Select(i => ((string[])["null", "true", "[]", "{}", "[\"x\",1]", "\"\\ud800\"", "\"RS256\""])[i]));
            var names = Gen.Int[0, 12].Select(i => ((string[])["alg", "kid", "typ", "crit", "iss", "sub", "aud", "exp", "iat", "nbf", "jti", "x", "\\u0061lg"])[i]);
            var objects = Gen.Select(names, values).Array[0, 8].Select(members => "{" + string.Join(',', members.Select(member => $"\"{member.Item1}\":{member.Item2}")) + "}");
            return Gen.Select(objects, Gen.Int[0, 19], Gen.Int[0, 200]).Select((json, damage, at) => damage > 0 || json.Length == 0 ? json : json.Remove(at % json.Length, 1));
        }
    }
}
