using System;
using System.Collections.Immutable;
using System.Globalization;
using System.Linq;
using System.Text;
using CsCheck;
using FluentAssertions;
using TokenService.Authentication;
using TokenService.Tests.Support;
using Xunit;
using static TokenService.Tests.Support.AssertionClients;

namespace TokenService.Tests.Authentication;

/// <summary>The times of assertions and proofs, to the millisecond.</summary>
public sealed class AssertionTimesTests
{
    private static readonly ImmutableArray<string> s_audiences = [Issuer];
    private static readonly ImmutableArray<Uri> s_addresses = [new($"{Issuer}/oauth2/token")];

    // Around the edges, and anywhere.
    private static readonly Gen<long> s_offsets = Gen.OneOf(
        Gen.Select(Gen.OneOf(-30_000L, 0, 30_000, 600_000, 630_000, -86_400_000, -300_000), Gen.Long[-2, 2], (edge, beside) => edge + beside),
        Gen.Long[-100_000_000, 100_000_000]);

    [Fact]
    public void An_assertion_is_in_time_from_half_a_minute_before_to_half_a_minute_after_and_at_most_ten_minutes_ahead() => Gen.Select(s_offsets, s_offsets, s_offsets).Sample(
        (expires, issued, notBefore) =>
        {
            var faults = Faults(Claims($"\"iss\":\"a\",\"sub\":\"a\",\"aud\":\"{Issuer}\",\"jti\":\"1\",\"exp\":{At(expires)},\"iat\":{At(issued)},\"nbf\":{At(notBefore)}"));
            return faults.Contains("exp") == !(expires > -30_000 && expires <= 630_000)
                && faults.Contains("iat") == !(issued <= 30_000 && issued >= -86_400_000)
                && faults.Contains("nbf") == (notBefore > 30_000)
                && faults.All(name => name is "exp" or "iat" or "nbf");
        },
        iter: 50_000);

    [Fact]
    public void A_proof_is_in_time_for_five_minutes() => s_offsets.Sample(
        issued => DPoPRules.Broken(Claims($"\"htm\":\"POST\",\"htu\":\"{Issuer}/oauth2/token\",\"jti\":\"1\",\"iat\":{At(issued)}"), s_addresses, Now).Any()
            == !(issued <= 30_000 && issued >= -300_000),
        iter: 20_000);

    [Fact]
    public void A_time_that_is_none_or_beyond_the_calendar_is_a_fault_and_no_exception()
    {
        foreach (var time in (string[])
            ["0", "-1", "1e400", "-1e400", "1e308", "1e-308", "253402300799", "253402300799.999", "253402300800", "9223372036854775808", "\"1800000000\"", "null", "true", "[]", "{}"])
        {
            var assertion = Claims($"\"iss\":\"a\",\"sub\":\"a\",\"aud\":\"{Issuer}\",\"jti\":\"1\",\"exp\":{time},\"iat\":{time},\"nbf\":{time}");

            Faults(assertion).Should().Contain("exp", time);
            var end = AssertionRules.EndOf(assertion);
            (end is null || end > Now).Should().Be(time != "1e-308", time);
            WorkloadTokenRules.Broken(assertion, Issuer, isSpiffe: false, Now).Should().NotBeEmpty();
            DPoPRules.Broken(assertion, s_addresses, Now).Should().NotBeEmpty();
        }
    }

    private static string At(long milliseconds) => ((Now.ToUnixTimeMilliseconds() + milliseconds) / 1000m).ToString(CultureInfo.InvariantCulture);

    private static string[] Faults(ClientAssertion assertion) => [.. AssertionRules.Broken(assertion, null, s_audiences, Now).Select(fault => fault.Name)];

    private static ClientAssertion Claims(string members)
    {
        ClientAssertion.Read(AssertionDraft.Compact("{\"alg\":\"ES256\"}"u8.ToArray(), Encoding.UTF8.GetBytes($"{{{members}}}"), _ => [1]), out var assertion).Should().BeNull();
        return assertion!;
    }
}
