using System;
using System.Globalization;
using System.Linq;
using System.Reflection;
using TokenService.Operations;
using TokenService.Storage;

namespace TokenService.Administration;

/// <summary>The record of a start: what the service goes by.</summary>
internal static class AuditStart
{
    /// <summary>Makes the record. The connection string is not in it, which may hold a password.</summary>
    /// <param name="settings">The settings.</param>
    /// <param name="issuer">The issuer.</param>
    /// <param name="snapshot">What the store holds.</param>
    /// <param name="now">The time.</param>
    public static AuditRecord Record(Settings settings, string issuer, StoreSnapshot snapshot, DateTimeOffset now) => new(AuditEvents.Start, now)
    {
        StoreVersion = snapshot.Version,
        Settings =
        [
            ("version", typeof(AuditStart).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()!.InformationalVersion),
            ("Issuer", issuer),
            ("Storage", settings.IsPostgreSql ? "PostgreSql" : "Sqlite"),
            ("ApplyFile", settings.ApplyFile),
            ("AccessTokenLifetime", Text(settings.AccessTokenLifetime)),
            ("SigningAlgorithm", settings.SigningAlgorithm),
            ("KeyRotation", Text(settings.KeyRotation)),
            ("KeyPublishAhead", Text(settings.KeyPublishAhead)),
            ("MaxStaleness", Text(settings.MaxStaleness)),
            ("MasterKeyFile", settings.MasterKeyFile),
            ("AssertionAudience", settings.AssertionForTokenEndpoint ? "IssuerOrTokenEndpoint" : "Issuer"),
            ("RateLimit:FailuresPerMinute", settings.FailuresPerMinute.ToString(CultureInfo.InvariantCulture)),
            ("ForwardedHeaders:KnownProxies", string.Join(' ', settings.KnownProxies)),
            ("Mtls:Enabled", settings.TakesClientCertificates ? "true" : "false"),
            ("Mtls:ClientCaFile", settings.ClientCaFile),
            ("Mtls:Url", settings.MtlsUrl),
            ("Management:Url", settings.ManagementUrl),
            ("Audit:File", settings.AuditFile),
            ("Audit:OnFailure", settings.AuditRefuses ? "refuse" : "continue"),
            ("environment", settings.Development ? "Development" : "Production"),
            ("clients", snapshot.Registry.Clients.Count.ToString(CultureInfo.InvariantCulture)),
            ("resources", snapshot.Registry.Resources.Count.ToString(CultureInfo.InvariantCulture)),
            ("signing_keys", string.Join(' ', snapshot.Keys.Schedule.Keys.Select(key => key.Kid))),
        ],
    };

    private static string Text(TimeSpan duration) => duration.ToString("c", CultureInfo.InvariantCulture);
}
