using System;
using System.Collections.Generic;
using System.Linq;
using System.Text.Json;
using TokenService.Clients;
using TokenService.Protocol;

namespace TokenService.Authentication;

/// <summary>
/// What the token of a workload must say, whoever it stands for: each broken rule in turn. Pure, as <see cref="AssertionRules"/> is.
/// </summary>
/// <remarks>
/// A workload does not make its token: the platform does, gives the same one until it nearly expires, and knows nothing of this service's rules. So it may
/// live for a day, be used until it expires, and needs no <c>jti</c>. For that it must be meant for this service, and only this service's
/// configuration says whom it stands for.
/// </remarks>
public static class WorkloadTokenRules
{
    /// <summary>How long a token may live, and how far ahead its <c>exp</c> may be.</summary>
    public static readonly TimeSpan LongestLifetime = TimeSpan.FromDays(1);

    private static readonly string[] s_types = ["JWT"];

    // SPIFFE JWT-SVID §2.3.
    private static readonly string[] s_spiffeTypes = ["JWT", "JOSE"];

    /// <summary>Every rule that the token breaks, the first one first.</summary>
    /// <param name="token">The token.</param>
    /// <param name="audience">What it must be for.</param>
    /// <param name="isSpiffe">Whether it is a JWT-SVID, which must be for nobody else (draft-ietf-oauth-spiffe-client-auth); others may be for more.</param>
    /// <param name="now">The time of the request.</param>
    public static IEnumerable<FailedCheck> Broken(ClientAssertion token, string audience, bool isSpiffe, DateTimeOffset now)
    {
        foreach (var fault in AssertionRules.BrokenHeader(token, isSpiffe ? s_spiffeTypes : s_types, AssertionAlgorithms.PrivateKey))
        {
            yield return fault;
        }

        if (token.Subject is not { Length: > 0 } || (isSpiffe && SpiffeId.TrustDomainOf(token.Subject) is null))
        {
            yield return new("sub", isSpiffe ? "sub must be the SPIFFE ID of a workload" : "sub must be a text", AssertionRules.Found(token.Claims, "sub"));
        }

        if (!IsFor(token.Claims, audience, alone: isSpiffe))
        {
            yield return new("aud", $"aud must be {audience}{(isSpiffe ? ", as its only value" : ", alone or among others")}", AssertionRules.Found(token.Claims, "aud"));
        }

        foreach (var fault in AssertionRules.BrokenTimes(token.Claims, now, LongestLifetime))
        {
            yield return fault;
        }

        // One that was made long ago, and is good for a few hours more, is as bad as one that is good for a year.
        if (Time(token, "exp") - Time(token, "iat") > LongestLifetime)
        {
            yield return new(
                "exp",
                $"a token must live for at most {LongestLifetime.TotalHours} hours, from iat to exp",
                $"one that lives for {(Time(token, "exp") - Time(token, "iat"))!.Value.TotalHours:0.#} hours");
        }
    }

    private static DateTimeOffset? Time(ClientAssertion token, string claim)
        => token.Claims.TryGetProperty(claim, out var value) ? AssertionRules.Time(value) : null;

    private static bool IsFor(JsonElement claims, string audience, bool alone)
    {
        if (!claims.TryGetProperty("aud", out var named))
        {
            return false;
        }

        return named.ValueKind == JsonValueKind.Array
            ? named.EnumerateArray().All(IsText) && named.EnumerateArray().Any(IsIt) && (!alone || named.GetArrayLength() == 1)
            : IsIt(named);

        bool IsText(JsonElement value) => value.ValueKind == JsonValueKind.String;
        bool IsIt(JsonElement value) => IsText(value) && value.GetString() == audience;
    }
}
