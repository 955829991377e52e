using System;
using System.Collections.Immutable;
using System.IO;
using System.Linq;
using System.Text;
using System.Text.Json;

namespace TokenService.Clients;

/// <summary>Which tokens of one issuer stand for a client (<c>federation</c>): those that have all of the claims.</summary>
/// <param name="Issuer">The <see cref="TrustedIssuer.Key"/> of the issuer.</param>
/// <param name="Claims">What its tokens must say; at least one.</param>
public sealed record FederationRule(string Issuer, ImmutableArray<ClaimRule> Claims)
{
    /// <summary>How many rules a client may have, and how many claims and values each.</summary>
    public const int Most = 64;

    /// <summary>The first of the claims that a token does not have.</summary>
    /// <param name="claims">The claims of a token of the issuer.</param>
    /// <returns>The rule that it breaks, or <see langword="null"/> where the token stands for the client.</returns>
    public ClaimRule? FirstBroken(JsonElement claims) => Claims.FirstOrDefault(rule => !rule.IsMet(claims));

    /// <summary>The rules as they are written in a declarative file.</summary>
    public static string Write(ImmutableArray<FederationRule> rules)
    {
        using var stream = new MemoryStream();
        using (var json = new Utf8JsonWriter(stream))
        {
            json.WriteStartArray();
            foreach (var rule in rules)
            {
                json.WriteStartObject();
                json.WriteString("issuer", rule.Issuer);
                json.WriteStartObject("claims");
                foreach (var claim in rule.Claims)
                {
                    json.WriteStartArray(claim.Claim);
                    foreach (var value in claim.Values)
                    {
                        json.WriteStringValue(value);
                    }

                    json.WriteEndArray();
                }

                json.WriteEndObject();
                json.WriteEndObject();
            }

            json.WriteEndArray();
        }

        return Encoding.UTF8.GetString(stream.ToArray());
    }

    /// <summary>Reads what <see cref="Write"/> wrote.</summary>
    public static ImmutableArray<FederationRule> Read(string json)
    {
        using var document = JsonDocument.Parse(json);
        return [.. document.RootElement.EnumerateArray().Select(rule => new FederationRule(
            rule.GetProperty("issuer").GetString()!,
            [.. rule.GetProperty("claims").EnumerateObject().Select(claim => new ClaimRule(
                claim.Name, [.. claim.Value.EnumerateArray().Select(value => value.GetString()!)]))]))];
    }
}

/// <summary>What one claim of a token must be: one of some texts, or begin with one that ends in <c>*</c>.</summary>
/// <param name="Claim">The name of a claim as it stands; or, where it begins with a slash, a JSON Pointer (RFC 6901) to one inside of another.</param>
/// <param name="Values">The texts; at least one.</param>
/// <remarks>
/// Texts are compared character by character, and only with texts: a number is none. Where the claim is an array, one of its items must fit. A <c>*</c>
/// stands for at least one character, and only after one that separates: <c>repo:acme/shop*</c> would let in a <c>repo:acme/shop-of-another</c>.
/// </remarks>
public sealed record ClaimRule(string Claim, ImmutableArray<string> Values)
{
    private const int MaxLength = 1024;
    private const char Wildcard = '*';

    /// <summary>Whether every value is meant as it stands.</summary>
    public bool IsExact => Values.All(value => value[^1] != Wildcard);

    /// <summary>Whether a token meets it.</summary>
    /// <param name="claims">Its claims.</param>
    public bool IsMet(JsonElement claims) => Find(claims) switch
    {
        { ValueKind: JsonValueKind.String } text => Admits(text.GetString()!),
        { ValueKind: JsonValueKind.Array } array => array.EnumerateArray().Any(item => item.ValueKind == JsonValueKind.String && Admits(item.GetString()!)),
        _ => false,
    };

    /// <summary>The claim of a token that this is about.</summary>
    /// <returns>The claim, or <see langword="null"/> where it has none.</returns>
    public JsonElement? Find(JsonElement claims)
    {
        if (!Claim.StartsWith('/'))
        {
            return claims.TryGetProperty(Claim, out var claim) ? claim : null;
        }

        JsonElement? found = claims;
        foreach (var name in Claim[1..].Split('/'))
        {
            found = found is { ValueKind: JsonValueKind.Object } outer && outer.TryGetProperty(Unescape(name), out var inner) ? inner : null;
        }

        return found;
    }

    /// <summary>What is wrong with the rule.</summary>
    /// <returns>The value, or -1 for the name, and the fault; <see langword="null"/> where nothing is.</returns>
    public (int Value, string Message)? Fault()
    {
        if (Claim.Length is 0 or > MaxLength || !TextRules.HasNoControls(Claim))
        {
            return (-1, $"must be the name of a claim, of 1 to {MaxLength} characters");
        }

        if (Claim.StartsWith('/') && Claim.Replace("~0", "", StringComparison.Ordinal).Replace("~1", "", StringComparison.Ordinal).Contains('~'))
        {
            return (-1, "must be a JSON Pointer, since it begins with a slash: in a name ~ is written ~0 and / is written ~1 (RFC 6901)");
        }

        if (Values.Length is 0 or > FederationRule.Most)
        {
            return (-1, $"must have 1 to {FederationRule.Most} values");
        }

        foreach (var (index, value) in Values.Index())
        {
            if (value.Length is 0 or > MaxLength || !TextRules.HasNoControls(value))
            {
                return (index, $"must have 1 to {MaxLength} characters, and no control character");
            }

            var star = value.IndexOf(Wildcard);
            if (star >= 0 && star != value.Length - 1)
            {
                return (index, "may have * at its end only");
            }

            if (star == 0 || (star > 0 && char.IsLetterOrDigit(value[star - 1])))
            {
                return (index, "must have a character that separates, such as : or /, before the *: otherwise it lets in whoever has a longer name");
            }
        }

        return null;
    }

    private bool Admits(string claim) => Values.Any(value => value[^1] == Wildcard
        ? claim.Length >= value.Length && claim.AsSpan().StartsWith(value.AsSpan(0, value.Length - 1), StringComparison.Ordinal)
        : claim == value);

    private static string Unescape(string name)
        => name.Replace("~1", "/", StringComparison.Ordinal).Replace("~0", "~", StringComparison.Ordinal);
}
