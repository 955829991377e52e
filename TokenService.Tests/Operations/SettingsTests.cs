using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using FluentAssertions;
using Microsoft.Extensions.Configuration;
using TokenService.Operations;
using TokenService.Protocol;
using Xunit;

namespace TokenService.Tests.Operations;

public sealed class SettingsTests
{
    [Fact]
    public void The_defaults_are_those_of_the_documentation()
    {
        var settings = Read("/srv/tokens");

        settings.Issuer.Should().BeNull();
        settings.AccessTokenLifetime.Should().Be(TimeSpan.FromHours(1));
        settings.SigningAlgorithm.Should().Be("RS256");
        (settings.KeyRotation, settings.KeyPublishAhead, settings.JwksMaxAge).Should().Be((TimeSpan.FromDays(90), TimeSpan.FromDays(1), TimeSpan.FromHours(1)));
        (settings.MaxStaleness, settings.LongestStaleness).Should().Be((TimeSpan.FromHours(1), TimeSpan.FromHours(1)));
        settings.FailuresPerMinute.Should().Be(60);
        (settings.ApplyFile, settings.MasterKeyFile, settings.ConnectionString, settings.ManagementUrl).Should().Be((null, null, null, null));
        (settings.AuditFile, settings.AuditRefuses).Should().Be((null, false));
    }

