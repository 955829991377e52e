using System;
using TokenService.Authentication;
using TokenService.Clients;
using TokenService.Keys;
using TokenService.Protocol;
using TokenService.Tokens;

namespace TokenService.Grants;

/// <summary>One grant type: what it decides beyond the steps that all grants share.</summary>
/// <remarks>This room has one file for each grant type. A new one is a file here and a line in <c>Program</c>.</remarks>
public interface IGrant
{
    /// <summary>The <c>grant_type</c> that asks for it.</summary>
    string GrantType { get; }

    /// <summary>Decides whether the client gets a token and which.</summary>
    /// <param name="request">The request.</param>
    /// <param name="client">Who asks; registered for this grant type.</param>
    /// <param name="registry">Which scope belongs to which resource.</param>
    /// <param name="keys">The keys of the service.</param>
    /// <param name="now">The time of the request.</param>
    /// <returns>The token to sign, or a refusal.</returns>
    Result<GrantedToken> Decide(TokenRequest request, AuthenticatedClient client, Registry registry, SigningKeyRing keys, DateTimeOffset now);
}
