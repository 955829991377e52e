using System.Collections.Immutable;

namespace TokenService.Protocol;

/// <summary>The grant types of this service (<c>grant_type</c>, RFC 6749 §4).</summary>
public static class GrantTypes
{
    /// <summary>The client credentials grant (RFC 6749 §4.4).</summary>
    public const string ClientCredentials = "client_credentials";

    /// <summary>Token exchange (RFC 8693 §2.1).</summary>
    public const string TokenExchange = "urn:ietf:params:oauth:grant-type:token-exchange";

    /// <summary>Every grant that a client may be registered for.</summary>
    public static ImmutableArray<string> All { get; } = [ClientCredentials, TokenExchange];
}

/// <summary>The kinds of token that are exchanged (RFC 8693 §3).</summary>
public static class TokenTypes
{
    /// <summary>An access token; here one of this service.</summary>
    public const string AccessToken = "urn:ietf:params:oauth:token-type:access_token";
}

/// <summary>How a client authenticates itself (<c>token_endpoint_auth_method</c>, RFC 7591 §2).</summary>
public static class AuthenticationMethods
{
    /// <summary>HTTP Basic (RFC 6749 §2.3.1).</summary>
    public const string ClientSecretBasic = "client_secret_basic";

    /// <summary>The secret in the form (RFC 6749 §2.3.1).</summary>
    public const string ClientSecretPost = "client_secret_post";

    /// <summary>An assertion with an HMAC under the secret (RFC 7523 §2.2, OpenID Connect Core §9).</summary>
    public const string ClientSecretJwt = "client_secret_jwt";

    /// <summary>An assertion signed with the client's private key (RFC 7523 §2.2, OpenID Connect Core §9).</summary>
    public const string PrivateKeyJwt = "private_key_jwt";

    /// <summary>A token of the platform that the client runs on, sent as a client assertion. The name is ours; on the wire it is RFC 7523 §2.2.</summary>
    public const string FederatedJwt = "federated_jwt";

    /// <summary>A SPIFFE JWT-SVID (draft-ietf-oauth-spiffe-client-auth).</summary>
    public const string SpiffeJwt = "spiffe_jwt";

    /// <summary>A certificate under an authority, by its name (RFC 8705 §2.1).</summary>
    public const string TlsClientAuth = "tls_client_auth";

    /// <summary>A certificate with a key of the client's own (RFC 8705 §2.2).</summary>
    public const string SelfSignedTlsClientAuth = "self_signed_tls_client_auth";

    /// <summary>Every method that a client may be registered for.</summary>
    public static ImmutableArray<string> All { get; } =
        [ClientSecretBasic, ClientSecretPost, ClientSecretJwt, PrivateKeyJwt, FederatedJwt, SpiffeJwt, TlsClientAuth, SelfSignedTlsClientAuth];

    /// <summary>Whether a client proves itself by a secret.</summary>
    /// <param name="method">One of <see cref="All"/>.</param>
    public static bool HasSecret(string method) => method is ClientSecretBasic or ClientSecretPost or ClientSecretJwt;

    /// <summary>Whether a client proves itself by the identity of a workload, which an issuer vouches for.</summary>
    /// <param name="method">One of <see cref="All"/>.</param>
    public static bool IsWorkload(string method) => method is FederatedJwt or SpiffeJwt;

    /// <summary>Whether a client proves itself by the certificate of its TLS connection.</summary>
    /// <param name="method">One of <see cref="All"/>.</param>
    public static bool HasCertificate(string method) => method is TlsClientAuth or SelfSignedTlsClientAuth;

    /// <summary>Whether a client is registered with public keys.</summary>
    /// <param name="method">One of <see cref="All"/>.</param>
    public static bool HasKeys(string method) => method is PrivateKeyJwt or SelfSignedTlsClientAuth;
}

/// <summary>The kinds of client assertion (<c>client_assertion_type</c>, RFC 7521 §4.2).</summary>
public static class ClientAssertionTypes
{
    /// <summary>A JWT (RFC 7523 §2.2).</summary>
    public const string JwtBearer = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

    /// <summary>A SPIFFE JWT-SVID (draft-ietf-oauth-spiffe-client-auth).</summary>
    public const string JwtSpiffe = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe";
}

