using System;
using System.Collections.Generic;
using System.Collections.Immutable;
using System.Linq;
using System.Threading.Tasks;
using Microsoft.AspNetCore.Http;
using Microsoft.Net.Http.Headers;
using TokenService.Grants;
using TokenService.Protocol;
using TokenService.Storage;

namespace TokenService.Endpoints;

/// <summary>What clients and resource servers read to find and trust the service: metadata (RFC 8414) and public keys (RFC 7517).</summary>
/// <param name="store">Resources and keys; taken once for each request.</param>
/// <param name="grants">The grants that the service has.</param>
/// <param name="issuer">The issuer, known once the service listens.</param>
/// <param name="mtls">What is offered to clients with a certificate; <see langword="null"/> where nothing is.</param>
/// <param name="jwksMaxAge">How long a verifier may keep the keys: shorter than a key is published before it signs.</param>
public sealed class DiscoveryEndpoint(StoreWatch store, IEnumerable<IGrant> grants, Func<string> issuer, MtlsOffer? mtls, TimeSpan jwksMaxAge)
{
    private readonly ImmutableArray<string> _methods =
    [
        .. AuthenticationMethods.All.Where(method => !AuthenticationMethods.HasCertificate(method)
            || (mtls is not null && (mtls.HasAuthorities || method != AuthenticationMethods.TlsClientAuth))),
    ];

    private readonly ImmutableArray<string> _grantTypes = [.. grants.Select(grant => grant.GrantType)];

    /// <summary>Answers with the metadata document.</summary>
    public Task Metadata(HttpContext http)
    {
        var registry = store.Current.Registry;
        var metadata = new AuthorizationServerMetadata
        {
            Issuer = issuer(),
            TokenEndpoint = issuer() + EndpointPaths.Token,
            IntrospectionEndpoint = issuer() + EndpointPaths.Introspection,
            RevocationEndpoint = issuer() + EndpointPaths.Revocation,
            JwksUri = issuer() + EndpointPaths.Jwks,
            GrantTypesSupported = _grantTypes,
            ScopesSupported = [.. registry.Resources.SelectMany(resource => resource.Scopes).Select(scope => scope.Name).Order(StringComparer.Ordinal)],
            TokenEndpointAuthMethodsSupported = _methods,
            TokenEndpointAuthSigningAlgValuesSupported = AssertionAlgorithms.All,
            DpopSigningAlgValuesSupported = AssertionAlgorithms.PrivateKey,
            TlsClientCertificateBoundAccessTokens = mtls is null ? null : true,
            MtlsEndpointAliases = mtls?.Url is { } url ? new(url + EndpointPaths.Token, url + EndpointPaths.Introspection, url + EndpointPaths.Revocation) : null,
        };
        return OAuthResults.Write(http, 200, metadata, ProtocolJson.Default.AuthorizationServerMetadata);
    }

    /// <summary>
    /// Answers with the JWKS, or 304 where the caller has it already; 503 where it may lack a key that others sign with by now.
    /// </summary>
    public Task Jwks(HttpContext http)
    {
        if (store.Take().Refused(out var error, out var snapshot))
        {
            return OAuthResults.Write(http, error, OAuthResults.TraceId(http));
        }

        var keys = snapshot.Keys;
        var headers = http.Response.GetTypedHeaders();
        headers.CacheControl = new CacheControlHeaderValue { Public = true, MaxAge = jwksMaxAge };
        headers.ETag = new EntityTagHeaderValue(keys.ETag);
        if (http.Request.GetTypedHeaders().IfNoneMatch.Any(tag => tag.Tag == "*" || tag.Compare(headers.ETag, useStrongComparison: false)))
        {
            http.Response.StatusCode = 304;
            return Task.CompletedTask;
        }

        return OAuthResults.Write(http, 200, keys.Jwks);
    }
}

/// <summary>What is offered to clients with a certificate (RFC 8705).</summary>
/// <param name="HasAuthorities">Whether there are authorities for <c>tls_client_auth</c>.</param>
/// <param name="Url">Under which address their endpoints are, with the path of the issuer; <see langword="null"/> where it is the issuer's.</param>
public sealed record MtlsOffer(bool HasAuthorities, string? Url);
