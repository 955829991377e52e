using System;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace TokenService.Tests.Support;

/// <summary>An authority for client certificates, a root or an intermediate, made for one test.</summary>
internal sealed class TestAuthority
{
    public const string ForClients = "1.3.6.1.5.5.7.3.2";
    public const string ForServers = "1.3.6.1.5.5.7.3.1";

    private readonly X509Certificate2 _certificate;

    private TestAuthority(X509Certificate2 certificate) => _certificate = certificate;

    /// <summary>Its certificate without its key.</summary>
    public X509Certificate2 Certificate => X509CertificateLoader.LoadCertificate(_certificate.RawData);

    public string Pem => _certificate.ExportCertificatePem() + "\n";

    public static TestAuthority Root(string name)
    {
        var request = Authority(name, ECDsa.Create(ECCurve.NamedCurves.nistP256));
        return new(request.CreateSelfSigned(DateTimeOffset.UtcNow.AddYears(-6), DateTimeOffset.UtcNow.AddYears(6)));
    }

    public TestAuthority Intermediate(string name, params X509Extension[] extensions)
    {
        var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = Authority(name, key);
        Array.ForEach(extensions, request.CertificateExtensions.Add);
        return new(Sign(request, DateTimeOffset.UtcNow.AddYears(-5), DateTimeOffset.UtcNow.AddYears(5)).CopyWithPrivateKey(key));
    }

    /// <summary>A client's certificate, good for a year around now unless said otherwise, with its key.</summary>
    public X509Certificate2 Issue(
        string subject, Action<SubjectAlternativeNameBuilder>? names = null, string? usage = ForClients, DateTimeOffset? from = null, DateTimeOffset? to = null)
    {
        var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        return Sign(Client(new X500DistinguishedName(subject), key, names, usage), from ?? DateTimeOffset.UtcNow.AddMonths(-6), to ?? DateTimeOffset.UtcNow.AddMonths(6))
            .CopyWithPrivateKey(key);
    }

    /// <summary>The same with a name whose parts are of this test's making.</summary>
    public X509Certificate2 Issue(X500DistinguishedName subject)
    {
        var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        return Sign(Client(subject, key, null, ForClients), DateTimeOffset.UtcNow.AddMonths(-6), DateTimeOffset.UtcNow.AddMonths(6)).CopyWithPrivateKey(key);
    }

    /// <summary>The same with an extension that no other has.</summary>
    public X509Certificate2 Issue(string subject, X509Extension extension)
    {
        var request = Client(new X500DistinguishedName(subject), ECDsa.Create(ECCurve.NamedCurves.nistP256), null, ForClients);
        request.CertificateExtensions.Add(extension);
        return Sign(request, DateTimeOffset.UtcNow.AddMonths(-6), DateTimeOffset.UtcNow.AddMonths(6));
    }

    /// <summary>The same for a public key of which nobody has the private one.</summary>
    public X509Certificate2 Issue(string subject, PublicKey key, Action<SubjectAlternativeNameBuilder> names)
        => With(new CertificateRequest(new X500DistinguishedName(subject), key, HashAlgorithmName.SHA256), names, ForClients).Create(
            _certificate.SubjectName, X509SignatureGenerator.CreateForECDsa(_certificate.GetECDsaPrivateKey()!), DateTimeOffset.UtcNow.AddMonths(-6), DateTimeOffset.UtcNow.AddMonths(6), [1, 2, 3]);

    /// <summary>A certificate with a name whose parts are of this test's making, that its own key signs.</summary>
    public static X509Certificate2 SelfSigned(X500DistinguishedName subject, ECDsa key)
        => Client(subject, key, null, ForClients).CreateSelfSigned(DateTimeOffset.UtcNow.AddMonths(-6), DateTimeOffset.UtcNow.AddMonths(6));

    /// <summary>A certificate that its own key signs.</summary>
    public static X509Certificate2 SelfSigned(
        string subject, AsymmetricAlgorithm key, Action<SubjectAlternativeNameBuilder>? names = null, DateTimeOffset? from = null, DateTimeOffset? to = null)
        => Client(new X500DistinguishedName(subject), key, names, ForClients)
            .CreateSelfSigned(from ?? DateTimeOffset.UtcNow.AddMonths(-6), to ?? DateTimeOffset.UtcNow.AddMonths(6));

    private static CertificateRequest Client(X500DistinguishedName subject, AsymmetricAlgorithm key, Action<SubjectAlternativeNameBuilder>? names, string? usage) => With(
        key is RSA rsa
            ? new CertificateRequest(subject, rsa, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1)
            : new CertificateRequest(subject, (ECDsa)key, HashAlgorithmName.SHA256),
        names,
        usage);

    private static CertificateRequest With(CertificateRequest request, Action<SubjectAlternativeNameBuilder>? names, string? usage)
    {
        if (names is not null)
        {
            var builder = new SubjectAlternativeNameBuilder();
            names(builder);
            request.CertificateExtensions.Add(builder.Build());
        }

        if (usage is not null)
        {
            request.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension([new Oid(usage)], critical: false));
        }

        return request;
    }

    private static CertificateRequest Authority(string name, ECDsa key)
    {
        var request = new CertificateRequest($"CN={name}", key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(certificateAuthority: true, hasPathLengthConstraint: false, 0, critical: true));
        request.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(request.PublicKey, critical: false));
        return request;
    }

    private X509Certificate2 Sign(CertificateRequest request, DateTimeOffset from, DateTimeOffset to)
        => request.Create(_certificate, from, to, RandomNumberGenerator.GetBytes(8));
}
