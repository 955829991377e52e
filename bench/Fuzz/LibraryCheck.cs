using System;
using System.Collections.Immutable;
using System.Linq;
using System.Text;
using Microsoft.IdentityModel.JsonWebTokens;
using Microsoft.IdentityModel.Tokens;
using TokenService.Protocol;

namespace Fuzz;

/// <summary>
/// Checks a client assertion with Microsoft.IdentityModel.JsonWebTokens alone, set as strictly as it can be: by it, what our checks take is judged once more.
/// </summary>
internal sealed class LibraryCheck
{
    /// <summary>By how much clocks may differ.</summary>
    public static readonly TimeSpan Skew = TimeSpan.FromSeconds(30);

    private static readonly string[] s_types = ["JWT", "client-authentication+jwt"];

    private readonly JsonWebTokenHandler _handler = new();
    private readonly string _issuer;

    /// <summary>Makes the check.</summary>
    /// <param name="issuer">What <c>aud</c> must be.</param>
    public LibraryCheck(string issuer) => _issuer = issuer;

    /// <summary>Checks an assertion of <c>key-job</c> or <c>mac-job</c>.</summary>
    /// <param name="text">The assertion.</param>
    /// <param name="now">The time to judge by.</param>
    /// <param name="client">The client, where it is right.</param>
    /// <returns>Why it is refused, or <see langword="null"/>.</returns>
    public string? Refuses(string text, DateTimeOffset now, out string? client)
    {
        client = null;
        JsonWebToken token;
        try
        {
            token = new JsonWebToken(text);
            client = token.Subject;
        }
        catch (Exception fault) when (fault is ArgumentException or SecurityTokenException or FormatException or InvalidOperationException)
        {
            return fault.GetType().Name;
        }

        if (client is not ("key-job" or "mac-job"))
        {
            return "no such client";
        }

        var validated = _handler.ValidateTokenAsync(token, Parameters(client, now)).GetAwaiter().GetResult();
        return validated.IsValid ? null : validated.Exception.GetType().Name;
    }

    /// <summary>The <c>jti</c> of an assertion that is right.</summary>
    public static string TokenId(string text) => new JsonWebToken(text).Id;

    /// <summary>When an assertion that is right is right no longer, to the second.</summary>
    public static DateTimeOffset Ends(string text) => new JsonWebToken(text).ValidTo + Skew;

    private TokenValidationParameters Parameters(string client, DateTimeOffset now) => new()
    {
        ValidIssuer = client,
        ValidAudience = _issuer,
        IssuerSigningKeys = client == "key-job" ? Keys : [new SymmetricSecurityKey(Encoding.UTF8.GetBytes(Corpus.MacSecret))],
        ValidAlgorithms = client == "key-job" ? AssertionAlgorithms.PrivateKey : ["HS256", "HS384", "HS512"],
        RequireExpirationTime = true,
        RequireSignedTokens = true,
        TypeValidator = (type, _, _) => string.IsNullOrEmpty(type) || s_types.Contains(type, StringComparer.OrdinalIgnoreCase)
            ? type
            : throw new SecurityTokenInvalidTypeException("Another typ."),
        LifetimeValidator = (notBefore, expires, _, _) => expires > (now - Skew).UtcDateTime && (notBefore is null || notBefore <= (now + Skew).UtcDateTime),
    };

    private static ImmutableArray<SecurityKey> Keys { get; } =
    [
        new RsaSecurityKey(Corpus.Rsa.ExportParameters(includePrivateParameters: false)) { KeyId = "1" },
        new ECDsaSecurityKey(System.Security.Cryptography.ECDsa.Create(Corpus.Ec.ExportParameters(includePrivateParameters: false))) { KeyId = "2" },
    ];
}
