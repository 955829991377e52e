using System;
using System.Formats.Asn1;
using System.IO;
using System.Linq;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using TokenService.Protocol;

namespace TokenService.Authentication;

/// <summary>The authorities that client certificates are under (<c>tls_client_auth</c>, RFC 8705 §2.1), and no others: those of the machine do not count.</summary>
public sealed class ClientAuthorities
{
    private const string ClientAuthentication = "1.3.6.1.5.5.7.3.2";
    private const int MaxBytes = 1 << 20;

    // All kinds of RSA keys (RFC 8017, appendix C): .NET does not call those for PSS by that name, and whoever verifies with them takes them as any other.
    private const string RsaKeys = "1.2.840.113549.1.1.";

    // Beyond what anybody uses, and far below what makes a verification dear.
    private const int MaxRsaBytes = 8192 / 8;
    private const int MaxExponentBytes = 8;
    private const int MaxOtherBytes = 2048;

    private static readonly FailedCheck s_unreadable = new("client_certificate", "a certificate that can be read", "one with a malformed time or extension");
    private static readonly FailedCheck s_dearKey = new("client_certificate", "certificates with keys of usual lengths", "one with a longer key, or such a one beside it");

    private readonly X509Certificate2Collection _certificates;

    private ClientAuthorities(X509Certificate2Collection certificates) => _certificates = certificates;

    /// <summary>Reads them from a file.</summary>
    /// <param name="file">Certificates in PEM: roots, which are trusted, and intermediates, which only complete a chain.</param>
    /// <exception cref="OperatorFaultException">It cannot be read, or has no root.</exception>
    public static ClientAuthorities Load(string file)
    {
        try
        {
            if (new FileInfo(file).Length > MaxBytes)
            {
                throw new IOException("it is larger than 1 MiB");
            }

            var certificates = new X509Certificate2Collection();
            certificates.ImportFromPemFile(file);
            return certificates.Any(certificate => certificate.SubjectName.RawData.AsSpan().SequenceEqual(certificate.IssuerName.RawData))
                ? new ClientAuthorities(certificates)
                : throw new CryptographicException("it has no root certificate in PEM");
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException or CryptographicException)
        {
            throw new OperatorFaultException($"TokenService:Mtls:ClientCaFile: the file {file} cannot be used: {fault.Message}", fault);
        }
    }

    /// <summary>
    /// Checks that a certificate is under one of them, valid, and for clients where it says what it is for (RFC 5280 §6). Nobody is asked, neither for what is
    /// missing in the chain nor about revocation.
    /// </summary>
    /// <param name="sent">The certificate.</param>
    /// <param name="now">The time of the request.</param>
    /// <returns>The check that failed, or <see langword="null"/>.</returns>
    public FailedCheck? Fault(ClientCertificate sent, DateTimeOffset now)
    {
        // Their form was checked when the TLS connection, or the header, was read.
        var others = sent.Others.Select(X509CertificateLoader.LoadCertificate).ToArray();
        using var chain = new X509Chain
        {
            ChainPolicy =
            {
                TrustMode = X509ChainTrustMode.CustomRootTrust,
                RevocationMode = X509RevocationMode.NoCheck,
                DisableCertificateDownloads = true,
                VerificationTime = now.LocalDateTime,
            },
        };
        chain.ChainPolicy.CustomTrustStore.AddRange(_certificates);
        chain.ChainPolicy.ExtraStore.AddRange(others);
        chain.ChainPolicy.ApplicationPolicy.Add(new Oid(ClientAuthentication));
        try
        {
            if (IsDear(sent.Certificate) || Array.Exists(others, IsDear))
            {
                return s_dearKey;
            }

            return chain.Build(sent.Certificate) ? null : Validity(sent.Certificate, now) ?? new(
                "client_certificate",
                "a certificate for clients under the authorities of the service (TokenService:Mtls:ClientCaFile)",
                $"one of {ClientCertificate.Words(sent.Certificate.SubjectName)} by {ClientCertificate.Words(sent.Certificate.IssuerName)}: " +
                string.Join(", ", chain.ChainStatus.Select(status => status.Status).Distinct()));
        }
        catch (CryptographicException)
        {
            return s_unreadable;
        }
        finally
        {
            foreach (var certificate in chain.ChainElements.Select(element => element.Certificate).Concat(others))
            {
                certificate.Dispose();
            }
        }
    }

    /// <summary>Checks that a certificate is valid at a time, whoever signed it.</summary>
    /// <param name="certificate">The certificate.</param>
    /// <param name="now">The time of the request.</param>
    /// <returns>The check that failed, or <see langword="null"/>.</returns>
    public static FailedCheck? Validity(X509Certificate2 certificate, DateTimeOffset now)
    {
        try
        {
            return new DateTimeOffset(certificate.NotBefore) <= now && now <= new DateTimeOffset(certificate.NotAfter) ? null : new(
                "client_certificate",
                "a certificate that is valid now",
                FormattableString.Invariant($"one that is valid from {certificate.NotBefore.ToUniversalTime():u} to {certificate.NotAfter.ToUniversalTime():u}"));
        }
        catch (CryptographicException)
        {
            return s_unreadable;
        }
    }

    // Whoever sends it need not have the private key of an issuer that it made up.
    private static bool IsDear(X509Certificate2 certificate)
    {
        var key = certificate.PublicKey;
        if (key.Oid.Value?.StartsWith(RsaKeys, StringComparison.Ordinal) is not true)
        {
            return key.EncodedKeyValue.RawData.Length + (key.EncodedParameters?.RawData.Length ?? 0) > MaxOtherBytes;
        }

        try
        {
            var numbers = new AsnReader(key.EncodedKeyValue.RawData, AsnEncodingRules.BER).ReadSequence();
            return IsLonger(numbers.ReadIntegerBytes(), MaxRsaBytes) || IsLonger(numbers.ReadIntegerBytes(), MaxExponentBytes);
        }
        catch (AsnContentException)
        {
            // Whoever else reads it may find numbers.
            return true;
        }

        static bool IsLonger(ReadOnlyMemory<byte> number, int bytes) => number.Span.TrimStart((byte)0).Length > bytes;
    }
}
