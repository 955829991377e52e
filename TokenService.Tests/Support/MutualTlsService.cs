using System;
using System.Linq;
using System.Net.Http;
using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json.Nodes;
using System.Threading.Tasks;

namespace TokenService.Tests.Support;

/// <summary>The real service with TLS that asks clients for a certificate, in this process, with clients of both methods.</summary>
internal sealed class MutualTlsService : IAsyncDisposable
{
    public const string Secret = "mtls-secret-0123456789abcdef0123456789";
    public const string Introspector = "introspector:" + Secret;

    private readonly TemporaryFolder _folder;

    private MutualTlsService(TemporaryFolder folder, RunningService service) => (_folder, Service) = (folder, service);

    public RunningService Service { get; }

    /// <summary>Its folder: <c>root.crt</c> is what its own certificate (<c>tls.crt</c>, <c>tls.key</c>) is under.</summary>
    public TemporaryFolder Folder => _folder;

    /// <summary>The root of the settings, under which the certificates of clients are.</summary>
    public required TestAuthority Root { get; init; }

    /// <summary>The key of the client <c>self</c>.</summary>
    public required ECDsa OwnKey { get; init; }

    /// <summary>Starts it on TLS.</summary>
    public static Task<MutualTlsService> Start(TimeProvider? clock = null, params string[] settings) => Make(
        clock,
        ["--urls=https://127.0.0.1:0", "--Kestrel:Certificates:Default:Path=tls.crt", "--Kestrel:Certificates:Default:KeyPath=tls.key", "--TokenService:Mtls:Enabled=true", .. settings]);

    /// <summary>Starts it without TLS, behind a proxy on this machine.</summary>
    public static Task<MutualTlsService> StartBehindProxy(params string[] settings) => Make(null, ["--TokenService:Mtls:Enabled=true", .. settings]);

    private static async Task<MutualTlsService> Make(TimeProvider? clock, string[] settings)
    {
        var folder = new TemporaryFolder();
        var server = TestCertificate.Make("service");
        server.Write(folder.Path);
        folder.Write("root.crt", server.Root);
        var (root, key) = (TestAuthority.Root("clients"), ECDsa.Create(ECCurve.NamedCurves.nistP256));
        folder.Write("clients-ca.pem", root.Pem);
        var service = await RunningService.Start(folder, clock, File(key), ["--TokenService:Mtls:ClientCaFile=clients-ca.pem", .. settings]);
        return new(folder, service) { Root = root, OwnKey = key };
    }

    /// <summary>Trusts its certificate.</summary>
    public X509ChainPolicy Trust
    {
        get
        {
            var policy = new X509ChainPolicy { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck };
            policy.CustomTrustStore.ImportFromPemFile(_folder.File("root.crt"));
            return policy;
        }
    }

    /// <summary>Asks for a token in a TLS connection with this certificate, or none.</summary>
    public Task<Answer> Token(X509Certificate2? certificate, string form, params X509Certificate2[] others)
        => Post("/oauth2/token", certificate, "grant_type=client_credentials&" + form, others);

    public async Task<Answer> Post(string path, X509Certificate2? certificate, string form, params X509Certificate2[] others)
    {
        using var http = Client(certificate, others);
        using var response = await http.PostAsync(new Uri(Service.Url, path), RunningService.Form(form));
        return await Answer.Of(response);
    }

    /// <summary>A client with this certificate, or none.</summary>
    public HttpClient Client(X509Certificate2? certificate, params X509Certificate2[] others) => new(new SocketsHttpHandler
    {
        SslOptions =
        {
            CertificateChainPolicy = Trust,
            ClientCertificateContext = certificate is null ? null : SslStreamCertificateContext.Create(certificate, [.. others], offline: true),
        },
    });

    /// <summary>What the operator is told of a refusal: check, what was expected, what came.</summary>
    public async Task<(string Check, string Expected, string Came)> Reason(Answer answer)
    {
        var trace = answer.Json.GetProperty("trace_id").GetString();
        await StoreFile.Until(() => StoreFile.Texts(_folder, $"SELECT came FROM refusals WHERE trace_id = '{trace}'").Count > 0);
        return (Column("failed_check"), Column("expected"), Column("came"));

        string Column(string name) => StoreFile.Texts(_folder, $"SELECT {name} FROM refusals WHERE trace_id = '{trace}'").Single();
    }

    public async ValueTask DisposeAsync()
    {
        await Service.DisposeAsync();
        _folder.Dispose();
    }

    private static string File(ECDsa key) => new JsonObject
    {
        ["resources"] = new JsonArray(new JsonObject
        {
            ["resource"] = Sample.CatalogUri,
            ["scopes"] = new JsonArray(new JsonObject { ["name"] = "catalog.search" }, new JsonObject { ["name"] = "catalog.read" }),
        }),
        ["clients"] = new JsonArray(
            Registered("dn", "tls_client_auth", ("tls_client_auth_subject_dn", "CN=indexer,OU=Search+L=Bonn,O=Example\\, Inc.")),
            Registered("dns", "tls_client_auth", ("tls_client_auth_san_dns", "indexer.example.com")),
            Registered("uri", "tls_client_auth", ("tls_client_auth_san_uri", "spiffe://example.org/indexer")),
            Registered("ip", "tls_client_auth", ("tls_client_auth_san_ip", "2001:db8::7")),
            Registered("email", "tls_client_auth", ("tls_client_auth_san_email", "Indexer@example.com")),
            Registered("self", "self_signed_tls_client_auth", ("jwks", Jwks(key))),
            Registered("bound", "tls_client_auth", ("tls_client_auth_san_dns", "bound.example.com"), ("tls_client_certificate_bound_access_tokens", true), ("token_reuse", 60)),
            Registered("secret", "client_secret_basic", ("client_secret", Secret)),
            Registered("secret-bound", "client_secret_post", ("client_secret", Secret), ("tls_client_certificate_bound_access_tokens", true)),
            new JsonObject { ["client_id"] = "introspector", ["grant_types"] = new JsonArray(), ["client_secret"] = Secret, ["introspection"] = true }),
    }.ToJsonString();

    private static JsonObject Registered(string id, string method, params ReadOnlySpan<(string Name, JsonNode Value)> members)
    {
        var client = new JsonObject
        {
            ["client_id"] = id,
            ["token_endpoint_auth_method"] = method,
            ["scope"] = "catalog.search catalog.read",
            ["grant_types"] = new JsonArray("client_credentials", "urn:ietf:params:oauth:grant-type:token-exchange"),
        };
        foreach (var (name, value) in members)
        {
            client[name] = value;
        }

        return client;
    }

    private static JsonObject Jwks(ECDsa key)
    {
        var q = key.ExportParameters(false).Q;
        return new()
        {
            ["keys"] = new JsonArray(new JsonObject
            {
                ["kty"] = "EC",
                ["crv"] = "P-256",
                ["kid"] = "own",
                ["x"] = System.Buffers.Text.Base64Url.EncodeToString(q.X),
                ["y"] = System.Buffers.Text.Base64Url.EncodeToString(q.Y),
            }),
        };
    }
}
