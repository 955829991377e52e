using System;
using System.Collections.Generic;
using System.Collections.Immutable;
using System.IO;
using System.Linq;
using System.Text.Json;
using FluentValidation;
using TokenService.Clients;
using TokenService.Protocol;
using TokenService.Storage;

namespace TokenService.Administration;

/// <summary>A declarative file: all clients, resources and trusted issuers that it owns. Every entry has passed the rules for it.</summary>
/// <remarks>
/// This room holds what commands and <c>ApplyFile</c> do to the store. The JSON is walked by hand, so that each fault names its place,
/// such as <c>clients[1].scope</c>, and all of them are found at once.
/// </remarks>
public sealed class DeclarativeFile
{
    private const int MaxBytes = 256 << 20;
    private const int MaxWords = 500;

    private readonly List<string> _faults = [];

    private DeclarativeFile()
    {
    }

    /// <summary>The resources in the order of the file.</summary>
    public ImmutableArray<ResourceMetadata> Resources { get; private set; } = [];

    /// <summary>The clients in the order of the file.</summary>
    public ImmutableArray<ClientMetadata> Clients { get; private set; } = [];

    /// <summary>The issuers of workloads' identities in the order of the file.</summary>
    public ImmutableArray<TrustedIssuerMetadata> Issuers { get; private set; } = [];

    /// <summary>Reads and checks a file.</summary>
    /// <param name="path">Its path.</param>
    /// <param name="development">Whether secrets may be short.</param>
    /// <param name="defaultLifetime">How long tokens live where a client does not say.</param>
    /// <exception cref="OperatorFaultException">It cannot be read or something in it is wrong; the message names the place.</exception>
    public static DeclarativeFile Load(string path, bool development, TimeSpan defaultLifetime)
    {
        if (FileIdentity.Of(path) is { } there && (!there.IsRegular || there.Length > MaxBytes))
        {
            throw new OperatorFaultException($"The file {path} is no plain file of at most {MaxBytes >> 20} MiB. Nothing was applied.");
        }

        try
        {
            return Parse(File.ReadAllBytes(path), Path.GetFileName(path), development, defaultLifetime);
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            throw new OperatorFaultException($"The file {path} cannot be read: {fault.Message}", fault);
        }
    }

    /// <summary>Reads and checks the content of a file.</summary>
    /// <param name="utf8">The content.</param>
    /// <param name="name">What messages call it.</param>
    /// <param name="development">Whether secrets may be short.</param>
    /// <param name="defaultLifetime">How long tokens live where a client does not say; as long as they may, where nobody knows.</param>
    /// <exception cref="OperatorFaultException">Something in it is wrong; the message names the place.</exception>
    public static DeclarativeFile Parse(ReadOnlyMemory<byte> utf8, string name, bool development, TimeSpan? defaultLifetime = null)
    {
        var file = new DeclarativeFile();
        try
        {
            var bom = utf8.Span.StartsWith("\uFEFF"u8) ? 3 : 0;
            using var document = JsonDocument.Parse(utf8[bom..], new JsonDocumentOptions { AllowDuplicateProperties = false });
            file.ReadFile(document.RootElement, new ClientMetadataRules(development, defaultLifetime));
        }
        catch (InvalidOperationException fault)
        {
            // How the library says that the name of a member is not Unicode.
            throw new OperatorFaultException($"{name} is not well-formed JSON: it has bytes or escapes that are no Unicode text. Nothing was applied.", fault);
        }
        catch (JsonException fault)
        {
            var place = fault.LineNumber is { } line ? $" at line {line + 1}, column {fault.BytePositionInLine + 1}" : "";
            throw new OperatorFaultException($"{name} is not well-formed JSON{place}: {Words(fault)} Nothing was applied.", fault);
        }

        file.ThrowIfFaulty(name);
        return file;
    }

    // Without the position. The library repeats what it could not read: a text without its quotes, which may be a secret.
    private static string Words(JsonException fault)
    {
        const string Literal = "' is an invalid JSON literal.";
        var message = fault.Message.Split(" LineNumber:")[0].Split(" Path:")[0];
        var at = message.LastIndexOf(Literal, StringComparison.Ordinal);
        return Printable.Escape(at < 0 ? message : $"there is a text without quotes, or an invalid literal.{message[(at + Literal.Length)..]}", MaxWords);
    }

