using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using FluentValidation;
using TokenService.Protocol;

namespace TokenService.Clients;

/// <summary>
/// What a client may be registered with (RFC 7591 §2). Each failure names the member as the declarative file does, and says what is
/// accepted; no failure repeats a secret.
/// </summary>
public sealed class ClientMetadataRules : AbstractValidator<ClientMetadata>
{
    // A token has all of it, and must fit into a header at the resource server and into a form here.
    private const int MaxScopeLength = 16 * 1024;

    private const long ShortestLifetime = 60;
    private const long LongestLifetime = 86_400;

    /// <summary>The rules.</summary>
    /// <param name="development">Whether secrets may be short, as in an example.</param>
    /// <param name="defaultLifetime">How long tokens live where the client does not say; as long as they may, where nobody knows.</param>
    public ClientMetadataRules(bool development, TimeSpan? defaultLifetime = null)
    {
        var lifetimeOtherwise = (long?)defaultLifetime?.TotalSeconds ?? LongestLifetime;

        RuleFor(client => client.ClientId)
            .Cascade(CascadeMode.Stop)
            .NotEmpty().WithMessage("is missing")
            .MaximumLength(256).WithMessage("has more than 256 characters")
            .Must(id => id!.All(c => c is >= ' ' and <= '~')).WithMessage("may have printable ASCII characters only")
            .Must(id => id![0] != ' ' && id[^1] != ' ').WithMessage("may not begin or end with a space")
            .OverridePropertyName("client_id");

        RuleFor(client => client.ClientName)
            .MaximumLength(256).WithMessage("has more than 256 characters")
            .Must(TextRules.HasNoControls).WithMessage(TextRules.ControlCharacter)
            .OverridePropertyName("client_name");

        RuleForEach(client => client.GrantTypes)
            .Must(grant => GrantTypes.All.Contains(grant))
            .WithMessage((_, grant) => $"{Printable.Quote(grant)} is not offered by this service; accepted: {string.Join(", ", GrantTypes.All)}")
            .OverridePropertyName("grant_types");

        RuleFor(client => client.TokenEndpointAuthMethod)
            .Must(method => AuthenticationMethods.All.Contains(method))
            .WithMessage(client =>
                $"{Printable.Quote(client.TokenEndpointAuthMethod)} is not accepted; accepted: {string.Join(", ", AuthenticationMethods.All)}")
            .OverridePropertyName("token_endpoint_auth_method");

        RuleFor(client => client.Scope)
            .Cascade(CascadeMode.Stop)
            .NotEmpty().When(client => !client.GrantTypes.IsEmpty, ApplyConditionTo.CurrentValidator)
            .WithMessage("is missing: a client that gets tokens needs a scope (only one with \"grant_types\": [] does not)")
            .MaximumLength(MaxScopeLength).WithMessage($"has more than {MaxScopeLength} characters, and every token for it would")
            .Must(scope => scope is null || ScopeSyntax.Split(scope) is not null)
            .WithMessage($"must be at most {ScopeSyntax.MaxNames} scope names with single spaces between them")
            .OverridePropertyName("scope");

        RuleFor(client => client.AccessTokenLifetime)
            .InclusiveBetween(ShortestLifetime, LongestLifetime).WithMessage($"must be from {ShortestLifetime} to {LongestLifetime} seconds")
            .OverridePropertyName("access_token_lifetime");

        // A tenth of a lifetime that is itself refused says nothing.
        RuleFor(client => client.TokenReuse)
            .Cascade(CascadeMode.Stop)
            .Must((client, reuse) => reuse is null || client.GrantTypes.Contains(GrantTypes.ClientCredentials))
            .WithMessage($"does not go with a client that is not registered for {GrantTypes.ClientCredentials}: no other grant gives a token again")
            .Must((client, reuse) => reuse is null || (reuse >= 1 && reuse <= Lifetime(client, lifetimeOtherwise) / 10))
            .WithMessage(client =>
                $"must be from 1 to {Lifetime(client, lifetimeOtherwise) / 10} seconds, a tenth of how long its tokens live (left out: each request gets a token of its own)")
            .When(client => client.AccessTokenLifetime is null or (>= ShortestLifetime and <= LongestLifetime))
            .OverridePropertyName("token_reuse");

        RuleFor(client => client)
            .Cascade(CascadeMode.Stop)
            .Must(client => client.ClientSecrets.Length + client.ClientSecretHashes.Length > 0)
            .When(client => AuthenticationMethods.HasSecret(client.TokenEndpointAuthMethod), ApplyConditionTo.CurrentValidator)
            .WithMessage(client => $"is missing: {Named(client.TokenEndpointAuthMethod)} needs {Secrets(client.TokenEndpointAuthMethod)}")
            .Must(client => client.ClientSecrets.IsEmpty && client.ClientSecretHashes.IsEmpty)
            .When(client => !AuthenticationMethods.HasSecret(client.TokenEndpointAuthMethod), ApplyConditionTo.CurrentValidator)
            .WithMessage(client => $"does not go with {Named(client.TokenEndpointAuthMethod)}: the client proves itself {(
                AuthenticationMethods.IsWorkload(client.TokenEndpointAuthMethod) ? "by where it runs"
                : AuthenticationMethods.HasCertificate(client.TokenEndpointAuthMethod) ? "with its certificate alone" : "with its key alone")}")
            .OverridePropertyName("client_secret");

