using System;
using System.Security.Cryptography;
using System.Threading.Tasks;
using Microsoft.Extensions.Time.Testing;

namespace TokenService.Tests.Support;

/// <summary>Clients that prove themselves by assertions, their keys, and a service that knows them and whose clock stands still.</summary>
internal static class AssertionClients
{
    /// <summary>With an RSA key "1", and keys "2", "3", "4" on the three curves.</summary>
    public const string KeyJob = "key-job";

    /// <summary>Registered for PS256 alone, with the same RSA key, without kid.</summary>
    public const string PsJob = "ps-job";

    /// <summary>Another one with the same RSA key "1".</summary>
    public const string OtherJob = "other-job";

    /// <summary>Signs with its secret.</summary>
    public const string MacJob = "mac-job";

    public const string MacSecret = "mac-secret-0123456789abcdef0123456789";

    /// <summary>With a secret, by HTTP Basic.</summary>
    public const string BasicJob = "basic-job";

    public const string BasicSecret = "basic-secret-0123456789abcdef01234567";

    public static ClientKeyPair Rsa { get; } = ClientKeyPair.OfRsa();

    public static ClientKeyPair P256 { get; } = ClientKeyPair.OfEc(ECCurve.NamedCurves.nistP256);

    public static ClientKeyPair P384 { get; } = ClientKeyPair.OfEc(ECCurve.NamedCurves.nistP384);

    public static ClientKeyPair P521 { get; } = ClientKeyPair.OfEc(ECCurve.NamedCurves.nistP521);

    public static DateTimeOffset Now { get; } = DateTimeOffset.FromUnixTimeSeconds(1_800_000_000);

    public const string Issuer = "https://auth.example.com";

    public static string File { get; } = Resources($$"""
        { "client_id": "{{KeyJob}}", "token_endpoint_auth_method": "private_key_jwt", "scope": "catalog.read",
          "jwks": {{ClientKeyPair.Set(Rsa.Jwk("1"), P256.Jwk("2"), P384.Jwk("3"), P521.Jwk("4"))}} },
        { "client_id": "{{PsJob}}", "token_endpoint_auth_method": "private_key_jwt", "token_endpoint_auth_signing_alg": "PS256",
          "scope": "catalog.read", "jwks": {{ClientKeyPair.Set(Rsa.Jwk(null))}} },
        { "client_id": "{{OtherJob}}", "token_endpoint_auth_method": "private_key_jwt", "scope": "catalog.read",
          "jwks": {{ClientKeyPair.Set(Rsa.Jwk("1"))}} },
        { "client_id": "{{MacJob}}", "token_endpoint_auth_method": "client_secret_jwt", "client_secret": "{{MacSecret}}", "scope": "catalog.read" },
        { "client_id": "{{BasicJob}}", "client_secret": "{{BasicSecret}}", "scope": "catalog.read" }
        """);

    /// <summary>A declarative file with the catalog and these clients.</summary>
    public static string Resources(string clients) => $$"""
        { "resources": [ { "resource": "{{Sample.CatalogUri}}", "scopes": [ { "name": "catalog.read" } ] } ], "clients": [ {{clients}} ] }
        """;

    public static AssertionDraft Draft(string clientId = KeyJob, string audience = Issuer) => new(clientId, audience, Now);

    public static Task<RunningService> Start(TemporaryFolder? folder = null, TimeProvider? clock = null, string? file = null, params string[] settings)
        => RunningService.Start(
            folder,
            clock ?? new FakeTimeProvider(Now),
            file ?? File,
            [$"--TokenService:Issuer={Issuer}", "--TokenService:RateLimit:FailuresPerMinute=0", .. settings]);

    public static Task<Answer> Send(this RunningService service, string assertion, string extra = "")
        => service.Token(AssertionDraft.Form(assertion) + extra);
}
