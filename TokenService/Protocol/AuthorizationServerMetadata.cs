using System.Collections.Generic;

namespace TokenService.Protocol;

/// <summary>The metadata document (RFC 8414 §2). Every URL is made from the issuer, never from the request.</summary>
public sealed record AuthorizationServerMetadata
{
    /// <summary><c>issuer</c>: the <c>iss</c> of every token.</summary>
    public required string Issuer { get; init; }

    /// <summary><c>token_endpoint</c>.</summary>
    public required string TokenEndpoint { get; init; }

    /// <summary><c>introspection_endpoint</c>.</summary>
    public required string IntrospectionEndpoint { get; init; }

    /// <summary><c>revocation_endpoint</c>.</summary>
    public required string RevocationEndpoint { get; init; }

    /// <summary><c>jwks_uri</c>.</summary>
    public required string JwksUri { get; init; }

    /// <summary><c>grant_types_supported</c>.</summary>
    public required IReadOnlyList<string> GrantTypesSupported { get; init; }

    /// <summary><c>scopes_supported</c>: every scope of every resource.</summary>
    public required IReadOnlyList<string> ScopesSupported { get; init; }

    /// <summary><c>response_types_supported</c>: always empty, since there is no authorization endpoint.</summary>
    public IReadOnlyList<string> ResponseTypesSupported { get; } = [];

    /// <summary><c>token_endpoint_auth_methods_supported</c>.</summary>
    public required IReadOnlyList<string> TokenEndpointAuthMethodsSupported { get; init; }

    /// <summary><c>token_endpoint_auth_signing_alg_values_supported</c>: what client assertions may be signed with.</summary>
    public required IReadOnlyList<string> TokenEndpointAuthSigningAlgValuesSupported { get; init; }

    /// <summary><c>dpop_signing_alg_values_supported</c> (RFC 9449 §5.1).</summary>
    public required IReadOnlyList<string> DpopSigningAlgValuesSupported { get; init; }

    /// <summary><c>tls_client_certificate_bound_access_tokens</c> (RFC 8705 §3.3): whether tokens can be bound to a certificate; left out where they cannot.</summary>
    public bool? TlsClientCertificateBoundAccessTokens { get; init; }

    /// <summary><c>mtls_endpoint_aliases</c> (RFC 8705 §5): where clients with a certificate go instead; left out where that is the same.</summary>
    public EndpointAliases? MtlsEndpointAliases { get; init; }

    /// <summary><c>introspection_endpoint_auth_methods_supported</c>: the same, since a client authenticates itself alike everywhere.</summary>
    public IReadOnlyList<string> IntrospectionEndpointAuthMethodsSupported => TokenEndpointAuthMethodsSupported;

    /// <summary><c>introspection_endpoint_auth_signing_alg_values_supported</c>.</summary>
    public IReadOnlyList<string> IntrospectionEndpointAuthSigningAlgValuesSupported => TokenEndpointAuthSigningAlgValuesSupported;

    /// <summary><c>revocation_endpoint_auth_methods_supported</c>.</summary>
    public IReadOnlyList<string> RevocationEndpointAuthMethodsSupported => TokenEndpointAuthMethodsSupported;

    /// <summary><c>revocation_endpoint_auth_signing_alg_values_supported</c>.</summary>
    public IReadOnlyList<string> RevocationEndpointAuthSigningAlgValuesSupported => TokenEndpointAuthSigningAlgValuesSupported;
}

/// <summary>The endpoints that clients authenticate at, under another address (RFC 8705 §5).</summary>
/// <param name="TokenEndpoint"><c>token_endpoint</c>.</param>
/// <param name="IntrospectionEndpoint"><c>introspection_endpoint</c>.</param>
/// <param name="RevocationEndpoint"><c>revocation_endpoint</c>.</param>
public sealed record EndpointAliases(string TokenEndpoint, string IntrospectionEndpoint, string RevocationEndpoint);
