using System;
using System.Collections.Generic;
using System.Collections.Immutable;
using System.Globalization;
using System.IO;
using System.Linq;
using System.Net;
using System.Net.Sockets;
using System.Text.RegularExpressions;
using FluentValidation;
using Microsoft.Extensions.Configuration;
using TokenService.Keys;
using TokenService.Protocol;

namespace TokenService.Operations;

/// <summary>The settings of the service, checked. README lists them.</summary>
/// <remarks>This room holds what an operator sets and sees: settings, the log, limits, health.</remarks>
public sealed record Settings
{
    /// <summary>
    /// <c>TokenService:Issuer</c>: the <c>iss</c> of every token, https except on loopback, without a slash at its end.
    /// <see langword="null"/> in Development stands for the first listening URL.
    /// </summary>
    public required string? Issuer { get; init; }

    /// <summary>The path of the issuer (<c>/tenant</c>), under which the endpoints are; empty where it has none.</summary>
    public string IssuerPath => PathOf(Issuer);

    /// <summary><c>TokenService:Storage</c>: whether the store is PostgreSQL, which replicas can share, and not the embedded one.</summary>
    public required bool IsPostgreSql { get; init; }

    /// <summary><c>ConnectionStrings:TokenService</c>, or <see langword="null"/> for a file in the content root. May hold a password.</summary>
    public required string? ConnectionString { get; init; }

    /// <summary><c>TokenService:ApplyFile</c> as a full path.</summary>
    public required string? ApplyFile { get; init; }

    /// <summary><c>TokenService:AccessTokenLifetime</c>: whole seconds.</summary>
    public required TimeSpan AccessTokenLifetime { get; init; }

    /// <summary><c>TokenService:SigningAlgorithm</c>: what the next key signs with.</summary>
    public required string SigningAlgorithm { get; init; }

    /// <summary><c>TokenService:KeyRotation</c>: how old the signing key may become. Whole seconds.</summary>
    public required TimeSpan KeyRotation { get; init; }

    /// <summary><c>TokenService:KeyPublishAhead</c>: how long a key is in the JWKS before it signs. Whole seconds.</summary>
    public required TimeSpan KeyPublishAhead { get; init; }

    /// <summary>How long a verifier may keep the JWKS: an hour, or half of <see cref="KeyPublishAhead"/> where that is less.</summary>
    public TimeSpan JwksMaxAge => KeyPublishAhead < TimeSpan.FromHours(2) ? KeyPublishAhead / 2 : TimeSpan.FromHours(1);

    /// <summary><c>TokenService:MaxStaleness</c>: how long tokens go out while the store does not answer. Whole seconds.</summary>
    public required TimeSpan MaxStaleness { get; init; }

    /// <summary>
    /// For how long after the store's last answer requests go by what is in memory. A verifier may keep for <see cref="JwksMaxAge"/> what
    /// it got at the last moment, and by then others may sign with a key that is not in it: so not for longer than that key is published ahead.
    /// </summary>
    public TimeSpan LongestStaleness => MaxStaleness < KeyPublishAhead - JwksMaxAge ? MaxStaleness : KeyPublishAhead - JwksMaxAge;

    /// <summary><c>TokenService:MasterKeyFile</c> as a full path, or <see langword="null"/> for a file beside the store.</summary>
    public required string? MasterKeyFile { get; init; }

    /// <summary>
    /// <c>TokenService:AssertionAudience</c>: whether the <c>aud</c> of a client assertion may be the token endpoint's URL too, for older
    /// client libraries.
    /// </summary>
    public required bool AssertionForTokenEndpoint { get; init; }

    /// <summary>What the <c>aud</c> of a client assertion may be, the issuer first.</summary>
    public ImmutableArray<string> AssertionAudiences(string issuer) => AssertionForTokenEndpoint ? [issuer, issuer + EndpointPaths.Token] : [issuer];

    /// <summary><c>TokenService:RateLimit:FailuresPerMinute</c>; 0 is off.</summary>
    public required int FailuresPerMinute { get; init; }

