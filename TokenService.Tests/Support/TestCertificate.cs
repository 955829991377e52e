using System;
using System.IO;
using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace TokenService.Tests.Support;

/// <summary>A certificate for 127.0.0.1 under an intermediate and a root of its own, as PEM. It is good for years, by the clock of any test.</summary>
/// <param name="Chain">The certificate and the intermediate.</param>
/// <param name="Key">The certificate's private key.</param>
/// <param name="Root">The root.</param>
internal sealed record TestCertificate(string Chain, string Key, string Root)
{
    public static TestCertificate Make(string name, string usage = "1.3.6.1.5.5.7.3.1")
    {
        using var rootKey = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using var intermediateKey = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using var root = Authority($"{name} root", rootKey).CreateSelfSigned(DateTimeOffset.UtcNow.AddYears(-6), DateTimeOffset.UtcNow.AddYears(6));
        using var intermediate = Sign(Authority($"{name} intermediate", intermediateKey), root);
        using var signer = intermediate.CopyWithPrivateKey(intermediateKey);

        var request = Request(name, key);
        var names = new SubjectAlternativeNameBuilder();
        names.AddIpAddress(IPAddress.Loopback);
        request.CertificateExtensions.Add(names.Build());
        request.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension([new Oid(usage)], critical: false));
        using var certificate = Sign(request, signer);
        return new(
            $"{certificate.ExportCertificatePem()}\n{intermediate.ExportCertificatePem()}\n", key.ExportPkcs8PrivateKeyPem(), root.ExportCertificatePem());
    }

    public void Write(string folder)
    {
        Directory.CreateDirectory(folder);
        File.WriteAllText(Path.Combine(folder, "tls.crt"), Chain);
        File.WriteAllText(Path.Combine(folder, "tls.key"), Key);
    }

    private static CertificateRequest Request(string name, ECDsa key) => new($"CN={name}", key, HashAlgorithmName.SHA256);

    private static CertificateRequest Authority(string name, ECDsa key)
    {
        var request = Request(name, key);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(certificateAuthority: true, hasPathLengthConstraint: false, 0, critical: true));
        request.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(request.PublicKey, critical: false));
        return request;
    }

    // Within the time of the signer, whose clock was a moment earlier.
    private static X509Certificate2 Sign(CertificateRequest request, X509Certificate2 signer)
        => request.Create(signer, new DateTimeOffset(signer.NotBefore).AddDays(1), new DateTimeOffset(signer.NotAfter).AddDays(-1), RandomNumberGenerator.GetBytes(8));
}