    [Theory]
    [InlineData("Issuer", "auth.example.com", "an https URL")]
    [InlineData("Issuer", "", "an https URL")]
    [InlineData("Issuer", "http://auth.example.com", "an https URL")]
    [InlineData("Issuer", "https://auth.example.com/", "an https URL")]
    [InlineData("Issuer", "https://auth.example.com?x=1", "an https URL")]
    [InlineData("Issuer", "https://auth.example.com#x", "an https URL")]
    [InlineData("Issuer", "https://user@auth.example.com", "an https URL")]
    [InlineData("Issuer", "https://AUTH.example.com", "an https URL")]
    [InlineData("Issuer", "https://auth.example.com/a/../b", "an https URL")]
    [InlineData("Issuer", "https://auth.example.com/a%20b", "an https URL")]
    [InlineData("Issuer", "https://auth.example.com//a", "an https URL")]
    [InlineData("Issuer", "https://auth.example.com/.well-known/openid-configuration", "an https URL")]
    [InlineData("Storage", "Oracle", "Sqlite")]
    [InlineData("AccessTokenLifetime", "00:00:59", "whole seconds from 00:01:00")]
    [InlineData("AccessTokenLifetime", "1.00:00:01", "whole seconds from 00:01:00")]
    [InlineData("AccessTokenLifetime", "00:01:00.5", "whole seconds from 00:01:00")]
    [InlineData("AccessTokenLifetime", "3600", "whole seconds from 00:01:00")]
    [InlineData("AccessTokenLifetime", "an hour", "whole seconds from 00:01:00")]
    [InlineData("SigningAlgorithm", "HS256", "RS256, PS256, ES256")]
    [InlineData("SigningAlgorithm", "none", "RS256, PS256, ES256")]
    [InlineData("KeyRotation", "00:59:59", "01:00:00 to 3650.00:00:00")]
    [InlineData("KeyRotation", "3650.00:00:01", "01:00:00 to 3650.00:00:00")]
    [InlineData("KeyRotation", "24:00:00", "01:00:00 to 3650.00:00:00")]
    [InlineData("KeyRotation", "90", "01:00:00 to 3650.00:00:00")]
    [InlineData("KeyRotation", "-90.00:00:00", "01:00:00 to 3650.00:00:00")]
    [InlineData("KeyRotation", "", "01:00:00 to 3650.00:00:00")]
    [InlineData("KeyPublishAhead", "00:00:09", "00:00:10 to TokenService:KeyRotation")]
    [InlineData("KeyPublishAhead", "90.00:00:01", "00:00:10 to TokenService:KeyRotation")]
    [InlineData("KeyPublishAhead", "a day", "00:00:10 to TokenService:KeyRotation")]
    [InlineData("Audit:OnFailure", "stop", "continue or refuse")]
    [InlineData("Audit:OnFailure", "", "continue or refuse")]
    [InlineData("MaxStaleness", "00:00:09", "00:00:10 to 7.00:00:00")]
    [InlineData("MaxStaleness", "7.00:00:01", "00:00:10 to 7.00:00:00")]
    [InlineData("MaxStaleness", "an hour", "00:00:10 to 7.00:00:00")]
    [InlineData("AssertionAudience", "TokenEndpoint", "Issuer or IssuerOrTokenEndpoint")]
    [InlineData("AssertionAudience", "", "Issuer or IssuerOrTokenEndpoint")]
    [InlineData("RateLimit:FailuresPerMinute", "-1", "a whole number")]
    [InlineData("RateLimit:FailuresPerMinute", "many", "a whole number")]
    [InlineData("Management:Url", "https://127.0.0.1:9464", "an http URL with a port and nothing after it")]
    [InlineData("Management:Url", "http://127.0.0.1", "an http URL with a port and nothing after it")]
    [InlineData("Management:Url", "http://127.0.0.1:0", "an http URL with a port and nothing after it")]
    [InlineData("Management:Url", "http://127.0.0.1:65536", "an http URL with a port and nothing after it")]
    [InlineData("Management:Url", "http://127.0.0.1:9464/metrics", "an http URL with a port and nothing after it")]
    [InlineData("Management:Url", "http://user@127.0.0.1:9464", "an http URL with a port and nothing after it")]
    [InlineData("Management:Url", "127.0.0.1:9464", "an http URL with a port and nothing after it")]
    [InlineData("Management:Url", "http://127.0.0.1:9464;http://*:80", "an http URL with a port and nothing after it")]
    [InlineData("ForwardedHeaders:KnownProxies", "proxy.example.com", "IP addresses and networks")]
    [InlineData("ForwardedHeaders:KnownProxies", "*", "IP addresses and networks")]
    [InlineData("ForwardedHeaders:KnownProxies", "10.1", "IP addresses and networks")]
    [InlineData("ForwardedHeaders:KnownProxies", "10.0.0.256", "IP addresses and networks")]
    [InlineData("ForwardedHeaders:KnownProxies", "10.0.0.1:80", "IP addresses and networks")]
    [InlineData("ForwardedHeaders:KnownProxies", "10.0.0.1, 10.0.0.1/8", "IP addresses and networks")]
    [InlineData("ForwardedHeaders:KnownProxies", "10.0.0.0/33", "IP addresses and networks")]
    [InlineData("ForwardedHeaders:KnownProxies", "10.0.0.0/", "IP addresses and networks")]
    [InlineData("ForwardedHeaders:KnownProxies", "fe80::1%eth0", "IP addresses and networks")]
    [InlineData("ForwardedHeaders:KnownProxies", "[2001:db8::1]:80", "IP addresses and networks")]
    [InlineData("Mtls:Enabled", "yes", "true or false")]
    [InlineData("Mtls:Url", "http://mtls.example.com", "an https URL without path")]
    [InlineData("Mtls:Url", "https://mtls.example.com/tenant", "an https URL without path")]
    [InlineData("Mtls:Url", "https://mtls.example.com/", "an https URL without path")]
    [InlineData("Mtls:Url", "", "an https URL without path")]
    public void A_wrong_value_is_refused_with_key_value_and_what_is_accepted(string key, string value, string accepted)
    {
        var read = () => Read("/srv/tokens", ($"TokenService:{key}", value));

        read.Should().Throw<OperatorFaultException>().Which.Message
            .Should().StartWith($"TokenService:{key} is \"{value}\"; accepted: {accepted}").And.NotContain("\n");
    }