    /// <summary>
    /// <c>TokenService:ForwardedHeaders:KnownProxies</c>: whose <c>X-Forwarded-For</c> is believed; a single address is a network of one. IPv4 is
    /// never mapped to IPv6 here.
    /// </summary>
    public required ImmutableArray<IPNetwork> KnownProxies { get; init; }

    /// <summary><c>TokenService:Mtls:Enabled</c>: whether clients may prove themselves, and have their tokens bound, by a certificate.</summary>
    public required bool TakesClientCertificates { get; init; }

    /// <summary><c>TokenService:Mtls:ClientCaFile</c> as a full path: the authorities for <c>tls_client_auth</c>.</summary>
    public required string? ClientCaFile { get; init; }

    /// <summary><c>TokenService:Mtls:Url</c>: where clients with a certificate go, with the issuer's path; <see langword="null"/> where it is the issuer itself.</summary>
    public required string? MtlsUrl { get; init; }

    /// <summary>
    /// <c>TokenService:Audit:File</c> as a full path, <see cref="StandardOutput"/> for standard output, or <see langword="null"/> where
    /// nothing is recorded.
    /// </summary>
    public required string? AuditFile { get; init; }

    /// <summary><c>TokenService:Audit:OnFailure</c>: whether no token is given that cannot be recorded.</summary>
    public required bool AuditRefuses { get; init; }

    /// <summary>What <see cref="AuditFile"/> is for standard output.</summary>
    public const string StandardOutput = "-";

    /// <summary>
    /// <c>TokenService:Management:Url</c>: where metrics and the console are, for operators alone; <see langword="null"/> for nowhere. It has no TLS.
    /// </summary>
    public required string? ManagementUrl { get; init; }

    /// <summary>The folder that relative paths in settings start from.</summary>
    public required string ContentRoot { get; init; }

    /// <summary>Whether this is the Development environment.</summary>
    public required bool Development { get; init; }

    /// <summary>
    /// The issuer as commands know it, without listening: in Development, where no setting names it, the first of the listening URLs.
    /// <see langword="null"/> where neither is set.
    /// </summary>
    public required string? CommandIssuer { get; init; }

