using System.Collections.Immutable;
using TokenService.Protocol;

namespace TokenService.Authentication;

/// <summary>A client id and a secret, as they can be read from what was sent.</summary>
/// <param name="ClientId">The client id.</param>
/// <param name="Secret">The secret.</param>
public sealed record CredentialReading(string ClientId, Secret Secret);

/// <summary>What a request sent to prove who the client is.</summary>
/// <param name="Method">The authentication method that this is (<c>token_endpoint_auth_method</c>).</param>
/// <param name="Readings">The ways to read it: one, or two for HTTP Basic. Never none.</param>
public sealed record SentCredentials(string Method, ImmutableArray<CredentialReading> Readings);