        RuleFor(client => client.ClientSecretHashes)
            .Must(hashes => hashes.IsEmpty)
            .When(client => client.TokenEndpointAuthMethod == AuthenticationMethods.ClientSecretJwt)
            .WithMessage("does not go with client_secret_jwt, which needs the secret itself: give client_secret, it is kept encrypted")
            .OverridePropertyName("client_secret_hash");

        RuleFor(client => client)
            .Cascade(CascadeMode.Stop)
            .Must(client => (client.Jwks is null) == (!AuthenticationMethods.HasKeys(client.TokenEndpointAuthMethod) || client.JwksUri is not null))
            .WithMessage(client => client.Jwks is null
                ? $"is missing: {Named(client.TokenEndpointAuthMethod)} needs jwks, or jwks_uri"
                : client.JwksUri is null ? $"does not go with {Named(client.TokenEndpointAuthMethod)}" : "does not go with jwks_uri: give one of the two")
            .Must(client => client.Jwks is not { IsEmpty: false } keys || client.TokenEndpointAuthSigningAlg is not { } algorithm
                || keys.Any(key => key.Algorithms.Contains(algorithm)))
            .WithMessage("has no key that goes with token_endpoint_auth_signing_alg")
            .OverridePropertyName("jwks");

        RuleFor(client => client.JwksUri)
            .Cascade(CascadeMode.Stop)
            .Must((client, uri) => uri is null || AuthenticationMethods.HasKeys(client.TokenEndpointAuthMethod))
            .WithMessage(client => $"does not go with {Named(client.TokenEndpointAuthMethod)}")
            .Must(uri => uri is null || NetworkRules.IsKeyAddress(uri)).WithMessage(NetworkRules.KeyAddress)
            .OverridePropertyName("jwks_uri");

        RuleFor(client => client.TokenEndpointAuthSigningAlg)
            .Must((client, algorithm) => algorithm is null || AssertionAlgorithms.Of(client.TokenEndpointAuthMethod).Contains(algorithm))
            .WithMessage(client => AssertionAlgorithms.Of(client.TokenEndpointAuthMethod) is { IsEmpty: false } accepted
                ? $"{Printable.Quote(client.TokenEndpointAuthSigningAlg!)} is not accepted; accepted: {string.Join(", ", accepted)}"
                : $"does not go with {Named(client.TokenEndpointAuthMethod)}")
            .OverridePropertyName("token_endpoint_auth_signing_alg");