    /// <summary>Reads and checks the settings.</summary>
    /// <param name="configuration">Where they come from.</param>
    /// <param name="contentRoot">The folder that relative paths start from.</param>
    /// <param name="development">Whether this is the Development environment.</param>
    /// <exception cref="OperatorFaultException">A setting is wrong or unknown; the message names key, value and what is accepted.</exception>
    public static Settings Read(IConfiguration configuration, string contentRoot, bool development)
    {
        var section = configuration.GetSection(SettingsSection.Name);
        RefuseUnknown(section, SettingsSection.Keys);
        RefuseUnder(section.GetSection(nameof(SettingsSection.RateLimit)), RateLimitSection.Keys);
        var forwarded = section.GetSection(nameof(SettingsSection.ForwardedHeaders));
        RefuseUnder(forwarded, ForwardedHeadersSection.Keys);
        RefuseUnder(section.GetSection(nameof(SettingsSection.Mtls)), MtlsSection.Keys);
        RefuseUnder(section.GetSection(nameof(SettingsSection.Audit)), AuditSection.Keys);
        RefuseUnder(section.GetSection(nameof(SettingsSection.Management)), ManagementSection.Keys);

        var values = section.Get<SettingsSection>() ?? new SettingsSection();

        // One text, or else an array of them.
        values.ForwardedHeaders.KnownProxies = forwarded[nameof(ForwardedHeadersSection.KnownProxies)]
            ?? string.Join(' ', forwarded.GetSection(nameof(ForwardedHeadersSection.KnownProxies)).GetChildren().Select(child => child.Value));
        var fault = new SettingsRules().Validate(values).Errors.FirstOrDefault();
        if (fault is not null)
        {
            throw new OperatorFaultException(
                $"{SettingsSection.Name}:{fault.PropertyName} is {Printable.Quote($"{fault.AttemptedValue}")}; accepted: {fault.ErrorMessage}.");
        }

        var connectionString = configuration.GetConnectionString(SettingsSection.Name);
        if (values.Storage == SettingsSection.PostgreSql)
        {
            Require("ConnectionStrings:TokenService", connectionString, "such as Host=db.example.com;Database=tokens;Username=tokens;Password=…");
            Require($"{SettingsSection.Name}:{nameof(SettingsSection.MasterKeyFile)}", values.MasterKeyFile,
                "a file with 32 random bytes in base64, as \"openssl rand -base64 32\" writes them, the same for every replica");
        }

        return new Settings
        {
            IsPostgreSql = values.Storage == SettingsSection.PostgreSql,
            Issuer = values.Issuer,
            CommandIssuer = values.Issuer ?? (development && configuration["urls"] is { Length: > 0 } urls ? IssuerOf(urls.Split(';')[0]) : null),
            ConnectionString = connectionString,
            ApplyFile = FullPath(values.ApplyFile),
            AccessTokenLifetime = TimeSpan.Parse(values.AccessTokenLifetime, CultureInfo.InvariantCulture),
            SigningAlgorithm = values.SigningAlgorithm,
            KeyRotation = SettingsRules.Duration(values.KeyRotation)!.Value,
            KeyPublishAhead = SettingsRules.Duration(values.KeyPublishAhead)!.Value,
            MaxStaleness = SettingsRules.Duration(values.MaxStaleness)!.Value,
            MasterKeyFile = FullPath(values.MasterKeyFile),
            AssertionForTokenEndpoint = values.AssertionAudience == SettingsSection.IssuerOrTokenEndpoint,
            FailuresPerMinute = int.Parse(values.RateLimit.FailuresPerMinute, CultureInfo.InvariantCulture),
            KnownProxies = SettingsRules.Networks(values.ForwardedHeaders.KnownProxies)!.Value,
            TakesClientCertificates = values.Mtls.Enabled == SettingsSection.True,
            ClientCaFile = FullPath(values.Mtls.ClientCaFile),
            MtlsUrl = values.Mtls.Url is { } url ? url + PathOf(values.Issuer) : null,
            AuditFile = values.Audit.File == StandardOutput ? StandardOutput : FullPath(values.Audit.File),
            AuditRefuses = values.Audit.OnFailure == AuditSection.Refuse,
            ManagementUrl = string.IsNullOrEmpty(values.Management.Url) ? null : values.Management.Url,
            ContentRoot = contentRoot,
            Development = development,
        };

        static void Require(string key, string? value, string accepted)
        {
            if (string.IsNullOrEmpty(value))
            {
                throw new OperatorFaultException($"{key} is not set; with {SettingsSection.Name}:Storage=PostgreSql it is required: {accepted}.");
            }
        }

        string? FullPath(string? path) => string.IsNullOrEmpty(path) ? null : Path.GetFullPath(path, contentRoot);
    }

    /// <summary>The issuer of a service that listens at this URL, where no setting names one: a wildcard host is <c>localhost</c>.</summary>
    /// <param name="url">As <c>--urls</c> takes it.</param>
    public static string IssuerOf(string url)
    {
        var parts = Regex.Match(url, @"^(\w+://)(.*?)(:\d+)?/*$");
        return parts.Groups[2].Value is "*" or "+" or "0.0.0.0" or "[::]"
            ? $"{parts.Groups[1].Value}localhost{parts.Groups[3].Value}"
            : url.TrimEnd('/');
    }

    /// <summary>Checks what the service needs beyond what commands need.</summary>
    /// <exception cref="OperatorFaultException">There is no issuer, outside Development.</exception>
    public Settings ForService() => Issuer is not null || Development
        ? this
        : throw new OperatorFaultException(
            "TokenService:Issuer is not set; outside Development it is required: the https URL under which clients reach this service.");

    private static string PathOf(string? issuer) => issuer is null ? "" : new Uri(issuer).AbsolutePath.TrimEnd('/');

    private static void RefuseUnder(IConfigurationSection section, IReadOnlyCollection<string> known)
    {
        RefuseUnknown(section, known);
        if (section.Value is { Length: > 0 } value)
        {
            throw new OperatorFaultException($"{section.Path} is {Printable.Quote(value)}; accepted: settings under it: {string.Join(", ", known)}.");
        }
    }