    private void ThrowIfFaulty(string name)
    {
        const int most = 5;
        if (_faults.Count > 0)
        {
            var more = _faults.Count > most ? $"; and {_faults.Count - most} more" : "";
            throw new OperatorFaultException($"{name}: {string.Join("; ", _faults.Take(most))}{more}. Nothing was applied.");
        }
    }

    private void ReadFile(JsonElement root, ClientMetadataRules rules)
    {
        foreach (var (name, value, place) in Members(root, ""))
        {
            switch (name)
            {
                case "resources":
                    var resourceRules = new ResourceMetadataRules();
                    Resources = [.. Items(value, place, (item, at) => Checked(ReadResource, item, at, resourceRules))];
                    break;
                case "clients":
                    Clients = [.. Items(value, place, (item, at) => Checked(ReadClient, item, at, rules))];
                    break;
                case "issuers":
                    var issuerRules = new TrustedIssuerRules();
                    Issuers = [.. Items(value, place, (item, at) => Checked(ReadIssuer, item, at, issuerRules))];
                    break;
                default:
                    Unknown(place);
                    break;
            }
        }

        RefuseRepeated(Resources.Index().Select(entry => (entry.Item.Resource, $"resources[{entry.Index}].resource")));
        RefuseRepeated(Resources.Index().SelectMany(
            entry => entry.Item.Scopes.Index(),
            (entry, scope) => (scope.Item.Name, $"resources[{entry.Index}].scopes[{scope.Index}].name")));
        RefuseRepeated(Clients.Index().Select(entry => (entry.Item.ClientId, $"clients[{entry.Index}].client_id")));
        CheckIssuers();
    }

    // Only a file has issuers, and clients that name them, so all of it is here.
    private void CheckIssuers()
    {
        RefuseRepeated(Issuers.Index().Select(entry => (entry.Item.Name, $"issuers[{entry.Index}].name")));
        RefuseRepeated(Issuers.Index().Select(entry => (entry.Item.TrustDomain, $"issuers[{entry.Index}].trust_domain")));

        // What refers to an entry that is refused itself says nothing.
        if (_faults.Count > 0)
        {
            return;
        }

        // By nothing else than their keys are two with the same iss told apart.
        foreach (var (index, issuer) in Issuers.Index().Where(entry => entry.Item.Issuer is not null))
        {
            if (Issuers.Take(index).Index().FirstOrDefault(other => other.Item.Issuer == issuer.Issuer && SharesKeys(other.Item, issuer)) is { Item: not null } same)
            {
                Fault($"issuers[{index}].issuer", $"{Printable.Quote(issuer.Issuer!)} stands already at issuers[{same.Index}].issuer, with the same keys");
            }
        }

        foreach (var (index, client) in Clients.Index())
        {
            foreach (var (position, rule) in client.Federation.Index())
            {
                if (!Issuers.Any(issuer => issuer.Name == rule.Issuer && issuer.TrustDomain is null))
                {
                    Fault(
                        $"clients[{index}].federation[{position}].issuer",
                        $"names {Printable.Quote(rule.Issuer)}, which is the name of none of the issuers{(Issuers.Any(issuer => issuer.Name == rule.Issuer) ? " but of a trust domain: that is for spiffe_id" : "")}");
                }
            }

            if (client.SpiffeId is { } id && SpiffeId.TrustDomainOfRegistered(id) is { } domain
                && !Issuers.Any(issuer => TrustedIssuer.SpiffeScheme + issuer.TrustDomain == domain))
            {
                Fault($"clients[{index}].spiffe_id", $"is of {Printable.Quote(domain)}, which is the trust_domain of none of the issuers");
            }
        }
    }

    private static bool SharesKeys(TrustedIssuerMetadata one, TrustedIssuerMetadata other) => (one.Jwks, other.Jwks) switch
    {
        ({ } keys, { } others) => keys.Any(key => others.Contains(key)),
        (null, null) => one.JwksUri == other.JwksUri,
        _ => false,
    };

