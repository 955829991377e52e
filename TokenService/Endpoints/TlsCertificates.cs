using System;
using System.Collections.Immutable;
using System.IO;
using System.Linq;
using System.Net.Security;
using System.Security.Authentication;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Threading;
using System.Threading.Tasks;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Hosting;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using TokenService.Operations;
using TokenService.Protocol;
using TokenService.Storage;

namespace TokenService.Endpoints;

/// <summary>
/// The TLS certificates that the web server's own settings name as PEM files (<c>Path</c> and <c>KeyPath</c> under
/// <c>Kestrel:Certificates:Default</c> or <c>Kestrel:Endpoints:NAME:Certificate</c>), taken up again when the files change.
/// </summary>
/// <remarks>
/// The web server can watch such files itself, but it does not see the links that Kubernetes swaps for a mounted secret, nor files for
/// <c>--urls</c>, and closes the endpoint to take up a new one. Here, each handshake takes what is there; connections go on. The files are
/// looked at once a second. Certificates in other forms stay the web server's, and where there is one of these beside them, need a restart.
/// </remarks>
public sealed class TlsCertificates : BackgroundService
{
    private static readonly TimeSpan s_interval = TimeSpan.FromSeconds(1);

    private readonly ImmutableArray<PemPair> _pairs;
    private readonly ILogger _logger;

    private TlsCertificates(ImmutableArray<PemPair> pairs, ILogger logger) => (_pairs, _logger) = (pairs, logger);

    /// <summary>Sets TLS up: version 1.2 at least, with the certificates of the settings.</summary>
    /// <param name="builder">The program.</param>
    /// <param name="logger">Told of certificates that are taken up or not.</param>
    /// <param name="asksClients">Whether clients are asked for theirs, at each endpoint whose own settings do not say otherwise.</param>
    /// <exception cref="OperatorFaultException">Certificate or key cannot be used.</exception>
    public static void Use(WebApplicationBuilder builder, Func<IServiceProvider, ILogger> logger, bool asksClients)
    {
        var root = builder.Environment.ContentRootPath;
        var settings = builder.Configuration.GetSection("Kestrel");
        var byDefault = PemPair.Of(settings.GetSection("Certificates:Default"), root);
        var endpoints = settings.GetSection("Endpoints").GetChildren()
            .Where(endpoint => endpoint.GetSection("Certificate").Exists() || endpoint.GetSection("Sni").Exists())
            .Select(endpoint => (endpoint.Key, Pair: endpoint.GetSection("Sni").Exists() ? null : PemPair.Of(endpoint.GetSection("Certificate"), root)))
            .ToImmutableArray();

        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.ConfigureHttpsDefaults(https =>
            {
                https.SslProtocols = SslProtocols.Tls12 | SslProtocols.Tls13;
                https.OnAuthenticate = Handshake(byDefault);
                if (asksClients)
                {
                    ClientCertificates.Ask(https);
                }
            });
            foreach (var (name, pair) in endpoints)
            {
                kestrel.ConfigurationLoader?.Endpoint(name, endpoint => endpoint.HttpsOptions.OnAuthenticate = Handshake(pair));
            }
        });

        var pairs = endpoints.Select(endpoint => endpoint.Pair).Prepend(byDefault).OfType<PemPair>().ToImmutableArray();
        if (!pairs.IsEmpty)
        {
            AppContext.SetSwitch("Microsoft.AspNetCore.Server.Kestrel.DisableCertificateFileWatching", true);
            builder.Services.AddHostedService(services => new TlsCertificates(pairs, logger(services)));
        }

        // Called for each handshake.
        Action<ConnectionContext, SslServerAuthenticationOptions>? Handshake(PemPair? pair) => pair is null && !asksClients ? null : (_, tls) =>
        {
            pair?.Present(tls);
            if (asksClients)
            {
                ClientCertificates.Prepare(tls);
            }
        };
    }

    /// <inheritdoc/>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(s_interval);
        while (await timer.WaitForNextTickAsync(stoppingToken))
        {
            foreach (var pair in _pairs)
            {
                pair.TakeUp(_logger);
            }
        }
    }

    private sealed class PemPair
    {
        private const string ServerAuthentication = "1.3.6.1.5.5.7.3.1";
        private const int MaxLength = 1 << 20;

        private readonly string _file;
        private readonly string _keyFile;
        private readonly string? _password;
        private (FileIdentity?, FileIdentity?) _seen;
        private volatile SslStreamCertificateContext _current;

        private PemPair(string file, string keyFile, string? password)
        {
            (_file, _keyFile, _password) = (file, keyFile, password);
            _seen = Look();
            _current = Load();
        }

        public static PemPair? Of(IConfigurationSection settings, string root)
        {
            // On Windows, TLS does not take a key that is in memory only.
            if (OperatingSystem.IsWindows() || settings["Path"] is not { Length: > 0 } file || settings["KeyPath"] is not { Length: > 0 } keyFile)
            {
                return null;
            }

            try
            {
                return new PemPair(Path.GetFullPath(file, root), Path.GetFullPath(keyFile, root), settings["Password"]);
            }
            catch (Exception fault)
            {
                throw new OperatorFaultException(
                    $"{settings.Path}: the certificate in {file} with the key in {keyFile} cannot be used: {fault.Message}", fault);
            }
        }

        public void Present(SslServerAuthenticationOptions tls)
        {
            tls.ServerCertificate = null;
            tls.ServerCertificateContext = _current;
        }

        public void TakeUp(ILogger logger)
        {
            var now = Look();
            if (now == _seen)
            {
                return;
            }

            // Files that are changed while they are read look different again at the next tick.
            _seen = now;
            try
            {
                _current = Load();
                logger.CertificateTakenUp(_file, _current.TargetCertificate.Subject, _current.TargetCertificate.NotAfter.ToUniversalTime());
            }
            catch (Exception fault)
            {
                // Whatever it is: the certificate before it is still good.
                logger.CertificateNotTakenUp(_file, _keyFile, fault.Message);
            }
        }

        private (FileIdentity?, FileIdentity?) Look() => (FileIdentity.Of(_file), FileIdentity.Of(_keyFile));

        // With the whole chain, made ready once and without asking anybody for what is missing in it.
        private SslStreamCertificateContext Load()
        {
            var (chain, key) = (Read(_file), Read(_keyFile));
            var certificate = _password is null
                ? X509Certificate2.CreateFromPem(chain, key)
                : X509Certificate2.CreateFromEncryptedPem(chain, key, _password);
            if (certificate.Extensions.OfType<X509EnhancedKeyUsageExtension>().Any(usage => usage.EnhancedKeyUsages[ServerAuthentication] is null))
            {
                throw new CryptographicException("The certificate is not for servers.");
            }

            var all = new X509Certificate2Collection();
            all.ImportFromPem(chain);
            all.RemoveAt(0);
            return SslStreamCertificateContext.Create(certificate, all, offline: true);
        }

        // A pipe could be waited for for ever.
        private static string Read(string file) => FileIdentity.Of(file) switch
        {
            null => throw new FileNotFoundException($"There is no file {file}."),
            { IsRegular: true, Length: <= MaxLength } => File.ReadAllText(file),
            _ => throw new IOException($"{file} is no file of at most 1 MiB."),
        };
    }
}
