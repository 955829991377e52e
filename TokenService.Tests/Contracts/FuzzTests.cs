using System;
using System.Linq;
using System.Text;
using FluentAssertions;
using Fuzz;
using TokenService.Tests.Support;
using Xunit;
using Xunit.Abstractions;

namespace TokenService.Tests.Contracts;

/// <summary>A share of what bench/Fuzz does by the million; a finding says by which seed and index it is made again.</summary>
[Trait("Storage", "Sqlite")]
public sealed class FuzzTests(ITestOutputHelper output)
{
    // What lands a change goes by the change alone; the long form looks elsewhere each time.
    private static readonly ulong s_seed = LongForm.IsOn ? (ulong)Random.Shared.NextInt64() : 1;

    [Fact]
    public void Whatever_is_sent_is_read_without_an_exception_and_at_once()
    {
        var report = InProcess.Run(LongForm.Of(200_000, 2_000_000), s_seed);
        output.WriteLine($"seed {s_seed}\n{report}");

        report.Findings.Should().BeEmpty($"seed {s_seed}");
        foreach (var name in (string[])["form", "basic", "assertion", "explain", "proof", "token", "jwks", "file", "words", "scope", "text", "certificate", "chain"])
        {
            report.Counts.Should().ContainKey($"{name}: accepted", "what only ever sees refusals shows nothing");
            report.Counts.Should().ContainKey($"{name}: refused");
        }
    }

    [Fact]
    public void The_JWT_library_and_the_service_judge_mutated_assertions_alike_but_for_the_differences_that_are_meant()
    {
        var report = Differential.Run(LongForm.Of(20_000, 1_000_000), s_seed);
        output.WriteLine($"seed {s_seed}\n{report}");

        report.Findings.Should().BeEmpty($"seed {s_seed}");
        report.Counts["both accept"].Should().BeGreaterThan(report.Inputs / 20);
        report.Counts["both refuse"].Should().BeGreaterThan(report.Inputs / 2);
    }

    [Fact]
    public void A_right_assertion_is_none_of_those_for_which_a_difference_is_meant()
    {
        foreach (var assertion in Corpus.Jwts("assertion.txt")[..6].Select(jwt => new SentAssertion(Encoding.ASCII.GetString(jwt))))
        {
            Differential.Stricter.Where(difference => difference.Value(assertion)).Select(difference => difference.Key).Should().BeEmpty();
            Differential.IsCutAtTheEdge(assertion).Should().BeFalse();
        }
    }

    [Theory]
    [InlineData("crit", """{"alg":"HS256","crit":null}""", "{}")]
    [InlineData("typ", """{"alg":"HS256","typ":1}""", "{}")]
    [InlineData("kid", """{"alg":"RS256","kid":"3"}""", """{"sub":"key-job"}""")]
    [InlineData("aud", "{}", """{"aud":["https://auth.example.com","x"]}""")]
    [InlineData("exp", "{}", """{"exp":1800000630.5}""")]
    [InlineData("iat", "{}", """{"iat":1800000030.5}""")]
    [InlineData("nbf", "{}", """{"nbf":1800000030.5}""")]
    [InlineData("jti", "{}", """{"jti":""}""")]
    [InlineData("client_assertion", "{}", """{"a":1,"\u0061":1}""")]
    public void One_for_which_a_difference_is_meant_is_known(string check, string header, string claims)
        => Differential.Stricter[check](Sent(header, claims)).Should().BeTrue();

    [Theory]
    [InlineData("typ", """{"typ":"other"}""", "{}")]
    [InlineData("kid", """{"kid":"1"}""", """{"sub":"key-job"}""")]
    [InlineData("aud", "{}", """{"aud":["https://auth.example.com"]}""")]
    [InlineData("exp", "{}", """{"exp":1800000630}""")]
    [InlineData("exp", "{}", """{"exp":"1800000000"}""")]
    [InlineData("iat", "{}", """{"iat":1799913600}""")]
    [InlineData("nbf", "{}", """{"nbf":1800000031}""")]
    [InlineData("jti", "{}", """{"jti":"a"}""")]
    [InlineData("client_assertion", """{"a":{"a":[1]}}""", """{"a":1,"b":1}""")]
    public void One_for_which_none_is_meant_is_excused_by_no_name(string check, string header, string claims)
        => Differential.Stricter[check](Sent(header, claims)).Should().BeFalse();

    [Theory]
    [InlineData("1799999970.001", true)]
    [InlineData("1799999970.999", true)]
    [InlineData("1799999970", false)]
    [InlineData("1799999969.5", false)]
    [InlineData("1799999971.5", false)]
    [InlineData("1800000030.5", false)]
    public void A_fraction_excuses_the_library_in_the_last_second_alone(string expires, bool isExcused)
        => Differential.IsCutAtTheEdge(Sent("{}", $$"""{"exp":{{expires}}}""")).Should().Be(isExcused);

    [Fact]
    public void Each_difference_that_is_meant_is_in_the_docs()
    {
        var page = System.IO.File.ReadAllText(Repository.File("docs", "fuzzing.md"));

        Differential.Stricter.Keys.Should().OnlyContain(name => page.Contains($"`{name}`", StringComparison.Ordinal));
    }

    private static SentAssertion Sent(string header, string claims)
        => new($"{Mutation.Encode(Encoding.UTF8.GetBytes(header))}.{Mutation.Encode(Encoding.UTF8.GetBytes(claims))}.AQID");
}