    private TrustedIssuerMetadata ReadIssuer(JsonElement element, string at)
    {
        var issuer = new TrustedIssuerMetadata();
        foreach (var (name, value, place) in Members(element, at))
        {
            switch (name)
            {
                case "name":
                    issuer = issuer with { Name = Text(value, place) };
                    break;
                case "issuer":
                    issuer = issuer with { Issuer = Text(value, place) };
                    break;
                case "trust_domain":
                    issuer = issuer with { TrustDomain = Text(value, place) };
                    break;
                case "jwks":
                    issuer = issuer with { Jwks = Keys(value, place) };
                    break;
                case "jwks_uri":
                    issuer = issuer with { JwksUri = Text(value, place) };
                    break;
                case "spiffe_bundle_endpoint":
                    issuer = issuer with { SpiffeBundleEndpoint = Text(value, place) };
                    break;
                case "spiffe_bundle_file":
                    issuer = issuer with { SpiffeBundleFile = Text(value, place) };
                    break;
                case "ca_file":
                    issuer = issuer with { CaFile = Text(value, place) };
                    break;
                case "bearer_token_file":
                    issuer = issuer with { BearerTokenFile = Text(value, place) };
                    break;
                case "audience":
                    issuer = issuer with { Audience = Text(value, place) };
                    break;
                default:
                    Unknown(place);
                    break;
            }
        }

        return issuer;
    }

    private ImmutableArray<FederationRule> ReadFederation(JsonElement element, string at)
    {
        var rules = Items(element, at, ReadFederationRule);
        if (rules.Count > FederationRule.Most)
        {
            Fault(at, $"must have at most {FederationRule.Most} rules");
        }

        return [.. rules];
    }

    private FederationRule ReadFederationRule(JsonElement element, string at)
    {
        var (issuer, claims) = ("", ImmutableArray<ClaimRule>.Empty);
        var faultsBefore = _faults.Count;
        foreach (var (name, value, place) in Members(element, at))
        {
            switch (name)
            {
                case "issuer":
                    issuer = Text(value, place);
                    break;
                case "claims":
                    claims = [.. Members(value, place).Select(claim => ReadClaim(claim.Name, claim.Value, claim.Place))];
                    break;
                default:
                    Unknown(place);
                    break;
            }
        }

        if (_faults.Count == faultsBefore && issuer.Length == 0)
        {
            Fault($"{at}.issuer", "is missing: the name of one of the issuers");
        }

        if (_faults.Count == faultsBefore && claims.Length is 0 or > FederationRule.Most)
        {
            Fault($"{at}.claims", $"must have 1 to {FederationRule.Most} claims: without any, every token of the issuer would do");
        }

        return new FederationRule(issuer, claims);
    }

    private ClaimRule ReadClaim(string name, JsonElement value, string at)
    {
        var faultsBefore = _faults.Count;
        var rule = new ClaimRule(name, [.. OneOrMore(value, at, Text)]);
        if (_faults.Count == faultsBefore && rule.Fault() is { } fault)
        {
            Fault(fault.Value < 0 || value.ValueKind != JsonValueKind.Array ? at : $"{at}[{fault.Value}]", fault.Message);
        }

        return rule;
    }

    private ResourceMetadata ReadResource(JsonElement element, string at)
    {
        var resource = new ResourceMetadata();
        foreach (var (name, value, place) in Members(element, at))
        {
            switch (name)
            {
                case "resource":
                    resource = resource with { Resource = Text(value, place) };
                    break;
                case "name":
                    resource = resource with { Name = Text(value, place) };
                    break;
                case "scopes":
                    resource = resource with { Scopes = [.. Items(value, place, ReadScope)] };
                    break;
                default:
                    Unknown(place);
                    break;
            }
        }

        return resource;
    }

