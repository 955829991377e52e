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

/// <summary>A declarative file: all clients and resources that it owns. Every entry has passed the rules for it.</summary>
/// <remarks>
/// This room holds what commands and <c>ApplyFile</c> do to the store. The JSON is walked by hand, so that each fault names its place,
/// such as <c>clients[1].scope</c>, and all of them are found at once.
/// </remarks>
public sealed class DeclarativeFile
{
    private const int MaxBytes = 256 << 20;

    private readonly List<string> _faults = [];

    private DeclarativeFile()
    {
    }

    /// <summary>The resources in the order of the file.</summary>
    public ImmutableArray<ResourceMetadata> Resources { get; private set; } = [];

    /// <summary>The clients in the order of the file.</summary>
    public ImmutableArray<ClientMetadata> Clients { get; private set; } = [];

    /// <summary>Reads and checks a file.</summary>
    /// <param name="path">Its path.</param>
    /// <param name="development">Whether secrets may be short.</param>
    /// <exception cref="OperatorFaultException">It cannot be read or something in it is wrong; the message names the place.</exception>
    public static DeclarativeFile Load(string path, bool development)
    {
        if (FileIdentity.Of(path) is { } there && (!there.IsRegular || there.Length > MaxBytes))
        {
            throw new OperatorFaultException($"The file {path} is no plain file of at most {MaxBytes >> 20} MiB. Nothing was applied.");
        }

        try
        {
            return Parse(File.ReadAllBytes(path), Path.GetFileName(path), development);
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
    /// <exception cref="OperatorFaultException">Something in it is wrong; the message names the place.</exception>
    public static DeclarativeFile Parse(ReadOnlyMemory<byte> utf8, string name, bool development)
    {
        var file = new DeclarativeFile();
        try
        {
            var bom = utf8.Span.StartsWith("\uFEFF"u8) ? 3 : 0;
            using var document = JsonDocument.Parse(utf8[bom..], new JsonDocumentOptions { AllowDuplicateProperties = false });
            file.ReadFile(document.RootElement, development);
        }
        catch (InvalidOperationException fault)
        {
            // How the library says that the name of a member is not Unicode.
            throw new OperatorFaultException($"{name} is not well-formed JSON: it has bytes or escapes that are no Unicode text. Nothing was applied.", fault);
        }
        catch (JsonException fault)
        {
            var place = fault.LineNumber is { } line ? $" at line {line + 1}, column {fault.BytePositionInLine + 1}" : "";
            throw new OperatorFaultException($"{name} is not well-formed JSON{place}: {WithoutPosition(fault.Message)} Nothing was applied.", fault);
        }

        file.ThrowIfFaulty(name);
        return file;
    }

    private static string WithoutPosition(string message) => message.Split(" LineNumber:")[0].Split(" Path:")[0];

    private void ThrowIfFaulty(string name)
    {
        const int most = 5;
        if (_faults.Count > 0)
        {
            var more = _faults.Count > most ? $"; and {_faults.Count - most} more" : "";
            throw new OperatorFaultException($"{name}: {string.Join("; ", _faults.Take(most))}{more}. Nothing was applied.");
        }
    }

    private void ReadFile(JsonElement root, bool development)
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
                    var rules = new ClientMetadataRules(development);
                    Clients = [.. Items(value, place, (item, at) => Checked(ReadClient, item, at, rules))];
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
                case "client_secret":
                    client = client with { ClientSecrets = [.. OneOrMore(value, place, (item, itemAt) => new Secret(Text(item, itemAt)))] };
                    break;
                case "client_secret_hash":
                    client = client with { ClientSecretHashes = [.. OneOrMore(value, place, ReadHash)] };
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
