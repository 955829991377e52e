using System;
using System.Collections.Immutable;
using TokenService.Protocol;

namespace TokenService.Clients;

/// <summary>A registered client, as it is stored and as requests see it. Its metadata is that of RFC 7591 §2.</summary>
/// <remarks>
/// This room holds who may ask for tokens and what for: clients, resources, the snapshot of both, and what registration accepts.
/// </remarks>
public sealed record Client
{
    /// <summary><c>client_id</c>: 1 to 256 printable ASCII characters.</summary>
    public required string ClientId { get; init; }

    /// <summary><c>client_name</c>: for people.</summary>
    public string? Name { get; init; }

    /// <summary><c>token_endpoint_auth_method</c>: the only method that is accepted from this client.</summary>
    public required string AuthenticationMethod { get; init; }

    /// <summary><c>grant_types</c>; empty for a client that never asks for tokens.</summary>
    public required ImmutableArray<string> GrantTypes { get; init; }

    /// <summary><c>scope</c>: the scopes that it may be granted, in the order of registration.</summary>
    public required ImmutableArray<string> Scopes { get; init; }

    /// <summary><c>access_token_lifetime</c>: how long its tokens live, where that is not the service's default.</summary>
    public TimeSpan? AccessTokenLifetime { get; init; }

    /// <summary><c>token_reuse</c>: for how long the same request gets the same token again, in whole seconds; <see langword="null"/> for never.</summary>
    public TimeSpan? TokenReuse { get; init; }

    /// <summary>Its secrets; each of them is good until it expires.</summary>
    public ImmutableArray<ClientSecret> Secrets { get; init; } = [];

    /// <summary><c>jwks</c>: the public keys that its assertions are signed with, where they are registered with it.</summary>
    public ImmutableArray<ClientKey> Keys { get; init; } = [];

    /// <summary><c>jwks_uri</c>: where its public keys are fetched from, where they are not registered with it.</summary>
    public Uri? JwksUri { get; init; }

    /// <summary><c>token_endpoint_auth_signing_alg</c>: the only algorithm that is accepted from it, where it is narrowed to one.</summary>
    public string? AssertionAlgorithm { get; init; }

    /// <summary>
    /// <c>federation</c>: which tokens of trusted issuers stand for it, each of these alone. For <c>spiffe_id</c> one rule, that of its trust domain.
    /// </summary>
    public ImmutableArray<FederationRule> Federation { get; init; } = [];

    /// <summary><c>spiffe_id</c>, where it is registered with one.</summary>
    public string? SpiffeId => AuthenticationMethod == AuthenticationMethods.SpiffeJwt && !Federation.IsEmpty ? Federation[0].Claims[0].Values[0] : null;

    /// <summary>The name that its certificate must have; for <c>tls_client_auth</c>, and only for that.</summary>
    public CertificateName? CertificateName { get; init; }

    /// <summary><c>dpop_bound_access_tokens</c>: whether its tokens are bound to a key that it proves to have, each of them (RFC 9449 §5.2).</summary>
    public bool DPoPBound { get; init; }

    /// <summary><c>tls_client_certificate_bound_access_tokens</c>: whether its tokens are bound to its certificate, each of them (RFC 8705 §3).</summary>
    public bool CertificateBound { get; init; }

    /// <summary><c>introspection</c>: whether it may ask about the tokens for every resource.</summary>
    public bool IntrospectsAll { get; init; }

    /// <summary><c>introspection</c>: the URIs of the resources for which it may ask about tokens, where it is not every one.</summary>
    public ImmutableArray<string> IntrospectedResources { get; init; } = [];

    /// <summary>Whether it is switched off: it gets no tokens.</summary>
    public bool Disabled { get; init; }

    /// <summary><c>client_id_issued_at</c>: when it was registered; none where a build did that which did not note it.</summary>
    public DateTimeOffset? IssuedAt { get; init; }

    /// <summary>Who registered it, and so who may change it.</summary>
    public required Origin Origin { get; init; }
}

/// <summary>What brought an entry into the store: each side leaves the other's alone.</summary>
public enum Origin
{
    /// <summary>A command, such as <c>clients add</c>.</summary>
    Command = 0,

    /// <summary>A declarative file, through <c>apply</c> or <c>ApplyFile</c>.</summary>
    File = 1,
}