/// <summary>The algorithms that a client assertion may be signed with (RFC 7518 §3.1). <c>none</c> is not among them.</summary>
public static class AssertionAlgorithms
{
    /// <summary>For <c>private_key_jwt</c>.</summary>
    public static ImmutableArray<string> PrivateKey { get; } = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"];

    /// <summary>For <c>client_secret_jwt</c>.</summary>
    public static ImmutableArray<string> Secret { get; } = ["HS256", "HS384", "HS512"];

    /// <summary>All of them.</summary>
    public static ImmutableArray<string> All { get; } = [.. PrivateKey, .. Secret];

    /// <summary>Those that go with a method; none with a method that uses no assertions.</summary>
    /// <param name="method">One of <see cref="AuthenticationMethods"/>.</param>
    public static ImmutableArray<string> Of(string method) => method switch
    {
        AuthenticationMethods.PrivateKeyJwt => PrivateKey,
        AuthenticationMethods.ClientSecretJwt => Secret,
        _ => [],
    };
}

/// <summary>The algorithms that access tokens are signed with (RFC 7518 §3.1).</summary>
public static class SigningAlgorithms
{
    /// <summary>RSASSA-PKCS1-v1_5 with SHA-256.</summary>
    public const string RS256 = "RS256";

    /// <summary>RSASSA-PSS with SHA-256.</summary>
    public const string PS256 = "PS256";

    /// <summary>ECDSA on P-256 with SHA-256.</summary>
    public const string ES256 = "ES256";

    /// <summary>All of them.</summary>
    public static ImmutableArray<string> All { get; } = [RS256, PS256, ES256];
}

/// <summary>The paths of the endpoints, each after the issuer.</summary>
public static class EndpointPaths
{
    /// <summary>The token endpoint (RFC 6749 §3.2).</summary>
    public const string Token = "/oauth2/token";

    /// <summary>The introspection endpoint (RFC 7662 §2).</summary>
    public const string Introspection = "/oauth2/introspect";

    /// <summary>The revocation endpoint (RFC 7009 §2).</summary>
    public const string Revocation = "/oauth2/revoke";

    /// <summary>The public keys (RFC 7517 §5).</summary>
    public const string Jwks = "/.well-known/jwks.json";
}

/// <summary>The parameters of requests.</summary>
public static class Parameters
{
    /// <summary>RFC 6749 §4.4.2.</summary>
    public const string GrantType = "grant_type";

    /// <summary>RFC 6749 §3.3.</summary>
    public const string Scope = "scope";

    /// <summary>RFC 8707 §2; the only one that may be sent more than once.</summary>
    public const string Resource = "resource";

    /// <summary>RFC 6749 §2.3.1.</summary>
    public const string ClientId = "client_id";

    /// <summary>RFC 6749 §2.3.1.</summary>
    public const string ClientSecret = "client_secret";

    /// <summary>RFC 7662 §2.1, RFC 7009 §2.1.</summary>
    public const string Token = "token";

    /// <summary>RFC 7662 §2.1, RFC 7009 §2.1.</summary>
    public const string TokenTypeHint = "token_type_hint";

    /// <summary>RFC 7521 §4.2.</summary>
    public const string ClientAssertion = "client_assertion";

    /// <summary>RFC 7521 §4.2.</summary>
    public const string ClientAssertionType = "client_assertion_type";

    /// <summary>RFC 8693 §2.1.</summary>
    public const string SubjectToken = "subject_token";

    /// <summary>RFC 8693 §2.1.</summary>
    public const string SubjectTokenType = "subject_token_type";

    /// <summary>RFC 8693 §2.1.</summary>
    public const string RequestedTokenType = "requested_token_type";

    /// <summary>RFC 8693 §2.1.</summary>
    public const string ActorToken = "actor_token";

    /// <summary>RFC 8693 §2.1.</summary>
    public const string ActorTokenType = "actor_token_type";

    /// <summary>RFC 8693 §2.1.</summary>
    public const string Audience = "audience";

    /// <summary>All of them. The name of another one may be anything, a secret too.</summary>
    public static ImmutableArray<string> Known { get; } =
    [
        GrantType, Scope, Resource, ClientId, ClientSecret, Token, TokenTypeHint, ClientAssertion, ClientAssertionType,
        SubjectToken, SubjectTokenType, RequestedTokenType, ActorToken, ActorTokenType, Audience,
    ];
}