        RuleFor(client => client.Federation)
            .Must((client, rules) => rules.IsEmpty == (client.TokenEndpointAuthMethod != AuthenticationMethods.FederatedJwt))
            .WithMessage(client => client.Federation.IsEmpty
                ? "is missing: federated_jwt needs at least one rule, in a declarative file"
                : $"does not go with {Named(client.TokenEndpointAuthMethod)}")
            .OverridePropertyName("federation");

        RuleFor(client => client.SpiffeId)
            .Cascade(CascadeMode.Stop)
            .Must((client, id) => (id is null) == (client.TokenEndpointAuthMethod != AuthenticationMethods.SpiffeJwt))
            .WithMessage(client => client.SpiffeId is null
                ? "is missing: spiffe_jwt needs it, in a declarative file"
                : $"does not go with {Named(client.TokenEndpointAuthMethod)}")
            .Must(id => id is null || SpiffeId.TrustDomainOfRegistered(id) is not null)
            .WithMessage("must be a SPIFFE ID with a path, such as spiffe://example.org/ns/shop/sa/indexer (it may end in /* for all below)")
            .OverridePropertyName("spiffe_id");

        RuleFor(client => client.CertificateNames).Custom((names, context) =>
        {
            var method = context.InstanceToValidate.TokenEndpointAuthMethod;
            if (method != AuthenticationMethods.TlsClientAuth)
            {
                names.ToList().ForEach(name => context.AddFailure(name.Member, $"does not go with {Named(method)}"));
            }
            else if (names.Length != 1)
            {
                context.AddFailure(
                    names.IsEmpty ? "token_endpoint_auth_method" : names[1].Member,
                    $"{(names.IsEmpty ? "tls_client_auth needs" : "is one too many: there must be")} exactly one of {string.Join(", ", CertificateName.Members)}, in a declarative file");
            }
            else if (names[0].Fault() is { } fault)
            {
                context.AddFailure(names[0].Member, fault);
            }
        });

        RuleForEach(client => client.ClientSecrets)
            .OverrideIndexer((_, all, _, index) => Place(all, index))
            .Cascade(CascadeMode.Stop)
            .Must(secret => secret.Reveal().Length > 0).WithMessage("is empty")
            .Must(secret => development || secret.Reveal().Length >= ClientSecret.MinLength)
            .WithMessage($"is too short: at least {ClientSecret.MinLength} characters outside Development, since it is hashed once and not stretched")
            .Must((client, secret) => development || Bytes(secret) >= KeyBytes(client.TokenEndpointAuthSigningAlg))
            .WithMessage(client => $"is too short for {client.TokenEndpointAuthSigningAlg}: at least {KeyBytes(client.TokenEndpointAuthSigningAlg)} bytes (RFC 7518 section 3.2)")
            .Must(secret => Bytes(secret) <= ClientSecret.MaxBytes)
            .WithMessage($"is too long: at most {ClientSecret.MaxBytes} bytes")
            .Must(secret => TextRules.HasNoControls(secret.Reveal())).WithMessage(TextRules.ControlCharacter)
            .OverridePropertyName("client_secret");

        RuleForEach(client => client.ClientSecretHashes)
            .OverrideIndexer((_, all, _, index) => Place(all, index))
            .Cascade(CascadeMode.Stop)
            .Must(hash => ClientSecret.ParseHash(hash.Hash) is not null)
            .WithMessage("must be \"sha256:\" and the SHA-256 of the secret in base64url without padding (43 characters)")
            .Must(hash => IsTime(hash.ExpiresAt)).WithMessage("expires_at must be a time in seconds since 1970, or 0 for never")
            .OverridePropertyName("client_secret_hash");

