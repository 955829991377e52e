using System.Buffers.Text;
using System.Collections.Concurrent;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.IdentityModel.JsonWebTokens;
using Microsoft.IdentityModel.Tokens;

namespace CatalogApi;

/// <summary>
/// A token that is bound to a key (DPoP, RFC 9449 §7) is good only with a proof of that key, made for this request and this token (RFC 9449 §4.3).
/// Each is good once.
/// </summary>
/// <remarks>The used ones are kept in memory: where the API runs several times, they belong into a store that all of them have.</remarks>
/// <param name="address">Where clients reach the API, such as https://api.example.com; <see langword="null"/> where it is where it listens.</param>
/// <param name="clock">The clock.</param>
internal sealed class DPoPBinding(string? address, TimeProvider clock)
{
    private const string Scheme = "DPoP ";

    // How old a proof may be, and how far the clock of the client may be ahead.
    private static readonly TimeSpan s_age = TimeSpan.FromMinutes(1);
    private static readonly TimeSpan s_skew = TimeSpan.FromSeconds(30);

    private static readonly JsonWebTokenHandler s_reader = new();

    // Until when each is kept, by the clock.
    private readonly ConcurrentDictionary<(string Key, string Id), DateTimeOffset> _used = new();
    private DateTimeOffset _swept;

    /// <summary>The algorithms that a proof may be signed by; all with a public key.</summary>
    public static string[] Algorithms { get; } = ["ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512"];

    /// <summary>Whether the request has its token by the scheme <c>DPoP</c>.</summary>
    public static bool IsSent(HttpRequest request) => request.Headers.Authorization.ToString().StartsWith(Scheme, StringComparison.OrdinalIgnoreCase);

    /// <summary>The token of such a request, which JwtBearer does not look for.</summary>
    public static string Token(HttpRequest request) => request.Headers.Authorization.ToString()[Scheme.Length..].Trim();

    /// <summary>Whether the request proves the key that the token is bound to.</summary>
    /// <param name="thumbprint">The <c>jkt</c> of the token.</param>
    /// <param name="token">The token.</param>
    /// <param name="request">The request.</param>
    public async Task<bool> Holds(JsonElement thumbprint, string token, HttpRequest request)
    {
        if (request.Headers["DPoP"] is not [{ Length: > 0 and <= 8192 } text] || Read(text) is not { } proof
            || ReadKey(proof) is not { } key || !thumbprint.ValueEquals(key.Kid))
        {
            return false;
        }

        var signed = await s_reader.ValidateTokenAsync(proof, new TokenValidationParameters
        {
            IssuerSigningKey = key,
            ValidAlgorithms = Algorithms,
            ValidTypes = ["dpop+jwt"],
            ValidateIssuer = false,
            ValidateAudience = false,
            ValidateLifetime = false,
            RequireExpirationTime = false,
        });
        var now = clock.GetUtcNow();
        return signed.IsValid
            && Is(proof, "htm", request.Method)
            && IsThisAddress(proof, request)
            && Is(proof, "ath", Base64Url.EncodeToString(SHA256.HashData(Encoding.ASCII.GetBytes(token))))
            && proof.TryGetPayloadValue<long>("iat", out var iat)
            && iat <= (now + s_skew).ToUnixTimeSeconds() && iat >= (now - s_age).ToUnixTimeSeconds()
            && proof.TryGetPayloadValue<string>("jti", out var id) && id is { Length: > 0 and <= 256 }
            && IsFirstUse((thumbprint.GetString()!, id), now);
    }

    private static JsonWebToken? Read(string text)
    {
        try
        {
            return text.Count(character => character == '.') == 2 ? s_reader.ReadJsonWebToken(text) : null;
        }
        catch (ArgumentException)
        {
            return null;
        }
    }

    // Without a certificate: the library would verify with the key of that, and the thumbprint is of the other one. With its thumbprint (RFC 7638) as its kid: what the sender calls it does not count.
    // Nor with what must be understood (crit, RFC 7515 §4.1.11), of which the library says nothing.
    private static JsonWebKey? ReadKey(JsonWebToken proof)
    {
        try
        {
            if (proof.TryGetHeaderValue<JsonElement>("crit", out _) || !proof.TryGetHeaderValue<JsonElement>("jwk", out var jwk) || jwk.ValueKind != JsonValueKind.Object
                || new JsonWebKey(jwk.GetRawText()) is not { Kty: "EC" or "RSA", HasPrivateKey: false, X5c.Count: 0 } key)
            {
                return null;
            }

            key.Kid = Base64UrlEncoder.Encode(key.ComputeJwkThumbprint());
            return key;
        }
        catch (ArgumentException)
        {
            return null;
        }
    }

    private static bool Is(JsonWebToken proof, string claim, string value)
        => proof.TryGetPayloadValue<string>(claim, out var sent) && string.Equals(sent, value, StringComparison.Ordinal);

    // Without query and fragment. Never by the Host of the request: a server that was given token and proof could pass both on with its own name there.
    private bool IsThisAddress(JsonWebToken proof, HttpRequest request)
        => proof.TryGetPayloadValue<string>("htu", out var text) && Uri.TryCreate(text, UriKind.Absolute, out var sent) && sent.UserInfo.Length == 0
            && Addresses(request).Any(server => Uri.TryCreate($"{server.TrimEnd('/')}{request.PathBase}{request.Path}", UriKind.Absolute, out var own)
                && Uri.Compare(sent, own, UriComponents.SchemeAndServer | UriComponents.Path, UriFormat.UriEscaped, StringComparison.Ordinal) == 0);

    private IEnumerable<string> Addresses(HttpRequest request) => address is not null
        ? [address]
        : request.HttpContext.RequestServices.GetRequiredService<IServer>().Features.GetRequiredFeature<IServerAddressesFeature>().Addresses;

    private bool IsFirstUse((string Key, string Id) use, DateTimeOffset now)
    {
        if (now - _swept > s_age)
        {
            _swept = now;
            foreach (var (old, until) in _used)
            {
                if (until < now)
                {
                    _used.TryRemove(old, out _);
                }
            }
        }

        return _used.TryAdd(use, now + s_age + s_skew + TimeSpan.FromSeconds(1));
    }
}
