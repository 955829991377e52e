using System;
using System.Collections.Immutable;
using System.Linq;
using TokenService.Protocol;

namespace TokenService.Clients;

/// <summary>
/// What somebody asks to register for a client, by a file or a command: RFC 7591 §2 client metadata and members of our own. Not
/// checked yet (<see cref="ClientMetadataRules"/>).
/// </summary>
public sealed record ClientMetadata
{
    /// <summary><c>client_id</c>.</summary>
    public string? ClientId { get; init; }

    /// <summary><c>client_name</c>.</summary>
    public string? ClientName { get; init; }

    /// <summary><c>grant_types</c>; the client credentials grant where left out.</summary>
    public ImmutableArray<string> GrantTypes { get; init; } = [Protocol.GrantTypes.ClientCredentials];

    /// <summary><c>token_endpoint_auth_method</c>.</summary>
    public string TokenEndpointAuthMethod { get; init; } = AuthenticationMethods.ClientSecretBasic;

    /// <summary><c>scope</c>: names separated by single spaces.</summary>
    public string? Scope { get; init; }

    /// <summary><c>access_token_lifetime</c> in seconds.</summary>
    public long? AccessTokenLifetime { get; init; }

    /// <summary><c>token_reuse</c> in seconds.</summary>
    public long? TokenReuse { get; init; }

    /// <summary><c>client_secret</c>, one or several, in plain text.</summary>
    public ImmutableArray<Secret> ClientSecrets { get; init; } = [];

    /// <summary><c>client_secret_hash</c>, one or several.</summary>
    public ImmutableArray<ClientSecretHash> ClientSecretHashes { get; init; } = [];

    /// <summary><c>client_secret_expires_at</c> in seconds since 1970, 0 for never; only beside one single secret or hash.</summary>
    public long? ClientSecretExpiresAt { get; init; }

    /// <summary><c>jwks</c>, as far as it could be read (<see cref="ClientKeyReader"/>); <see langword="null"/> where left out.</summary>
    public ImmutableArray<ClientKey>? Jwks { get; init; }

    /// <summary><c>jwks_uri</c>.</summary>
    public string? JwksUri { get; init; }

    /// <summary><c>token_endpoint_auth_signing_alg</c>.</summary>
    public string? TokenEndpointAuthSigningAlg { get; init; }

    /// <summary><c>federation</c>, as far as it could be read.</summary>
    public ImmutableArray<FederationRule> Federation { get; init; } = [];

    /// <summary><c>spiffe_id</c>.</summary>
    public string? SpiffeId { get; init; }

    /// <summary><c>tls_client_auth_subject_dn</c> and the others of <see cref="CertificateName.Members"/>, as many as were given.</summary>
    public ImmutableArray<CertificateName> CertificateNames { get; init; } = [];

    /// <summary><c>dpop_bound_access_tokens</c>.</summary>
    public bool DPoPBoundAccessTokens { get; init; }

    /// <summary><c>tls_client_certificate_bound_access_tokens</c>.</summary>
    public bool TlsClientCertificateBoundAccessTokens { get; init; }

    /// <summary><c>introspection</c> as <see langword="true"/>: it may ask about the tokens for every resource.</summary>
    public bool IntrospectsAll { get; init; }

    /// <summary><c>introspection</c> as a list: the URIs of the resources for which it may ask about tokens.</summary>
    public ImmutableArray<string> IntrospectedResources { get; init; } = [];

    /// <summary>The client that this describes. Only for metadata that passed <see cref="ClientMetadataRules"/>.</summary>
    public Client ToClient(Origin origin) => new()
    {
        ClientId = ClientId ?? throw new InvalidOperationException("The metadata was not checked."),
        Name = ClientName,
        AuthenticationMethod = TokenEndpointAuthMethod,
        GrantTypes = GrantTypes,
        Scopes = Scope is null ? [] : ScopeSyntax.Split(Scope)!.Value,
        AccessTokenLifetime = Seconds(AccessTokenLifetime),
        TokenReuse = Seconds(TokenReuse),
        Keys = Jwks ?? [],
        JwksUri = JwksUri is null ? null : new Uri(JwksUri),
        AssertionAlgorithm = TokenEndpointAuthSigningAlg,
        Federation = SpiffeId is null ? Federation
            : [new FederationRule(Clients.SpiffeId.TrustDomainOfRegistered(SpiffeId)!, [new ClaimRule("sub", [SpiffeId])])],
        CertificateName = CertificateNames.FirstOrDefault(),
        DPoPBound = DPoPBoundAccessTokens,
        CertificateBound = TlsClientCertificateBoundAccessTokens,
        IntrospectsAll = IntrospectsAll,
        IntrospectedResources = IntrospectedResources,
        Secrets =
        [
            .. ClientSecrets
                .Select(secret => new ClientSecret(ClientSecret.Digest(secret), Time(ClientSecretExpiresAt), origin)
                {
                    // Only an HMAC needs the secret itself.
                    Recoverable = TokenEndpointAuthMethod == AuthenticationMethods.ClientSecretJwt ? secret : null,
                })
                .Concat(ClientSecretHashes.Select(hash =>
                    new ClientSecret(ClientSecret.ParseHash(hash.Hash)!.Value, Time(hash.ExpiresAt ?? ClientSecretExpiresAt), origin)))
                .DistinctBy(secret => Convert.ToHexString(secret.Hash.AsSpan())),
        ],
        Origin = origin,
    };

    private static TimeSpan? Seconds(long? seconds) => seconds is { } known ? TimeSpan.FromSeconds(known) : null;

    private static DateTimeOffset? Time(long? seconds) => seconds is null or 0 ? null : DateTimeOffset.FromUnixTimeSeconds(seconds.Value);
}

/// <summary>One <c>client_secret_hash</c>.</summary>
/// <param name="Hash"><c>sha256:</c> and the digest in base64url.</param>
/// <param name="ExpiresAt">Seconds since 1970; 0 or none for never.</param>
public sealed record ClientSecretHash(string Hash, long? ExpiresAt);

/// <summary>What somebody asks to register for a resource. Not checked yet (<see cref="ResourceMetadataRules"/>).</summary>
public sealed record ResourceMetadata
{
    /// <summary><c>resource</c>: its URI.</summary>
    public string? Resource { get; init; }

    /// <summary><c>name</c>.</summary>
    public string? Name { get; init; }

    /// <summary><c>scopes</c>.</summary>
    public ImmutableArray<ScopeMetadata> Scopes { get; init; } = [];

    /// <summary>The resource that this describes. Only for metadata that passed <see cref="ResourceMetadataRules"/>.</summary>
    public Resource ToResource(Origin origin) => new()
    {
        Uri = Resource ?? throw new InvalidOperationException("The metadata was not checked."),
        Name = Name,
        Scopes = [.. Scopes.Select(scope => new Scope(scope.Name!, scope.Description))],
        Origin = origin,
    };
}

/// <summary>One scope of <see cref="ResourceMetadata"/>.</summary>
/// <param name="Name"><c>name</c>.</param>
/// <param name="Description"><c>description</c>.</param>
public sealed record ScopeMetadata(string? Name, string? Description);
