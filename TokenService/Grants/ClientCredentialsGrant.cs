using System;
using TokenService.Authentication;
using TokenService.Clients;
using TokenService.Keys;
using TokenService.Protocol;
using TokenService.Scopes;
using TokenService.Tokens;

namespace TokenService.Grants;

/// <summary>The client credentials grant (RFC 6749 §4.4): the client asks for itself.</summary>
/// <param name="defaultLifetime">How long a token lives where the client's registration does not say.</param>
public sealed class ClientCredentialsGrant(TimeSpan defaultLifetime) : IGrant
{
    /// <inheritdoc/>
    public string GrantType => GrantTypes.ClientCredentials;

    /// <inheritdoc/>
    public Result<GrantedToken> Decide(TokenRequest request, AuthenticatedClient client, Registry registry, SigningKeyRing keys, DateTimeOffset now)
    {
        if (ScopePolicy.Decide(client.Client, request.Scope, request.Resources, registry).Refused(out var error, out var granted))
        {
            return error;
        }

        var lifetime = client.Client.AccessTokenLifetime ?? defaultLifetime;
        return new GrantedToken
        {
            ClientId = client.Client.ClientId,
            Scopes = granted.Names,
            Audience = granted.Audience,
            Lifetime = lifetime,

            // The default may have become shorter since the client was registered.
            Reuse = client.Client.TokenReuse is { } reuse && reuse > lifetime / 10 ? lifetime / 10 : client.Client.TokenReuse,
        };
    }
}