    private ScopeMetadata ReadScope(JsonElement element, string at)
    {
        var scope = new ScopeMetadata(null, null);
        foreach (var (name, value, place) in Members(element, at))
        {
            switch (name)
            {
                case "name":
                    scope = scope with { Name = Text(value, place) };
                    break;
                case "description":
                    scope = scope with { Description = Text(value, place) };
                    break;
                default:
                    Unknown(place);
                    break;
            }
        }

        return scope;
    }

    private ClientMetadata ReadClient(JsonElement element, string at)
    {
        var client = new ClientMetadata();
        foreach (var (name, value, place) in Members(element, at))
        {
            switch (name)
            {
                case "client_id":
                    client = client with { ClientId = Text(value, place) };
                    break;
                case "client_name":
                    client = client with { ClientName = Text(value, place) };
                    break;
                case "grant_types":
                    client = client with { GrantTypes = [.. Items(value, place, Text).Distinct()] };
                    break;
                case "token_endpoint_auth_method":
                    client = client with { TokenEndpointAuthMethod = Text(value, place) };
                    break;
                case "scope":
                    client = client with { Scope = Text(value, place) };
                    break;
                case "access_token_lifetime":
                    client = client with { AccessTokenLifetime = Number(value, place) };
                    break;
                case "token_reuse":
                    client = client with { TokenReuse = Number(value, place) };
                    break;
                case "client_secret":
                    client = client with { ClientSecrets = [.. Secrets(value, place, (item, itemAt) => new Secret(Text(item, itemAt)))] };
                    break;
                case "client_secret_hash":
                    client = client with { ClientSecretHashes = [.. Secrets(value, place, ReadHash)] };
                    break;
                case "jwks":
                    client = client with { Jwks = Keys(value, place) };
                    break;
                case "jwks_uri":
                    client = client with { JwksUri = Text(value, place) };
                    break;
                case "token_endpoint_auth_signing_alg":
                    client = client with { TokenEndpointAuthSigningAlg = Text(value, place) };
                    break;
                case "federation":
                    client = client with { Federation = ReadFederation(value, place) };
                    break;
                case "spiffe_id":
                    client = client with { SpiffeId = Text(value, place) };
                    break;
                case CertificateName.SubjectDn or CertificateName.SanDns or CertificateName.SanUri or CertificateName.SanIp or CertificateName.SanEmail:
                    client = client with { CertificateNames = client.CertificateNames.Add(new(name, Text(value, place))) };
                    break;
                case "dpop_bound_access_tokens":
                    client = client with { DPoPBoundAccessTokens = Flag(value, place) };
                    break;
                case "tls_client_certificate_bound_access_tokens":
                    client = client with { TlsClientCertificateBoundAccessTokens = Flag(value, place) };
                    break;
                case "introspection":
                    client = ReadIntrospection(client, value, place);
                    break;
                case "client_secret_expires_at":
                    client = client with { ClientSecretExpiresAt = Number(value, place) };
                    break;
                default:
                    Unknown(place);
                    break;
            }
        }

        return client;
    }

    private ClientMetadata ReadIntrospection(ClientMetadata client, JsonElement value, string at)
    {
        switch (value.ValueKind)
        {
            case JsonValueKind.True or JsonValueKind.False:
                return client with { IntrospectsAll = value.ValueKind == JsonValueKind.True };
            case JsonValueKind.Array:
                return client with { IntrospectedResources = [.. Items(value, at, Text).Distinct()] };
            default:
                WrongType(at, "true, false or an array of resources", value);
                return client;
        }
    }

    private ImmutableArray<ClientKey> Keys(JsonElement set, string at)
    {
        var read = ClientKeyReader.Read(set);
        foreach (var (place, message) in read.Faults)
        {
            Fault(place.Length == 0 ? at : $"{at}.{place}", message);
        }

        return read.Keys;
    }

    private ClientSecretHash ReadHash(JsonElement element, string at)
    {
        if (element.ValueKind != JsonValueKind.Object)
        {
            return new ClientSecretHash(Text(element, at), null);
        }

        var hash = new ClientSecretHash("", null);
        foreach (var (name, value, place) in Members(element, at))
        {
            switch (name)
            {
                case "hash":
                    hash = hash with { Hash = Text(value, place) };
                    break;
                case "expires_at":
                    hash = hash with { ExpiresAt = Number(value, place) };
                    break;
                default:
                    Unknown(place);
                    break;
            }
        }

        return hash;
    }

