using System;
using System.Globalization;
using System.Text;
using System.Text.Json;
using TokenService.Protocol;

namespace TokenService.Authentication;

/// <summary>A client assertion (RFC 7523 §2.2) taken apart: well-formed, and nothing else known of it.</summary>
/// <param name="Header">The JOSE header (RFC 7515 §4).</param>
/// <param name="Claims">The claims (RFC 7519 §4).</param>
/// <param name="Content">What the signature is over, in ASCII.</param>
/// <param name="Signature">The signature.</param>
/// <remarks>
/// The JWT is taken apart here and not by the library, which is more forgiving: it reads base64url in several spellings, JSON with
/// members twice, and encrypted tokens. What two programs can read in two ways, an attacker uses.
/// </remarks>
public sealed record ClientAssertion(JsonElement Header, JsonElement Claims, byte[] Content, byte[] Signature)
{
    /// <summary>The longest assertion in characters. A usual one has some 700.</summary>
    public const int MaxLength = 16 * 1024;

    // What faults of the form are told under.
    private const string Name = Parameters.ClientAssertion;

    /// <summary><c>alg</c>, where it is a text.</summary>
    public string? Algorithm => Text(Header, "alg");

    /// <summary><c>kid</c>, where it is a text.</summary>
    public string? KeyId => Text(Header, "kid");

    /// <summary><c>sub</c>, where it is a text: the client that this is said to come from.</summary>
    public string? Subject => Text(Claims, "sub");

    /// <summary><c>iss</c>, where it is a text.</summary>
    public string? Issuer => Text(Claims, "iss");

    /// <summary><c>jti</c>, where it is a text: what no other assertion of the client has.</summary>
    public string? TokenId => Text(Claims, "jti");

    /// <summary>Takes an assertion apart.</summary>
    /// <param name="text">The JWS in its compact form (RFC 7515 §7.1).</param>
    /// <param name="assertion">The parts, where the answer is <see langword="null"/>.</param>
    /// <returns>What is wrong with the form, or <see langword="null"/>.</returns>
    public static FailedCheck? Read(string text, out ClientAssertion? assertion)
    {
        assertion = null;
        if (text.Length > MaxLength)
        {
            return new(Name, string.Create(CultureInfo.InvariantCulture, $"it must have at most {MaxLength} characters"), $"{text.Length} characters");
        }

        var first = text.IndexOf('.', StringComparison.Ordinal);
        var last = text.LastIndexOf('.');
        var dots = text.AsSpan().Count('.');
        if (dots != 2)
        {
            return new(
                Name,
                "it must be a signed JWT in compact form, three parts with two dots between them; an encrypted one (JWE) is not accepted",
                $"{dots} dots");
        }

        if (StrictBase64Url.Decode(text.AsSpan(0, first)) is not { } header
            || StrictBase64Url.Decode(text.AsSpan(first + 1, last - first - 1)) is not { } claims
            || StrictBase64Url.Decode(text.AsSpan(last + 1)) is not { } signature)
        {
            return new(Name, "each of its parts must be base64url without padding, in its one canonical spelling", "something else");
        }

        if (signature.Length == 0)
        {
            return new(Name, "it must be signed", "no signature");
        }

        if (StrictJson.ReadObject(header) is not { } headerJson)
        {
            return new(Name, "its header must be a JSON object in UTF-8, no member twice and no byte order mark", "something else");
        }

        if (StrictJson.ReadObject(claims) is not { } claimsJson)
        {
            return new(Name, "its claims must be a JSON object in UTF-8, no member twice and no byte order mark", "something else");
        }

        assertion = new ClientAssertion(headerJson, claimsJson, Encoding.ASCII.GetBytes(text, 0, last), signature);
        return null;
    }

    private static string? Text(JsonElement element, string member)
        => element.TryGetProperty(member, out var value) && value.ValueKind == JsonValueKind.String ? value.GetString() : null;
}
