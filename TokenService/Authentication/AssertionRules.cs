using System;
using System.Collections.Generic;
using System.Collections.Immutable;
using System.Globalization;
using System.Linq;
using System.Text.Json;
using TokenService.Clients;
using TokenService.Protocol;

namespace TokenService.Authentication;

/// <summary>
/// What every client assertion must say, whoever the client is (RFC 7523 §3): each broken rule in turn. Pure, so that a request and
/// whoever looks for the fault afterwards judge alike.
/// </summary>
/// <remarks>
/// <c>aud</c> is the rule that matters most: an assertion that is also meant for another server can be presented here by that server
/// (CVE-2025-27370). So it names this issuer and nobody else.
/// </remarks>
public static class AssertionRules
{
    /// <summary>How far a client's clock may be from ours, either way.</summary>
    public static readonly TimeSpan Skew = TimeSpan.FromSeconds(30);

    /// <summary>How far ahead <c>exp</c> may be: until then the <c>jti</c> must be kept.</summary>
    public static readonly TimeSpan LongestLifetime = TimeSpan.FromMinutes(10);

    private const int MaxTokenIdLength = 256;

    // Nobody signs assertions for the next day; an iat that old is a broken clock, or an assertion from somebody's archive.
    private static readonly TimeSpan s_greatestAge = TimeSpan.FromDays(1);

    private static readonly string[] s_types = ["JWT", "client-authentication+jwt"];

    // crit and b64 change what the signature covers (RFC 7515 §4.1.11, RFC 7797), zip and enc belong to encrypted tokens.
    private static readonly string[] s_refusedHeaders = ["crit", "b64", "zip", "enc"];

    /// <summary>Every rule that the assertion breaks, the first one first.</summary>
    /// <param name="assertion">The assertion.</param>
    /// <param name="clientId">The <c>client_id</c> beside it in the form, if any.</param>
    /// <param name="audiences">What <c>aud</c> may be: the issuer, and where the setting allows it the token endpoint's URL.</param>
    /// <param name="now">The time of the request.</param>
    public static IEnumerable<FailedCheck> Broken(ClientAssertion assertion, string? clientId, ImmutableArray<string> audiences, DateTimeOffset now)
    {
        var claims = assertion.Claims;
        foreach (var fault in BrokenHeader(assertion, s_types, AssertionAlgorithms.All))
        {
            yield return fault;
        }

        foreach (var name in (string[])["iss", "sub"])
        {
            if (!(claims.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.String && value.GetString()!.Length > 0))
            {
                yield return new(name, $"{name} must be the client id", Found(claims, name));
            }
        }

        if (assertion.Subject is { } subject)
        {
            if (claims.TryGetProperty("iss", out var issuer) && issuer.ValueKind == JsonValueKind.String && issuer.GetString() != subject)
            {
                yield return new("iss", "iss and sub must be the same: the client id", $"iss {Found(claims, "iss")}, sub {Found(claims, "sub")}");
            }

            if (clientId is not null && clientId != subject)
            {
                yield return new("client_id", "client_id in the form must be the client of the assertion, or left out", $"client_id {Printable.Quote(clientId)}");
            }
        }

        if (!IsAudience(claims, audiences))
        {
            yield return new("aud", AudienceRule(audiences), Found(claims, "aud"));
        }

        foreach (var fault in BrokenTimes(claims, now, LongestLifetime))
        {
            yield return fault;
        }

        if (assertion.TokenId is not { Length: > 0 and <= MaxTokenIdLength })
        {
            yield return new("jti", $"jti must be a text of 1 to {MaxTokenIdLength} characters, another one for each assertion", Found(claims, "jti"));
        }
    }

    /// <summary>From when on the assertion is refused for its age; <see langword="null"/> where its <c>exp</c> is no time.</summary>
    public static DateTimeOffset? EndOf(ClientAssertion assertion)
        => !assertion.Claims.TryGetProperty("exp", out var expires) || Time(expires) is not { } time ? null
            : time < DateTimeOffset.MaxValue - Skew ? time + Skew : DateTimeOffset.MaxValue;

