using System;
using System.Collections.Immutable;
using System.Linq;
using FluentValidation;

namespace TokenService.Clients;

/// <summary>What a declarative file says of an issuer of workloads' identities. Not checked yet (<see cref="TrustedIssuerRules"/>).</summary>
public sealed record TrustedIssuerMetadata
{
    /// <summary><c>name</c>.</summary>
    public string? Name { get; init; }

    /// <summary><c>issuer</c>: the <c>iss</c> of its tokens.</summary>
    public string? Issuer { get; init; }

    /// <summary><c>trust_domain</c>: the name of a SPIFFE trust domain, in place of <see cref="Issuer"/>.</summary>
    public string? TrustDomain { get; init; }

    /// <summary><c>jwks</c>, as far as it could be read (<see cref="ClientKeyReader"/>).</summary>
    public ImmutableArray<ClientKey>? Jwks { get; init; }

    /// <summary><c>jwks_uri</c>.</summary>
    public string? JwksUri { get; init; }

    /// <summary><c>spiffe_bundle_endpoint</c>: the URL of the trust bundle.</summary>
    public string? SpiffeBundleEndpoint { get; init; }

    /// <summary><c>spiffe_bundle_file</c>: the path of the trust bundle.</summary>
    public string? SpiffeBundleFile { get; init; }

    /// <summary><c>ca_file</c>.</summary>
    public string? CaFile { get; init; }

    /// <summary><c>bearer_token_file</c>.</summary>
    public string? BearerTokenFile { get; init; }

    /// <summary><c>audience</c>.</summary>
    public string? Audience { get; init; }

    /// <summary>The issuer that this describes. Only for metadata that passed <see cref="TrustedIssuerRules"/>.</summary>
    public TrustedIssuer ToTrustedIssuer() => new()
    {
        Name = Name ?? throw new InvalidOperationException("The metadata was not checked."),
        Issuer = Issuer ?? TrustedIssuer.SpiffeScheme + TrustDomain,
        Audience = Audience,
        Keys = Jwks ?? [],
        KeysAt = (JwksUri ?? SpiffeBundleEndpoint ?? SpiffeBundleFile) is { } place ? new Uri(place) : null,
        CaFile = CaFile,
        BearerTokenFile = BearerTokenFile,
    };
}

/// <summary>What an issuer of workloads' identities may be. Each failure names the member as the declarative file does.</summary>
public sealed class TrustedIssuerRules : AbstractValidator<TrustedIssuerMetadata>
{
    private const string NotWithTrustDomain = "does not go with trust_domain, whose keys are in its trust bundle: spiffe_bundle_endpoint or spiffe_bundle_file";
    private const string OnlyWithTrustDomain = "goes with trust_domain only";

