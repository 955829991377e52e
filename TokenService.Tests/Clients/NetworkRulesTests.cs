using System;
using System.Net;
using FluentAssertions;
using TokenService.Clients;
using Xunit;

namespace TokenService.Tests.Clients;

/// <summary>Where a registered URL may lead.</summary>
public sealed class NetworkRulesTests
{
    [Theory]
    [InlineData("93.184.216.34", true)]
    [InlineData("10.0.0.1", true)]
    [InlineData("172.16.5.4", true)]
    [InlineData("192.168.1.1", true)]
    [InlineData("2606:2800:220:1::1", true)]
    [InlineData("fd00::1", true)]
    [InlineData("169.254.169.254", false)]
    [InlineData("169.254.0.1", false)]
    [InlineData("::ffff:169.254.169.254", false)]
    [InlineData("fe80::1", false)]
    [InlineData("fec0::1", false)]
    [InlineData("64:ff9b::a9fe:a9fe", false)]
    [InlineData("2002:a9fe:a9fe::1", false)]
    [InlineData("::a9fe:a9fe", false)]
    [InlineData("fd00:ec2::254", false)]
    [InlineData("100.100.100.200", false)]
    [InlineData("168.63.129.16", false)]
    [InlineData("127.0.0.1", false)]
    [InlineData("127.8.8.8", false)]
    [InlineData("::1", false)]
    [InlineData("::ffff:127.0.0.1", false)]
    [InlineData("0.0.0.0", false)]
    [InlineData("0.1.2.3", false)]
    [InlineData("::", false)]
    [InlineData("224.0.0.1", false)]
    [InlineData("255.255.255.255", false)]
    [InlineData("ff02::1", false)]
    public void A_name_may_not_lead_to_this_machine_or_to_the_local_link(string address, bool allowed)
        => NetworkRules.MayBeAsked(IPAddress.Parse(address), new Uri("https://keys.example.com/jwks")).Should().Be(allowed);

    [Theory]
    [InlineData("http://localhost:5000/jwks", "127.0.0.1", true)]
    [InlineData("http://localhost:5000/jwks", "::1", true)]
    [InlineData("https://127.0.0.1/jwks", "127.0.0.1", true)]
    [InlineData("https://[::1]/jwks", "::1", true)]
    [InlineData("http://localhost:5000/jwks", "10.0.0.1", false)]
    [InlineData("http://localhost:5000/jwks", "93.184.216.34", false)]
    public void A_loopback_URL_leads_to_the_loopback_and_nowhere_else(string url, string address, bool allowed)
        => NetworkRules.MayBeAsked(IPAddress.Parse(address), new Uri(url)).Should().Be(allowed);
}