    /// <summary>The rules of the header (RFC 7515 §4) that the assertion breaks.</summary>
    /// <param name="assertion">The assertion.</param>
    /// <param name="types">What <c>typ</c> may be.</param>
    /// <param name="algorithms">What <c>alg</c> may be.</param>
    internal static IEnumerable<FailedCheck> BrokenHeader(ClientAssertion assertion, string[] types, ImmutableArray<string> algorithms)
    {
        var header = assertion.Header;
        foreach (var name in s_refusedHeaders)
        {
            if (header.TryGetProperty(name, out _))
            {
                yield return new(name, $"its header may not have {name}", $"a header with {name}");
            }
        }

        if (header.TryGetProperty("typ", out var type)
            && !(type.ValueKind == JsonValueKind.String && types.Contains(type.GetString(), StringComparer.OrdinalIgnoreCase)))
        {
            yield return new("typ", $"typ must be {string.Join(" or ", types)}, or left out", Found(header, "typ"));
        }

        if (assertion.Algorithm is null || !algorithms.Contains(assertion.Algorithm))
        {
            yield return new("alg", $"alg must be one of {string.Join(", ", algorithms)}", Found(header, "alg"));
        }

        if (header.TryGetProperty("kid", out _) && assertion.KeyId is not { Length: > 0 and <= ClientKeyReader.MaxKidLength })
        {
            yield return new("kid", $"kid must be a text of 1 to {ClientKeyReader.MaxKidLength} characters, or left out", Found(header, "kid"));
        }
    }

    /// <summary>The rules of <c>exp</c>, <c>iat</c> and <c>nbf</c> (RFC 7523 §3) that the claims break.</summary>
    /// <param name="claims">The claims.</param>
    /// <param name="now">The time of the request.</param>
    /// <param name="longest">How far ahead <c>exp</c> may be.</param>
    internal static IEnumerable<FailedCheck> BrokenTimes(JsonElement claims, DateTimeOffset now, TimeSpan longest)
    {
        var expires = claims.TryGetProperty("exp", out var exp) ? Time(exp) : null;
        if (expires is null)
        {
            yield return new("exp", "exp must be a time in seconds since 1970, a number", Found(claims, "exp"));
        }
        else if (now - Skew >= expires)
        {
            yield return new("exp", "exp must not be past: the assertion has expired", At(expires.Value, now));
        }
        else if (expires > now + longest + Skew)
        {
            yield return new("exp", $"exp must be at most {longest.TotalMinutes} minutes ahead", At(expires.Value, now));
        }

        foreach (var name in (string[])["iat", "nbf"])
        {
            if (!claims.TryGetProperty(name, out var value))
            {
                continue;
            }

            if (Time(value) is not { } time)
            {
                yield return new(name, $"{name} must be a time in seconds since 1970, a number, or left out", Found(claims, name));
            }
            else if (time > now + Skew)
            {
                yield return new(name, $"{name} must not be in the future: check the clock of the client", At(time, now));
            }
            else if (name == "iat" && time < now - s_greatestAge && longest < s_greatestAge)
            {
                yield return new("iat", "iat must not be more than a day past", At(time, now));
            }
        }
    }

    private static bool IsAudience(JsonElement claims, ImmutableArray<string> audiences)
    {
        if (!claims.TryGetProperty("aud", out var audience))
        {
            return false;
        }

        if (audience.ValueKind != JsonValueKind.Array)
        {
            return IsOne(audience);
        }

        // Nobody else beside us, and each of our names once.
        var named = audience.EnumerateArray().ToList();
        return named.Count > 0 && named.TrueForAll(IsOne) && named.Select(value => value.GetString()).Distinct(StringComparer.Ordinal).Count() == named.Count;

        bool IsOne(JsonElement value) => value.ValueKind == JsonValueKind.String && audiences.Contains(value.GetString()!, StringComparer.Ordinal);
    }

    private static string AudienceRule(ImmutableArray<string> audiences) => audiences.Length == 1
        ? $"aud must be the issuer, {audiences[0]}, as its only value"
        : $"aud must be the issuer, {audiences[0]}, or the token endpoint, {audiences[1]}, and nothing beside them";

    // A NumericDate (RFC 7519 §2): seconds, perhaps with a fraction, which counts to the millisecond. The last is the year 9999.
    internal static DateTimeOffset? Time(JsonElement value)
        => value.ValueKind == JsonValueKind.Number && value.TryGetDouble(out var seconds) && seconds is > 0 and <= 253_402_300_799
            ? DateTimeOffset.FromUnixTimeMilliseconds((long)Math.Round(seconds * 1000))
            : null;

    private static string At(DateTimeOffset time, DateTimeOffset now) => string.Create(
        CultureInfo.InvariantCulture,
        $"{time.ToUnixTimeMilliseconds() / 1000m}, {Math.Abs((time - now).TotalSeconds):0.###} seconds {(time > now ? "ahead" : "past")}");

    /// <summary>What a member is, for the operator.</summary>
    internal static string Found(JsonElement element, string member) => element.TryGetProperty(member, out var value)
        ? value.ValueKind == JsonValueKind.String ? Printable.Quote(value.GetString()!) : Printable.Quote(value.GetRawText())
        : "nothing";
}