    [Theory]
    [InlineData("http://localhost:5080", "http://localhost:5080")]
    [InlineData("http://*:5080", "http://localhost:5080")]
    [InlineData("http://+:5080/", "http://localhost:5080")]
    [InlineData("http://0.0.0.0:5080", "http://localhost:5080")]
    [InlineData("http://[::]:5080", "http://localhost:5080")]
    [InlineData("http://[::1]:5080", "http://[::1]:5080")]
    [InlineData("https://127.0.0.1", "https://127.0.0.1")]
    public void Commands_and_the_service_know_the_same_issuer_where_none_is_set(string url, string issuer)
        => Settings.IssuerOf(url).Should().Be(issuer);

    [Theory]
    [InlineData("https://auth.example.com", "")]
    [InlineData("https://auth.example.com:8443", "")]
    [InlineData("https://auth.example.com/tenant/a", "/tenant/a")]
    [InlineData("http://localhost:5080", "")]
    [InlineData("http://127.0.0.1:5080", "")]
    [InlineData("http://[::1]:5080/x", "/x")]
    public void An_issuer_may_be_https_or_on_loopback_and_have_a_path(string issuer, string path)
    {
        var settings = Read("/srv/tokens", ("TokenService:Issuer", issuer));

        settings.Issuer.Should().Be(issuer);
        settings.IssuerPath.Should().Be(path);
    }

    [Theory]
    [InlineData("00:00:10", "00:00:05")]
    [InlineData("01:59:59", "00:59:59.5")]
    [InlineData("02:00:00", "01:00:00")]
    [InlineData("90.00:00:00", "01:00:00")]
    public void The_JWKS_may_be_kept_for_an_hour_or_half_of_what_a_key_is_published_ahead(string ahead, string maxAge)
        => Read("/srv/tokens", ("TokenService:KeyPublishAhead", ahead)).JwksMaxAge.Should().Be(TimeSpan.Parse(maxAge, System.Globalization.CultureInfo.InvariantCulture));

    [Theory]
    [InlineData("1.00:00:00", "01:00:00", "01:00:00")]
    [InlineData("1.00:00:00", "7.00:00:00", "23:00:00")]
    [InlineData("01:00:00", "01:00:00", "00:30:00")]
    [InlineData("00:00:10", "00:00:10", "00:00:05")]
    public void What_is_in_memory_is_never_older_than_what_verifiers_may_keep_allows(string ahead, string setting, string longest)
        => Read("/srv/tokens", ("TokenService:KeyPublishAhead", ahead), ("TokenService:MaxStaleness", setting))
            .LongestStaleness.Should().Be(TimeSpan.Parse(longest, System.Globalization.CultureInfo.InvariantCulture));

    [Fact]
    public void A_wrong_rotation_is_named_and_not_what_is_compared_with_it()
    {
        var read = () => Read("/srv/tokens", ("TokenService:KeyRotation", "soon"), ("TokenService:KeyPublishAhead", "2.00:00:00"));

        read.Should().Throw<OperatorFaultException>().Which.Message.Should().StartWith("TokenService:KeyRotation is \"soon\"");
    }

    [Fact]
    public void An_issuer_is_ASCII()
    {
        var read = () => Read("/srv/tokens", ("TokenService:Issuer", "https://bücher.example"));

        read.Should().Throw<OperatorFaultException>();
    }

    [Theory]
    [InlineData("TokenService:Isuer")]
    [InlineData("TokenService:RateLimit:FailuresPerHour")]
    [InlineData("TokenService:ForwardedHeaders:ForwardLimit")]
    [InlineData("TokenService:Mtls:CaFile")]
    [InlineData("TokenService:Audit:Path")]
    [InlineData("TokenService:Management:Port")]
    public void An_unknown_setting_is_refused(string key)
    {
        var read = () => Read("/srv/tokens", (key, "x"));

        read.Should().Throw<OperatorFaultException>().Which.Message.Should().StartWith($"{key} is not a setting; accepted");
    }

    [Fact]
    public void A_value_where_a_section_belongs_is_refused()
    {
        var read = () => Read("/srv/tokens", ("TokenService:RateLimit", "5"));

        read.Should().Throw<OperatorFaultException>().WithMessage("TokenService:RateLimit is \"5\"; accepted: settings under it: FailuresPerMinute.");
    }