    /// <summary>The rules.</summary>
    public TrustedIssuerRules()
    {
        RuleFor(issuer => issuer.Name)
            .Must(name => name is { Length: > 0 and <= 64 } && name.All(c => char.IsAsciiLetterOrDigit(c) || c is '.' or '-' or '_'))
            .WithMessage("must have 1 to 64 letters, digits, dots, hyphens and underscores")
            .OverridePropertyName("name");

        RuleFor(issuer => issuer.Issuer)
            .Cascade(CascadeMode.Stop)
            .Must((metadata, issuer) => (issuer is null) != (metadata.TrustDomain is null))
            .WithMessage(metadata => metadata.Issuer is null ? "is missing: the iss of its tokens (or trust_domain, for SPIFFE)" : "does not go with trust_domain: give one of the two")
            .Must(issuer => issuer is null || (IsPrintable(issuer) && !issuer.StartsWith(TrustedIssuer.SpiffeScheme, StringComparison.OrdinalIgnoreCase)))
            .WithMessage("must have 1 to 1024 printable ASCII characters without space, \" and \\ (a SPIFFE trust domain is given as trust_domain)")
            .Must((metadata, issuer) => issuer is null || metadata.Jwks is not null || metadata.JwksUri is not null
                || (NetworkRules.IsKeyAddress(issuer) && !issuer.Contains('?', StringComparison.Ordinal)))
            .WithMessage("must be an https URL (http on loopback only) where neither jwks nor jwks_uri is given: its metadata is looked for there")
            .OverridePropertyName("issuer");

        RuleFor(issuer => issuer.TrustDomain)
            .Must(domain => domain is null || SpiffeId.IsTrustDomain(domain))
            .WithMessage("must be the name of a SPIFFE trust domain, such as example.org: 1 to 255 lower-case letters, digits, dots, hyphens and underscores")
            .OverridePropertyName("trust_domain");

        RuleFor(issuer => issuer.Jwks)
            .Must((metadata, jwks) => jwks is null || metadata.TrustDomain is null).WithMessage(NotWithTrustDomain)
            .OverridePropertyName("jwks");

        RuleFor(issuer => issuer.JwksUri)
            .Cascade(CascadeMode.Stop)
            .Must((metadata, uri) => uri is null || metadata.TrustDomain is null).WithMessage(NotWithTrustDomain)
            .Must((metadata, uri) => uri is null || metadata.Jwks is null).WithMessage("does not go with jwks: give one of the two, or neither for discovery")
            .Must(uri => uri is null || NetworkRules.IsKeyAddress(uri)).WithMessage(NetworkRules.KeyAddress)
            .OverridePropertyName("jwks_uri");

        RuleFor(issuer => issuer.SpiffeBundleEndpoint)
            .Cascade(CascadeMode.Stop)
            .Must((metadata, uri) => uri is null || metadata.TrustDomain is not null).WithMessage(OnlyWithTrustDomain)
            .Must((metadata, uri) => metadata.TrustDomain is null || (uri is null) != (metadata.SpiffeBundleFile is null))
            .WithMessage(metadata => metadata.SpiffeBundleEndpoint is null
                ? "is missing: trust_domain needs spiffe_bundle_endpoint, or spiffe_bundle_file"
                : "does not go with spiffe_bundle_file: give one of the two")
            .Must(uri => uri is null || NetworkRules.IsKeyAddress(uri)).WithMessage(NetworkRules.KeyAddress)
            .OverridePropertyName("spiffe_bundle_endpoint");

        RuleFor(issuer => issuer.SpiffeBundleFile)
            .Cascade(CascadeMode.Stop)
            .Must((metadata, path) => path is null || metadata.TrustDomain is not null).WithMessage(OnlyWithTrustDomain)
            .Must(IsPath).WithMessage(Path)
            .OverridePropertyName("spiffe_bundle_file");

        RuleFor(issuer => issuer.CaFile)
            .Cascade(CascadeMode.Stop)
            .Must((metadata, path) => path is null || Fetched(metadata) is { } address && address.StartsWith("https:", StringComparison.OrdinalIgnoreCase))
            .WithMessage("goes with keys that are fetched by https only")
            .Must(IsPath).WithMessage(Path)
            .OverridePropertyName("ca_file");

        RuleFor(issuer => issuer.BearerTokenFile)
            .Cascade(CascadeMode.Stop)
            .Must((metadata, path) => path is null || Fetched(metadata) is not null).WithMessage("goes with keys that are fetched only")
            .Must(IsPath).WithMessage(Path)
            .OverridePropertyName("bearer_token_file");

        RuleFor(issuer => issuer.Audience)
            .Must(audience => audience is null || IsPrintable(audience))
            .WithMessage("must have 1 to 1024 printable ASCII characters without space, \" and \\")
            .OverridePropertyName("audience");
    }

    private const string Path = "must be the absolute path of a file, of at most 1024 characters";

    // What is fetched over the network, if anything is.
    private static string? Fetched(TrustedIssuerMetadata metadata)
        => metadata.Jwks is not null || metadata.SpiffeBundleFile is not null ? null : metadata.JwksUri ?? metadata.SpiffeBundleEndpoint ?? metadata.Issuer;

    private static bool IsPath(string? path)
        => path is null || (path.Length is > 0 and <= 1024 && path[0] == '/' && TextRules.HasNoControls(path));

    // It stands in what callers are told (RFC 6749 §5.2).
    private static bool IsPrintable(string text) => text.Length is > 0 and <= 1024 && text.All(c => c is > ' ' and <= '~' and not '"' and not '\\');
}
