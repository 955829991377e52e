using System;
using System.Net.Http;
using System.Threading;
using System.Threading.Tasks;
using Microsoft.IdentityModel.JsonWebTokens;
using Microsoft.IdentityModel.Tokens;

namespace TokenService.Tests.Support;

/// <summary>A resource server that keeps the JWKS as long as it may, and not one second shorter: an unknown kid makes it fetch nothing.</summary>
internal sealed class CachingVerifier(Func<Task<HttpResponseMessage>> fetch, TimeProvider clock)
{
    private readonly Lock _gate = new();

    private Task<Kept>? _kept;

    public CachingVerifier(RunningService service, TimeProvider clock)
        : this(() => service.Http.GetAsync(new Uri("/.well-known/jwks.json", UriKind.Relative)), clock)
    {
    }

    public int Fetches { get; private set; }

    /// <summary>Whether the signature is right by the keys that it has.</summary>
    public async Task<bool> Checks(string token)
    {
        var keys = (await Keys()).Keys;
        return (await new JsonWebTokenHandler().ValidateTokenAsync(token, new TokenValidationParameters
        {
            IssuerSigningKeys = keys.GetSigningKeys(),
            ValidateIssuer = false,
            ValidateAudience = false,
            ValidateLifetime = false,
            TryAllIssuerSigningKeys = false,
            ValidTypes = ["at+jwt"],
        })).IsValid;
    }

    private Task<Kept> Keys()
    {
        lock (_gate)
        {
            var now = clock.GetUtcNow();
            if (_kept is null || (_kept.IsCompleted && (!_kept.IsCompletedSuccessfully || now >= _kept.Result.Until)))
            {
                Fetches++;
                _kept = Fetch(now);
            }

            return _kept;
        }
    }

    private async Task<Kept> Fetch(DateTimeOffset now)
    {
        using var response = await fetch();
        response.EnsureSuccessStatusCode();
        return new Kept(new JsonWebKeySet(await response.Content.ReadAsStringAsync()), now + response.Headers.CacheControl!.MaxAge!.Value);
    }

    private sealed record Kept(JsonWebKeySet Keys, DateTimeOffset Until);
}