    private static void RefuseUnknown(IConfigurationSection section, IReadOnlyCollection<string> known)
    {
        var unknown = section.GetChildren().FirstOrDefault(child => !known.Contains(child.Key, StringComparer.OrdinalIgnoreCase));
        if (unknown is not null)
        {
            throw new OperatorFaultException(
                $"{section.Path}:{Printable.Escape(unknown.Key)} is not a setting; accepted under {section.Path}: {string.Join(", ", known)}.");
        }
    }
}

/// <summary>The section <c>TokenService</c> as it was written, each value still a text.</summary>
internal sealed class SettingsSection
{
    public const string Name = "TokenService";

    public const string IssuerOrTokenEndpoint = "IssuerOrTokenEndpoint";

    public const string PostgreSql = "PostgreSql";

    public const string Sqlite = "Sqlite";

    public const string True = "true";

    public static readonly IReadOnlyCollection<string> Keys =
    [
        nameof(Issuer), nameof(Storage), nameof(ApplyFile), nameof(AccessTokenLifetime), nameof(SigningAlgorithm), nameof(MasterKeyFile),
        nameof(AssertionAudience), nameof(RateLimit), nameof(KeyRotation), nameof(KeyPublishAhead),
        nameof(ForwardedHeaders), nameof(MaxStaleness), nameof(Mtls), nameof(Audit), nameof(Management),
    ];

    public string? Issuer { get; set; }

    public string Storage { get; set; } = Sqlite;

    public string? ApplyFile { get; set; }

    public string AccessTokenLifetime { get; set; } = "01:00:00";

    public string SigningAlgorithm { get; set; } = SigningAlgorithms.RS256;

    public string KeyRotation { get; set; } = "90.00:00:00";

    public string KeyPublishAhead { get; set; } = "1.00:00:00";

    public string MaxStaleness { get; set; } = "01:00:00";

    public string? MasterKeyFile { get; set; }

    public string AssertionAudience { get; set; } = nameof(Issuer);

    public RateLimitSection RateLimit { get; set; } = new();

    public ForwardedHeadersSection ForwardedHeaders { get; set; } = new();

    public MtlsSection Mtls { get; set; } = new();

    public AuditSection Audit { get; set; } = new();

    public ManagementSection Management { get; set; } = new();
}

/// <summary>The section <c>TokenService:Management</c>.</summary>
internal sealed class ManagementSection
{
    public static readonly IReadOnlyCollection<string> Keys = [nameof(Url)];

    public string Url { get; set; } = "";
}

/// <summary>The section <c>TokenService:RateLimit</c>.</summary>
internal sealed class RateLimitSection
{
    public static readonly IReadOnlyCollection<string> Keys = [nameof(FailuresPerMinute)];

    public string FailuresPerMinute { get; set; } = "60";
}

/// <summary>The section <c>TokenService:ForwardedHeaders</c>.</summary>
internal sealed class ForwardedHeadersSection
{
    public static readonly IReadOnlyCollection<string> Keys = [nameof(KnownProxies)];

    public string KnownProxies { get; set; } = "";
}

/// <summary>The section <c>TokenService:Mtls</c>.</summary>
internal sealed class MtlsSection
{
    public static readonly IReadOnlyCollection<string> Keys = [nameof(Enabled), nameof(ClientCaFile), nameof(Url)];

    public string Enabled { get; set; } = "false";

    public string? ClientCaFile { get; set; }

    public string? Url { get; set; }
}

/// <summary>The section <c>TokenService:Audit</c>.</summary>
internal sealed class AuditSection
{
    public const string Continue = "continue";

    public const string Refuse = "refuse";

    public static readonly IReadOnlyCollection<string> Keys = [nameof(File), nameof(OnFailure)];

    public string? File { get; set; }

    public string OnFailure { get; set; } = Continue;
}

/// <summary>What the settings may be; each message completes "accepted: …".</summary>
internal sealed class SettingsRules : AbstractValidator<SettingsSection>
{
    private static readonly TimeSpan s_shortestLifetime = TimeSpan.FromSeconds(60);
    private static readonly TimeSpan s_longestLifetime = KeySchedule.LongestTokenLifetime;

    // Twice what it takes until every replica publishes a new key: the other half is for the verifiers that keep the JWKS.
    private static readonly TimeSpan s_shortestAhead = TimeSpan.FromSeconds(10);

