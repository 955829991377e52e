using System.Collections.Generic;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.HttpOverrides;
using Microsoft.Extensions.DependencyInjection;
using IPNetwork = System.Net.IPNetwork;

namespace TokenService.Endpoints;

/// <summary>Where a request comes from: the peer, or whom a known proxy names in <c>X-Forwarded-For</c>.</summary>
public static class ForwardedAddress
{
    /// <summary>Says who is believed.</summary>
    /// <remarks>
    /// ASP.NET Core has a switch of its own (<c>ASPNETCORE_FORWARDEDHEADERS_ENABLED</c>), which believes everybody, and reads the headers before the peer itself is
    /// known to anybody: it is off. Scheme and host are believed from nobody: all URLs come from the issuer.
    /// </remarks>
    /// <param name="builder">The program.</param>
    /// <param name="proxies">The known proxies; nobody where there are none.</param>
    public static void AddKnownProxies(this WebApplicationBuilder builder, IReadOnlyCollection<IPNetwork> proxies)
    {
        builder.Configuration["ForwardedHeaders_Enabled"] = "false";
        builder.Services.PostConfigure<ForwardedHeadersOptions>(options =>
        {
            // Without a known proxy, the framework would believe everybody.
            options.ForwardedHeaders = proxies.Count == 0 ? ForwardedHeaders.None : ForwardedHeaders.XForwardedFor;
            options.ForwardLimit = null;
            options.KnownProxies.Clear();
            options.KnownIPNetworks.Clear();
            foreach (var proxy in proxies)
            {
                options.KnownIPNetworks.Add(proxy);
            }
        });
    }

    /// <summary>Gives each request the address that it comes from: the last one in the header that is no known proxy's. An IPv4 address is one, whatever the listener.</summary>
    public static void UseForwardedAddress(this IApplicationBuilder app) => app.UseForwardedHeaders().Use(next => http =>
    {
        if (http.Connection.RemoteIpAddress is { IsIPv4MappedToIPv6: true } address)
        {
            http.Connection.RemoteIpAddress = address.MapToIPv4();
        }

        return next(http);
    });
}