        RuleFor(client => client.ClientSecretExpiresAt)
            .Cascade(CascadeMode.Stop)
            .Must(IsTime).WithMessage("must be a time in seconds since 1970, or 0 for never")
            .Must((client, time) => time is null
                || (client.ClientSecrets.Length + client.ClientSecretHashes.Length == 1
                    && client.ClientSecretHashes.All(hash => hash.ExpiresAt is null)))
            .WithMessage("belongs to a single client_secret or client_secret_hash; in an array give each hash its own \"expires_at\"")
            .OverridePropertyName("client_secret_expires_at");
    }

    private static long Lifetime(ClientMetadata client, long otherwise) => client.AccessTokenLifetime ?? otherwise;

    private static int Bytes(Secret secret) => System.Text.Encoding.UTF8.GetByteCount(secret.Reveal());

    // The key of an HMAC is at least as long as its hash.
    private static int KeyBytes(string? algorithm) => algorithm switch { "HS384" => 48, "HS512" => 64, _ => 0 };

    // It may be anything: another rule says that it is none.
    private static string Named(string method) => Printable.Escape(method);

    private static string Secrets(string method)
        => method == AuthenticationMethods.ClientSecretJwt ? "client_secret" : "client_secret or client_secret_hash";

    // A single one is mostly not written as an array.
    private static string Place<T>(IEnumerable<T> all, int index) => all.Count() == 1 ? "" : string.Create(CultureInfo.InvariantCulture, $"[{index}]");

    // The last second of the year 9999, the end of what a DateTimeOffset holds.
    private static bool IsTime(long? seconds) => seconds is null or (>= 0 and <= 253_402_300_799);
}

/// <summary>What a resource may be registered with (RFC 8707 §2).</summary>
public sealed class ResourceMetadataRules : AbstractValidator<ResourceMetadata>
{
    /// <summary>The rules.</summary>
    public ResourceMetadataRules()
    {
        RuleFor(resource => resource.Resource)
            .Cascade(CascadeMode.Stop)
            .NotEmpty().WithMessage("is missing")
            .MaximumLength(1024).WithMessage("has more than 1024 characters")
            .Must(uri => uri!.All(c => c is > ' ' and <= '~')).WithMessage("may have printable ASCII characters only, and no spaces")
            .Must(uri => Uri.TryCreate(uri, UriKind.Absolute, out _) && uri!.Contains(':', StringComparison.Ordinal)
                && !uri.StartsWith('/'))
            .WithMessage("must be an absolute URI, such as https://catalog.example.com")
            .Must(uri => !uri!.Contains('#', StringComparison.Ordinal)).WithMessage("may not have a fragment (RFC 8707)")
            .OverridePropertyName("resource");

        RuleFor(resource => resource.Name)
            .MaximumLength(256).WithMessage("has more than 256 characters")
            .Must(TextRules.HasNoControls).WithMessage(TextRules.ControlCharacter)
            .OverridePropertyName("name");

        RuleFor(resource => resource.Scopes)
            .Must(scopes => !scopes.IsEmpty).WithMessage("is missing: a resource needs at least one scope")
            .OverridePropertyName("scopes");

        RuleForEach(resource => resource.Scopes)
            .ChildRules(scope =>
            {
                scope.RuleFor(s => s.Name)
                    .Cascade(CascadeMode.Stop)
                    .NotEmpty().WithMessage("is missing")
                    .MaximumLength(256).WithMessage("has more than 256 characters")
                    .Must(name => ScopeSyntax.IsName(name)).WithMessage("may have printable ASCII only, and no space, '\"' or '\\' (RFC 6749 section 3.3)")
                    .OverridePropertyName("name");
                scope.RuleFor(s => s.Description)
                    .MaximumLength(1024).WithMessage("has more than 1024 characters")
                    .Must(TextRules.HasNoControls).WithMessage(TextRules.ControlCharacter)
                    .OverridePropertyName("description");
            })
            .OverridePropertyName("scopes");
    }
}

/// <summary>What holds for every text that is shown to people or typed by them.</summary>
internal static class TextRules
{
    public const string ControlCharacter = "has a control character, such as a line break";

    public static bool HasNoControls(string? text) => text is null || !text.Any(char.IsControl);
}
