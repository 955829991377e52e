using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using System.Text.Json.Nodes;
using System.Text.Json.Serialization;
using TokenService.Administration;
using TokenService.Clients;
using TokenService.Keys;
using TokenService.Operations;
using TokenService.Protocol;

namespace TokenService.Commands;

/// <summary>What <c>--json</c> prints; members are named as in the declarative file.</summary>
internal static class Listing
{
    public static string Word(Origin origin) => origin == Origin.File ? "file" : "command";

    public static string State(Client client) => client.Disabled ? "disabled" : "enabled";

    /// <summary>A time for people, to the second, in UTC.</summary>
    public static string Time(DateTimeOffset? time, string otherwise) => time?.ToString("u", CultureInfo.InvariantCulture) ?? otherwise;

    public static ResourceListing Of(Resource resource) => new()
    {
        Resource = resource.Uri,
        Name = resource.Name,
        Scopes = [.. resource.Scopes.Select(scope => new ScopeListing(scope.Name, scope.Description))],
        RegisteredBy = Word(resource.Origin),
    };

    public static ClientListing Of(Client client) => new()
    {
        ClientId = client.ClientId,
        ClientName = client.Name,
        GrantTypes = client.GrantTypes,
        TokenEndpointAuthMethod = client.AuthenticationMethod,
        Scope = client.Scopes.IsEmpty ? null : string.Join(' ', client.Scopes),
        AccessTokenLifetime = (long?)client.AccessTokenLifetime?.TotalSeconds,
        TokenReuse = (long?)client.TokenReuse?.TotalSeconds,
        Jwks = client.Keys.IsEmpty ? null : new Jwks { Keys = [.. client.Keys.Select(key => key.Jwk)] },
        JwksUri = client.JwksUri?.OriginalString,
        TokenEndpointAuthSigningAlg = client.AssertionAlgorithm,
        Federation = client.SpiffeId is null && !client.Federation.IsEmpty ? JsonNode.Parse(FederationRule.Write(client.Federation)) : null,
        SpiffeId = client.SpiffeId,
        TlsClientAuthSubjectDn = Name(client, CertificateName.SubjectDn),
        TlsClientAuthSanDns = Name(client, CertificateName.SanDns),
        TlsClientAuthSanUri = Name(client, CertificateName.SanUri),
        TlsClientAuthSanIp = Name(client, CertificateName.SanIp),
        TlsClientAuthSanEmail = Name(client, CertificateName.SanEmail),
        DpopBoundAccessTokens = client.DPoPBound ? true : null,
        TlsClientCertificateBoundAccessTokens = client.CertificateBound ? true : null,
        Introspection = client.IntrospectsAll ? true
            : client.IntrospectedResources.IsEmpty ? null : new JsonArray([.. client.IntrospectedResources.Select(uri => (JsonNode)uri)]),
        RegisteredBy = Word(client.Origin),
        Disabled = client.Disabled,
        ClientIdIssuedAt = client.IssuedAt?.ToUnixTimeSeconds(),
    };

    private static string? Name(Client client, string member) => client.CertificateName is { } name && name.Member == member ? name.Value : null;

    public static ClientListing Of(ClientInUse client) => Of(client.Client) with { LastUsedAt = client.LastUsedAt?.ToUnixTimeSeconds() };

    /// <summary>With each of its credentials.</summary>
    public static ClientListing All(ClientInUse client) => Of(client) with
    {
        Secrets = [.. client.Secrets.Select(entry => new SecretListing(
            entry.Secret.Id, entry.Secret.ExpiresAt?.ToUnixTimeSeconds(), Word(entry.Secret.Origin), entry.LastUsedAt?.ToUnixTimeSeconds()))],
        Keys = [.. client.Keys.Select(entry => new ClientKeyListing(entry.Id, entry.Algorithms, entry.LastUsedAt?.ToUnixTimeSeconds()))],
    };

    public static string Word(KeyState state) => state switch
    {
        KeyState.Published => "published",
        KeyState.Signing => "signing",
        KeyState.Retiring => "retiring",
        _ => "gone",
    };

    public static KeyListing Of(ScheduledKey key) => new(
        key.Key.Kid,
        key.Key.Algorithm,
        Word(key.State),
        key.Key.CreatedAt.ToUnixTimeSeconds(),
        key.Key.SignsFrom.ToUnixTimeSeconds(),
        key.GoneAt?.ToUnixTimeSeconds());

    public static RefusalListing Of(Refusal refusal) => new()
    {
        TraceId = refusal.TraceId,
        Time = refusal.Timestamp,
        Endpoint = refusal.Endpoint,
        Address = refusal.Address,
        ClientId = refusal.ClientId,
        Error = refusal.Error,
        Check = refusal.Failed.Name,
        Expected = refusal.Failed.Expected,
        Came = refusal.Failed.Came,
    };

    public static FaultListing Of(FailedCheck fault) => new(fault.Name, fault.Expected, fault.Came);

    public static PlanListing Of(ApplyPlan plan, bool dryRun) => new()
    {
        DryRun = dryRun,
        Changes = [.. plan.Changes.Select(change => new ChangeListing(change.Kind, change.Entry, change.Id, change.Members, change.LastUsedAt?.ToUnixTimeSeconds()))],
    };
}