    [Theory]
    [InlineData("", "")]
    [InlineData("10.0.0.1", "10.0.0.1/32")]
    [InlineData("10.0.0.0/8,192.0.2.1, 2001:db8::/32 ::1", "10.0.0.0/8 192.0.2.1/32 2001:db8::/32 ::1/128")]
    [InlineData("::ffff:192.0.2.1 ::ffff:10.0.0.0/104", "192.0.2.1/32 10.0.0.0/8")]
    public void Known_proxies_are_addresses_and_networks(string text, string read)
        => string.Join(' ', Read("/srv/tokens", ("TokenService:ForwardedHeaders:KnownProxies", text)).KnownProxies).Should().Be(read);

    [Theory]
    [InlineData("http://127.0.0.1:9464")]
    [InlineData("http://[::1]:9464/")]
    [InlineData("http://*:9464")]
    [InlineData("http://metrics.internal:65535")]
    public void Management_listens_at_an_http_address(string url)
        => Read("/srv/tokens", ("TokenService:Management:Url", url)).ManagementUrl.Should().Be(url);

    [Fact]
    public void Known_proxies_may_be_an_array_too_and_a_text_goes_before_it()
    {
        (string, string)[] array =
            [("TokenService:ForwardedHeaders:KnownProxies:0", "10.0.0.0/8"), ("TokenService:ForwardedHeaders:KnownProxies:1", "192.0.2.1 192.0.2.2")];

        Read("/srv/tokens", array).KnownProxies.Should().HaveCount(3);
        string.Join(' ', Read("/srv/tokens", [.. array, ("TokenService:ForwardedHeaders:KnownProxies", "::1")]).KnownProxies).Should().Be("::1/128");
    }

    [Fact]
    public void Relative_paths_start_from_the_content_root()
    {
        var settings = Read("/srv/tokens", ("TokenService:ApplyFile", "clients.json"), ("TokenService:MasterKeyFile", "/run/secrets/key"));

        settings.ApplyFile.Should().Be("/srv/tokens/clients.json");
        settings.MasterKeyFile.Should().Be("/run/secrets/key");
        Read("/srv/tokens", ("TokenService:Audit:File", "audit.log")).AuditFile.Should().Be("/srv/tokens/audit.log");
        Read("/srv/tokens", ("TokenService:Audit:File", "-")).AuditFile.Should().Be("-");
    }

    [Fact]
    public void Outside_Development_an_issuer_is_required()
    {
        var production = Read("/srv/tokens") with { Development = false };

        production.Invoking(settings => settings.ForService()).Should().Throw<OperatorFaultException>().WithMessage("TokenService:Issuer is not set*");
        Read("/srv/tokens").ForService().Issuer.Should().BeNull();
    }

    internal static IEnumerable<string> Keys()
        => SettingsSection.Keys.Except([nameof(SettingsSection.RateLimit), nameof(SettingsSection.ForwardedHeaders), nameof(SettingsSection.Mtls), nameof(SettingsSection.Audit), nameof(SettingsSection.Management)])
            .Concat(RateLimitSection.Keys.Select(key => $"{nameof(SettingsSection.RateLimit)}:{key}"))
            .Concat(ForwardedHeadersSection.Keys.Select(key => $"{nameof(SettingsSection.ForwardedHeaders)}:{key}"))
            .Concat(MtlsSection.Keys.Select(key => $"{nameof(SettingsSection.Mtls)}:{key}"))
            .Concat(AuditSection.Keys.Select(key => $"{nameof(SettingsSection.Audit)}:{key}"))
            .Concat(ManagementSection.Keys.Select(key => $"{nameof(SettingsSection.Management)}:{key}"));

    internal static Settings Read(string contentRoot, params (string Key, string Value)[] values) => Settings.Read(
        new ConfigurationBuilder()
            .AddJsonFile(Path.Combine(contentRoot, "appsettings.json"), optional: true)
            .AddInMemoryCollection(values.Select(pair => new KeyValuePair<string, string?>(pair.Key, pair.Value)))
            .Build(),
        contentRoot,
        development: true);
}
