using System;
using System.Linq;
using System.Net;
using System.Net.Sockets;

namespace TokenService.Clients;

/// <summary>Which addresses a registered URL may lead to.</summary>
/// <remarks>
/// Only operators register clients, so private networks (RFC 1918) are allowed. Link-local addresses never are: cloud machines hand out
/// their own credentials there. A loopback address is dialled only where the URL itself says so, since a name that leads to one would
/// reach what listens on this machine for this machine.
/// </remarks>
public static class NetworkRules
{
    // Where cloud machines are told their credentials besides 169.254.169.254 (AWS by IPv6, Alibaba, Azure).
    private static readonly IPAddress[] s_metadata =
        [IPAddress.Parse("fd00:ec2::254"), IPAddress.Parse("100.100.100.200"), IPAddress.Parse("168.63.129.16")];

    /// <summary>What <see cref="IsKeyAddress"/> asks for.</summary>
    public const string KeyAddress
        = "must be an https URL (http on loopback only) of at most 1024 ASCII characters, without user or fragment, and not link-local";

    /// <summary>Whether keys may be fetched from there, such as a <c>jwks_uri</c>.</summary>
    /// <param name="text">What should be a URL.</param>
    public static bool IsKeyAddress(string text)
        => text.Length <= 1024 && text.All(c => c is > ' ' and <= '~')
            && Uri.TryCreate(text, UriKind.Absolute, out var uri)
            && (uri.Scheme == Uri.UriSchemeHttps || (uri.Scheme == Uri.UriSchemeHttp && uri.IsLoopback))
            && uri.UserInfo.Length == 0 && !text.Contains('#', StringComparison.Ordinal)
            && (!IPAddress.TryParse(uri.DnsSafeHost, out var address) || MayBeAsked(address, uri));

    /// <summary>Whether a connection for this URL may go to this address.</summary>
    /// <param name="address">What the host of the URL is, or what its name leads to.</param>
    /// <param name="url">The URL.</param>
    public static bool MayBeAsked(IPAddress address, Uri url)
    {
        if (address.IsIPv4MappedToIPv6)
        {
            address = address.MapToIPv4();
        }

        if (Array.Exists(s_metadata, address.Equals))
        {
            return false;
        }

        var reserved = address.AddressFamily == AddressFamily.InterNetwork
            ? address.GetAddressBytes() is [169, 254, ..] or [0, ..] or [>= 224, ..]
            : address.IsIPv6LinkLocal || address.IsIPv6Multicast || address.IsIPv6SiteLocal || IsTransition(address) || address.Equals(IPAddress.IPv6Any);
        return !reserved && IPAddress.IsLoopback(address) == url.IsLoopback;
    }

    // Addresses with an IPv4 address inside, which a gateway on the way may unpack: NAT64 (64:ff9b::/96), 6to4 (2002::/16), IPv4-compatible (::/96).
    private static bool IsTransition(IPAddress address)
    {
        var bytes = address.GetAddressBytes();
        return bytes is [0x00, 0x64, 0xFF, 0x9B, ..] or [0x20, 0x02, ..] || (!IPAddress.IsLoopback(address) && bytes.Take(12).All(b => b == 0));
    }
}