internal sealed record ResourceListing
{
    public required string Resource { get; init; }

    public string? Name { get; init; }

    public required IReadOnlyList<ScopeListing> Scopes { get; init; }

    public required string RegisteredBy { get; init; }
}

internal sealed record ScopeListing(string Name, string? Description);

internal sealed record ClientListing
{
    public required string ClientId { get; init; }

    public string? ClientName { get; init; }

    public required IReadOnlyList<string> GrantTypes { get; init; }

    public required string TokenEndpointAuthMethod { get; init; }

    public string? Scope { get; init; }

    public long? AccessTokenLifetime { get; init; }

    public long? TokenReuse { get; init; }

    public Jwks? Jwks { get; init; }

    public string? JwksUri { get; init; }

    public string? TokenEndpointAuthSigningAlg { get; init; }

    /// <summary>As in the declarative file, each claim with an array of values.</summary>
    public JsonNode? Federation { get; init; }

    public string? SpiffeId { get; init; }

    public string? TlsClientAuthSubjectDn { get; init; }

    public string? TlsClientAuthSanDns { get; init; }

    public string? TlsClientAuthSanUri { get; init; }

    public string? TlsClientAuthSanIp { get; init; }

    public string? TlsClientAuthSanEmail { get; init; }

    public bool? DpopBoundAccessTokens { get; init; }

    public bool? TlsClientCertificateBoundAccessTokens { get; init; }

    /// <summary><see langword="true"/>, or an array of resources.</summary>
    public JsonNode? Introspection { get; init; }

    /// <summary>Only of one that was made just now.</summary>
    public string? ClientSecret { get; init; }

    public required string RegisteredBy { get; init; }

    public required bool Disabled { get; init; }

    public long? ClientIdIssuedAt { get; init; }

    public long? LastUsedAt { get; init; }

    public IReadOnlyList<SecretListing>? Secrets { get; init; }

    public IReadOnlyList<ClientKeyListing>? Keys { get; init; }
}

internal sealed record SecretListing(string Id, long? ExpiresAt, string RegisteredBy, long? LastUsedAt);

internal sealed record ClientKeyListing(string Kid, IReadOnlyList<string>? Algorithms, long? LastUsedAt);

internal sealed record PlanListing
{
    public required bool DryRun { get; init; }

    public required IReadOnlyList<ChangeListing> Changes { get; init; }
}

internal sealed record ChangeListing(string Change, string Entry, string Id, IReadOnlyList<string> Members, long? LastUsedAt);

internal sealed record AssertionListing(string ClientAssertionType, string ClientAssertion);

/// <summary>Times are seconds since 1970, as in the declarative file.</summary>
internal sealed record KeyListing(string Kid, string Algorithm, string State, long CreatedAt, long SignsFrom, long? GoneAt);

internal sealed record RetiredListing(string Retired, KeyListing Signing);

internal sealed record RewrapListing(int SigningKeys, int ClientSecrets, string MasterKeyFile, string? PreviousMasterKeyFile);

internal sealed record RefusalListing
{
    public required string TraceId { get; init; }

    /// <summary>UTC, to the millisecond (RFC 3339).</summary>
    public required string Time { get; init; }

    public required string Endpoint { get; init; }

    public required string Address { get; init; }

    public string? ClientId { get; init; }

    public required string Error { get; init; }

    public required string Check { get; init; }

    public required string Expected { get; init; }

    public required string Came { get; init; }
}

/// <summary>What <c>audit verify</c> found; a fault only where there is one.</summary>
internal sealed record AuditListing
{
    public required long Records { get; init; }

    public long? FirstSeq { get; init; }

    public long? LastSeq { get; init; }

    public string? LastHash { get; init; }

    /// <summary>The last record with a signature that holds.</summary>
    public long? SignedSeq { get; init; }

    public required long Chains { get; init; }

    public required long OpenRuns { get; init; }

    /// <summary>How many records stand behind the last signature of their chain.</summary>
    public required long NotSigned { get; init; }

    public required long TornBytes { get; init; }

    public required bool Ended { get; init; }

    public string? Fault { get; init; }

    public string? FaultFile { get; init; }

    public long? FaultLine { get; init; }

    public long? FaultSeq { get; init; }
}

internal sealed record FaultListing(string Check, string Expected, string Came);

[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(ResourceListing))]
[JsonSerializable(typeof(ResourceListing[]))]
[JsonSerializable(typeof(ClientListing))]
[JsonSerializable(typeof(ClientListing[]))]
[JsonSerializable(typeof(PlanListing))]
[JsonSerializable(typeof(AssertionListing))]
[JsonSerializable(typeof(KeyListing))]
[JsonSerializable(typeof(KeyListing[]))]
[JsonSerializable(typeof(RetiredListing))]
[JsonSerializable(typeof(RewrapListing))]
[JsonSerializable(typeof(RefusalListing[]))]
[JsonSerializable(typeof(FaultListing[]))]
[JsonSerializable(typeof(AuditListing))]
internal sealed partial class ListingJson : JsonSerializerContext;