    // Only an entry that could be read whole is held against the rules: one fault is not reported twice.
    private T Checked<T>(Func<JsonElement, string, T> read, JsonElement element, string at, AbstractValidator<T> rules)
    {
        var faultsBefore = _faults.Count;
        var entry = read(element, at);
        if (_faults.Count == faultsBefore)
        {
            foreach (var failure in rules.Validate(entry).Errors)
            {
                Fault($"{at}.{failure.PropertyName}", failure.ErrorMessage);
            }
        }

        return entry;
    }

    private void RefuseRepeated(IEnumerable<(string? Id, string Place)> ids)
    {
        var places = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var (id, place) in ids)
        {
            if (id is not null && !places.TryAdd(id, place))
            {
                Fault(place, $"{Printable.Quote(id)} stands already at {places[id]}");
            }
        }
    }

    private IEnumerable<(string Name, JsonElement Value, string Place)> Members(JsonElement element, string at)
    {
        if (element.ValueKind != JsonValueKind.Object)
        {
            WrongType(at, "an object", element);
            return [];
        }

        return element.EnumerateObject().Select(member =>
            (member.Name, member.Value, at.Length == 0 ? Printable.Escape(member.Name) : $"{at}.{Printable.Escape(member.Name)}"));
    }

    private List<T> Items<T>(JsonElement element, string at, Func<JsonElement, string, T> read)
    {
        if (element.ValueKind != JsonValueKind.Array)
        {
            WrongType(at, "an array", element);
            return [];
        }

        return [.. element.EnumerateArray().Select((item, index) => read(item, $"{at}[{index}]"))];
    }

    private List<T> OneOrMore<T>(JsonElement element, string at, Func<JsonElement, string, T> read)
        => element.ValueKind == JsonValueKind.Array ? Items(element, at, read) : [read(element, at)];

    private List<T> Secrets<T>(JsonElement element, string at, Func<JsonElement, string, T> read)
    {
        if (element.ValueKind != JsonValueKind.Array || element.GetArrayLength() <= ClientSecret.MaxCount)
        {
            return OneOrMore(element, at, read);
        }

        // One is enough for the rules, which would have something to say to none.
        Fault(at, $"has more than {ClientSecret.MaxCount} secrets, and each request would be compared with all of them");
        return [read(element[0], $"{at}[0]")];
    }

    private string Text(JsonElement element, string at)
    {
        // Half of a surrogate pair, or bytes that are not UTF-8: GetString throws.
        if (element.ValueKind == JsonValueKind.String)
        {
            try
            {
                return element.GetString()!;
            }
            catch (InvalidOperationException)
            {
                Fault(at, "is not Unicode text");
                return "";
            }
        }

        WrongType(at, "a string", element);
        return "";
    }

    private bool Flag(JsonElement element, string at)
    {
        if (element.ValueKind is not (JsonValueKind.True or JsonValueKind.False))
        {
            WrongType(at, "true or false", element);
        }

        return element.ValueKind == JsonValueKind.True;
    }

    private long? Number(JsonElement element, string at)
    {
        if (element.ValueKind == JsonValueKind.Number && element.TryGetInt64(out var number))
        {
            return number;
        }

        if (element.ValueKind == JsonValueKind.Number)
        {
            Fault(at, "must be a whole number");
        }
        else
        {
            WrongType(at, "a whole number", element);
        }

        return null;
    }

    private void Unknown(string place) => Fault(place, "is not a member that this service knows");

    private void WrongType(string at, string wanted, JsonElement found) => Fault(
        at.Length == 0 ? "the file" : at,
        $"must be {wanted}, and is {found.ValueKind switch
        {
            JsonValueKind.Object => "an object",
            JsonValueKind.Array => "an array",
            JsonValueKind.String => "a string",
            JsonValueKind.Number => "a number",
            JsonValueKind.Null => "null",
            _ => "a boolean",
        }}");

    private void Fault(string place, string message) => _faults.Add($"{place} {message}");
}