    // Each key stays published for a day after it signed: there may be some 25.
    private static readonly TimeSpan s_shortestRotation = TimeSpan.FromHours(1);
    private static readonly TimeSpan s_longestRotation = TimeSpan.FromDays(3650);

    // Ten times what it takes until the store is asked again: a restart of it must not stop the tokens.
    private static readonly TimeSpan s_shortestStaleness = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan s_longestStaleness = TimeSpan.FromDays(7);

    public SettingsRules()
    {
        RuleFor(settings => settings.Issuer)
            .Must(issuer => issuer is null || IsIssuer(issuer))
            .WithMessage("an https URL (http on loopback only) without query, fragment, user, or slash at its end, such as https://auth.example.com");
        RuleFor(settings => settings.Storage)
            .Must(storage => storage is SettingsSection.Sqlite or SettingsSection.PostgreSql)
            .WithMessage($"{SettingsSection.Sqlite} or {SettingsSection.PostgreSql}");
        RuleFor(settings => settings.AccessTokenLifetime).Must(IsLifetime).WithMessage("whole seconds from 00:01:00 to 1.00:00:00 (hh:mm:ss)");
        RuleFor(settings => settings.SigningAlgorithm)
            .Must(algorithm => SigningAlgorithms.All.Contains(algorithm)).WithMessage(string.Join(", ", SigningAlgorithms.All));
        RuleFor(settings => settings.KeyRotation)
            .Must(text => Duration(text) >= s_shortestRotation && Duration(text) <= s_longestRotation)
            .WithMessage("01:00:00 to 3650.00:00:00 (hh:mm:ss or d.hh:mm:ss)");
        RuleFor(settings => settings.KeyPublishAhead)
            .Must((settings, text) => Duration(text) >= s_shortestAhead && Duration(text) <= Duration(settings.KeyRotation))
            .WithMessage("00:00:10 to TokenService:KeyRotation (hh:mm:ss or d.hh:mm:ss)");
        RuleFor(settings => settings.MaxStaleness)
            .Must(text => Duration(text) >= s_shortestStaleness && Duration(text) <= s_longestStaleness)
            .WithMessage("00:00:10 to 7.00:00:00 (hh:mm:ss or d.hh:mm:ss)");
        RuleFor(settings => settings.AssertionAudience)
            .Must(audience => audience is nameof(SettingsSection.Issuer) or SettingsSection.IssuerOrTokenEndpoint)
            .WithMessage($"{nameof(SettingsSection.Issuer)} or {SettingsSection.IssuerOrTokenEndpoint}");
        RuleFor(settings => settings.RateLimit.FailuresPerMinute)
            .Must(text => int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out _)).WithMessage("a whole number, 0 for no limit")
            .OverridePropertyName($"{nameof(SettingsSection.RateLimit)}:{nameof(RateLimitSection.FailuresPerMinute)}");
        RuleFor(settings => settings.ForwardedHeaders.KnownProxies)
            .Must(text => Networks(text) is not null)
            .WithMessage("IP addresses and networks such as 10.0.0.0/8 or 2001:db8::/32, all bits after the prefix 0, separated by commas or spaces")
            .OverridePropertyName($"{nameof(SettingsSection.ForwardedHeaders)}:{nameof(ForwardedHeadersSection.KnownProxies)}");
        RuleFor(settings => settings.Mtls.Enabled)
            .Must(text => text is SettingsSection.True or "false").WithMessage("true or false")
            .OverridePropertyName($"{nameof(SettingsSection.Mtls)}:{nameof(MtlsSection.Enabled)}");
        RuleFor(settings => settings.Mtls.Url)
            .Must(url => url is null || (IsIssuer(url) && new Uri(url) is { AbsolutePath: "/" } uri && uri.Scheme == Uri.UriSchemeHttps))
            .WithMessage("an https URL without path, query, fragment, user, or slash at its end, such as https://mtls.auth.example.com")
            .OverridePropertyName($"{nameof(SettingsSection.Mtls)}:{nameof(MtlsSection.Url)}");
        RuleFor(settings => settings.Audit.OnFailure)
            .Must(text => text is AuditSection.Continue or AuditSection.Refuse).WithMessage($"{AuditSection.Continue} or {AuditSection.Refuse}")
            .OverridePropertyName($"{nameof(SettingsSection.Audit)}:{nameof(AuditSection.OnFailure)}");
        RuleFor(settings => settings.Management.Url)
            .Must(text => text.Length == 0 || IsListener(text))
            .WithMessage("an http URL with a port and nothing after it, such as http://127.0.0.1:9464, that only operators reach")
            .OverridePropertyName($"{nameof(SettingsSection.Management)}:{nameof(ManagementSection.Url)}");
    }

    /// <summary>Reads hh:mm:ss or d.hh:mm:ss, and nothing looser: .NET would take 24:00:00 for 24 days.</summary>
    public static TimeSpan? Duration(string text)
        => TimeSpan.TryParseExact(text, ["hh\\:mm\\:ss", "d\\.hh\\:mm\\:ss"], CultureInfo.InvariantCulture, out var duration) ? duration : null;

    /// <summary>Reads addresses and networks, separated by commas or spaces; <see langword="null"/> where one of them is neither.</summary>
    public static ImmutableArray<IPNetwork>? Networks(string text)
    {
        var networks = text.Split([',', ' '], StringSplitOptions.RemoveEmptyEntries).Select(Network).ToList();
        return networks.Contains(null) ? null : [.. networks.Select(network => network!.Value)];
    }

    private static IPNetwork? Network(string text)
    {
        // .NET would take 10.1 for 10.0.0.1, and a zone is of one machine only.
        var address = text.Split('/')[0];
        if ((!address.Contains(':') && address.Count(c => c == '.') != 3) || text.AsSpan().ContainsAny('%', '[') || !IPAddress.TryParse(address, out var single))
        {
            return null;
        }

        if (!text.Contains('/'))
        {
            single = single.IsIPv4MappedToIPv6 ? single.MapToIPv4() : single;
            return new IPNetwork(single, single.AddressFamily == AddressFamily.InterNetwork ? 32 : 128);
        }

        return !IPNetwork.TryParse(text, out var network) || !network.BaseAddress.Equals(single) ? null
            : network.BaseAddress.IsIPv4MappedToIPv6 && network.PrefixLength >= 96 ? new IPNetwork(network.BaseAddress.MapToIPv4(), network.PrefixLength - 96)
            : network;
    }

    private static bool IsLifetime(string text)
        => TimeSpan.TryParse(text, CultureInfo.InvariantCulture, out var lifetime)
            && lifetime >= s_shortestLifetime && lifetime <= s_longestLifetime && lifetime.Ticks % TimeSpan.TicksPerSecond == 0;

    private static bool IsListener(string text)
        => Regex.Match(text, @"^http://([A-Za-z0-9.-]+|[*+]|\[[0-9A-Fa-f:.]+\]):([0-9]{1,5})/?$") is { Success: true } url
            && int.Parse(url.Groups[2].ValueSpan, CultureInfo.InvariantCulture) is > 0 and <= ushort.MaxValue;

    private static bool IsIssuer(string text)
        => Uri.TryCreate(text, UriKind.Absolute, out var uri)
            && (uri.Scheme == Uri.UriSchemeHttps || (uri.Scheme == Uri.UriSchemeHttp && IsLoopback(uri)))
            && uri.Query.Length == 0 && uri.Fragment.Length == 0 && uri.UserInfo.Length == 0
            && !text.EndsWith('/') && !text.AsSpan().ContainsAny("?#%") && text.All(char.IsAscii)
            && !uri.AbsolutePath.Contains("//", StringComparison.Ordinal) && !uri.AbsolutePath.Contains("/.well-known", StringComparison.Ordinal)

            // As it is written, it must be what it means: the issuer is compared character by character.
            && uri.GetComponents(UriComponents.SchemeAndServer | UriComponents.Path, UriFormat.UriEscaped).TrimEnd('/') == text;

    private static bool IsLoopback(Uri uri) => uri.IsLoopback || (IPAddress.TryParse(uri.DnsSafeHost, out var address) && IPAddress.IsLoopback(address));
}
