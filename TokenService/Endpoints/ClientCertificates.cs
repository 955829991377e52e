using System;
using System.Collections.Immutable;
using System.Linq;
using System.Net;
using System.Net.Security;
using System.Runtime.CompilerServices;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Https;
using Microsoft.Extensions.Primitives;
using TokenService.Protocol;
using IPNetwork = System.Net.IPNetwork;

namespace TokenService.Endpoints;

/// <summary>
/// Where the certificate of a client comes from: from the TLS connection, where that ends here; from a known proxy in the headers of RFC 9440, where it ends
/// there.
/// </summary>
/// <remarks>
/// Of a known proxy only the headers count: its own certificate, with which it may connect, is none of the client's. From anybody else the headers count for nothing.
/// </remarks>
/// <param name="proxies">The known proxies (<c>TokenService:ForwardedHeaders:KnownProxies</c>).</param>
public sealed class ClientCertificates(ImmutableArray<IPNetwork> proxies)
{
    private const string Header = "Client-Cert";
    private const string ChainHeader = "Client-Cert-Chain";
    private const int MostOthers = 8;

    // As much as all headers may have. They stay for as long as the connection does.
    private const int MostBytes = 32 * 1024;

    private static readonly object s_peer = new();

    // What a client sent beside its certificate: the web server keeps only that, the same object for each request of the connection.
    private static readonly ConditionalWeakTable<X509Certificate2, StrongBox<ImmutableArray<byte[]>>> s_others = [];

    // The web server builds a chain whatever it is for; so it asks nobody for anything.
    private static readonly X509ChainPolicy s_unasked = new()
    {
        TrustMode = X509ChainTrustMode.CustomRootTrust,
        RevocationMode = X509RevocationMode.NoCheck,
        DisableCertificateDownloads = true,
    };

    /// <summary>Has the web server ask clients for a certificate, and take any, or none: what it is good for, the registration of the client decides.</summary>
    /// <param name="https">Where to.</param>
    public static void Ask(HttpsConnectionAdapterOptions https)
    {
        https.ClientCertificateMode = ClientCertificateMode.AllowCertificate;
        https.ClientCertificateValidation = Accept;
    }

    /// <summary>
    /// Prepares one handshake, where it asks for a certificate. No session is resumed then: a ticket would bring the certificate without what the client had
    /// sent beside it.
    /// </summary>
    /// <param name="tls">Its options.</param>
    public static void Prepare(SslServerAuthenticationOptions tls)
    {
        if (tls.ClientCertificateRequired)
        {
            tls.CertificateChainPolicy = s_unasked;
            tls.AllowTlsResume = false;
        }
    }

    /// <summary>Notes whom each request comes from, before what a proxy says takes the place of that.</summary>
    /// <param name="app">Where, before the forwarded address is read.</param>
    public static void NotePeer(IApplicationBuilder app) => app.Use(next => http =>
    {
        http.Items[s_peer] = http.Connection.RemoteIpAddress;
        return next(http);
    });

    /// <summary>Reads the certificate of the client of a request.</summary>
    /// <param name="http">The request.</param>
    /// <param name="certificate">The certificate, where there is one.</param>
    /// <param name="headerIgnored">Whether somebody who is no known proxy has sent one in a header.</param>
    /// <returns><c>invalid_request</c> where a known proxy has sent something malformed, or <see langword="null"/>.</returns>
    public OAuthError? Read(HttpContext http, out ClientCertificate? certificate, out bool headerIgnored)
    {
        (certificate, headerIgnored) = (null, false);
        var sent = http.Request.Headers[Header];
        if (IsProxy(http))
        {
            return sent.Count == 0 ? null : ReadHeaders(http, sent, http.Request.Headers[ChainHeader], out certificate);
        }

        headerIgnored = sent.Count > 0;
        if (http.Connection.ClientCertificate is { } own)
        {
            certificate = new(own, s_others.TryGetValue(own, out var others) ? others.Value : []);
        }

        return null;
    }

    private static bool Accept(X509Certificate2 certificate, X509Chain? chain, SslPolicyErrors errors)
    {
        if (chain is { ChainPolicy.ExtraStore: { Count: > 0 } others })
        {
            if (others.Sum(other => other.RawDataMemory.Length) > MostBytes)
            {
                return false;
            }

            s_others.AddOrUpdate(certificate, new([.. others.Take(MostOthers).Select(other => other.RawData)]));
        }

        return true;
    }

    private static OAuthError? ReadHeaders(HttpContext http, StringValues sent, StringValues chain, out ClientCertificate? certificate)
    {
        certificate = null;
        var fields = string.Join(',', chain.ToArray()).Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
        if (sent.Count > 1 || Decode(sent[0]) is not { } own)
        {
            return Malformed(Header, "one certificate in DER, as base64 between two colons (RFC 9440)");
        }

        http.Response.RegisterForDispose(own);
        var others = ImmutableArray.CreateBuilder<byte[]>();
        foreach (var field in fields)
        {
            using var other = fields.Length > MostOthers ? null : Decode(field);
            if (other is null)
            {
                return Malformed(ChainHeader, $"at most {MostOthers} certificates in DER, each as base64 between two colons, with commas between them (RFC 9440)");
            }

            others.Add(other.RawData);
        }

        certificate = new(own, others.ToImmutable());
        return null;
    }

    private static OAuthError Malformed(string header, string expected) => OAuthError.InvalidRequest(
        $"The header {header}, which the proxy before this service writes, is malformed. It must be {expected}.", new(header, expected, "something else"));

    // A byte sequence (RFC 8941 §3.3.5).
    private static X509Certificate2? Decode(string? text)
    {
        var trimmed = text.AsSpan().Trim(' ');
        if (trimmed is not [':', .. var base64, ':'] || base64.ContainsAny(" \t\r\n"))
        {
            return null;
        }

        var der = new byte[base64.Length];
        if (!Convert.TryFromBase64Chars(base64, der, out var length))
        {
            return null;
        }

        try
        {
            var certificate = X509CertificateLoader.LoadCertificate(der.AsSpan(0, length));
            return certificate.RawDataMemory.Length == length ? certificate : null;
        }
        catch (CryptographicException)
        {
            return null;
        }
    }

    // The peer itself, whomever it speaks for.
    private bool IsProxy(HttpContext http)
    {
        if (!http.Items.TryGetValue(s_peer, out var noted) || noted is not IPAddress peer)
        {
            return false;
        }

        var address = peer.IsIPv4MappedToIPv6 ? peer.MapToIPv4() : peer;
        return proxies.Any(proxy => proxy.Contains(address));
    }
}
