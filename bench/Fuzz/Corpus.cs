using System;
using System.Collections.Immutable;
using System.IO;
using System.Linq;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.RegularExpressions;
using System.Threading;

namespace Fuzz;

/// <summary>
/// The inputs that the runs start from, in the folder of the same name: right requests and files, one a line, and the clients that they are of. The keys and secrets
/// are everybody's, and for nothing else.
/// </summary>
internal static partial class Corpus
{
    /// <summary>The issuer of the service that is fuzzed in the process.</summary>
    public const string Issuer = "https://auth.example.com";

    /// <summary>The secret that <c>mac-job</c> signs with.</summary>
    public const string MacSecret = "mac-phrase-0123456789abcdef0123456789-0123456789abcdef0123456789ab";

    /// <summary>The RSA key of all clients that have one: <c>kid</c> 1 of <c>key-job</c>.</summary>
    public static RSA Rsa { get; } = ReadRsa();

    /// <summary>The P-256 key of all clients that have one: <c>kid</c> 2 of <c>key-job</c>.</summary>
    public static ECDsa Ec { get; } = ReadEc();

    // Nothing promises that several threads can share one object.
    private static readonly ThreadLocal<RSA> s_rsa = new(ReadRsa);
    private static readonly ThreadLocal<ECDsa> s_ec = new(ReadEc);

    /// <summary>The time that the inputs of the process are right at.</summary>
    public static DateTimeOffset Now { get; } = DateTimeOffset.FromUnixTimeSeconds(1_800_000_000);

    /// <summary>The declarative file with all clients.</summary>
    /// <param name="folder">Where the trust bundle is put that it names.</param>
    public static string Clients(string folder)
    {
        var bundle = Path.Combine(folder, "bundle.json");
        File.WriteAllText(bundle, $"{{\"keys\":[{Jwk(isRsa: true, "6").Replace("{", "{\"use\":\"jwt-svid\",", StringComparison.Ordinal)}]}}");
        return WithKeys(Text("clients.json")).Replace("{bundle}", bundle, StringComparison.Ordinal);
    }

    /// <summary>The lines of a file of the corpus, with the public keys where it names them.</summary>
    public static ImmutableArray<string> Lines(string file)
        => [.. Text(file).Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(WithKeys)];

    /// <summary>The same in UTF-8.</summary>
    public static ImmutableArray<byte[]> Utf8(string file) => [.. Lines(file).Select(Encoding.UTF8.GetBytes)];

    /// <summary>JWTs from a file with header and claims, signed.</summary>
    /// <param name="file">The file.</param>
    /// <param name="nonce">What stands for the nonce of the service.</param>
    public static ImmutableArray<byte[]> Jwts(string file, string nonce = "") => [.. Lines(file).Select(line =>
    {
        var parts = line.Replace("{nonce}", nonce, StringComparison.Ordinal).Split('\t').Select(Encoding.UTF8.GetBytes).ToArray();
        return Encoding.ASCII.GetBytes(Jwt(parts[0], parts[1]));
    })];

    /// <summary>A JWT, signed by the <c>alg</c> of its header.</summary>
    public static string Jwt(byte[] header, byte[] claims)
    {
        var content = $"{Mutation.Encode(header)}.{Mutation.Encode(claims)}";
        return $"{content}.{Mutation.Encode(Sign(Mutation.AlgorithmOf(header), Encoding.ASCII.GetBytes(content)))}";
    }

    /// <summary>Signs as the clients do (RFC 7518 §3).</summary>
    /// <param name="algorithm">The <c>alg</c>; by an unknown one three bytes come out.</param>
    /// <param name="content">What to sign.</param>
    public static byte[] Sign(string algorithm, byte[] content) => algorithm switch
    {
        "HS256" => HMACSHA256.HashData(Encoding.UTF8.GetBytes(MacSecret), content),
        "HS384" => HMACSHA384.HashData(Encoding.UTF8.GetBytes(MacSecret), content),
        "HS512" => HMACSHA512.HashData(Encoding.UTF8.GetBytes(MacSecret), content),
        "RS256" or "RS384" or "RS512" => s_rsa.Value!.SignData(content, new HashAlgorithmName($"SHA{algorithm[2..]}"), RSASignaturePadding.Pkcs1),
        "PS256" or "PS384" or "PS512" => s_rsa.Value!.SignData(content, new HashAlgorithmName($"SHA{algorithm[2..]}"), RSASignaturePadding.Pss),
        "ES256" => s_ec.Value!.SignData(content, HashAlgorithmName.SHA256, DSASignatureFormat.IeeeP1363FixedFieldConcatenation),
        _ => [1, 2, 3],
    };

    /// <summary>Certificates in DER, and the authority of some of them in PEM.</summary>
    public static (ImmutableArray<byte[]> Certificates, string Authority) MakeCertificates()
    {
        var (from, to) = (Now.AddYears(-1), Now.AddYears(1));
        var request = new CertificateRequest("CN=Root", Ec, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(certificateAuthority: true, hasPathLengthConstraint: false, 0, critical: true));
        using var root = request.CreateSelfSigned(from, to);

        var names = new SubjectAlternativeNameBuilder();
        names.AddDnsName("job.example.com");
        names.AddEmailAddress("job@example.com");
        names.AddIpAddress(System.Net.IPAddress.IPv6Loopback);
        names.AddUri(new Uri("spiffe://example.org/job"));
        var client = new CertificateRequest("O=Example,OU=a\\+b,CN=job", Ec, HashAlgorithmName.SHA256);
        client.CertificateExtensions.Add(names.Build());
        client.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension([new Oid("1.3.6.1.5.5.7.3.2")], critical: false));
        using var issued = client.Create(root, from, to, [1, 2, 3, 4]);
        using var own = new CertificateRequest("CN=self", Rsa, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1).CreateSelfSigned(from, to);
        return ([issued.RawData, own.RawData, root.RawData], root.ExportCertificatePem());
    }

    private static string WithKeys(string text) => Keys().Replace(text, match => Jwk(match.Groups[1].Value == "rsa", match.Groups[3].Value));

    private static string Jwk(bool isRsa, string kid)
    {
        var end = kid.Length > 0 ? $",\"kid\":\"{kid}\"}}" : "}";
        if (isRsa)
        {
            var rsa = Rsa.ExportParameters(includePrivateParameters: false);
            return $$"""{"kty":"RSA","n":"{{Mutation.Encode(rsa.Modulus!)}}","e":"{{Mutation.Encode(rsa.Exponent!)}}"{{end}}""";
        }

        var ec = Ec.ExportParameters(includePrivateParameters: false);
        return $$"""{"kty":"EC","crv":"P-256","x":"{{Mutation.Encode(ec.Q.X!)}}","y":"{{Mutation.Encode(ec.Q.Y!)}}"{{end}}""";
    }

    private static string Text(string file)
    {
        using var stream = typeof(Corpus).Assembly.GetManifestResourceStream(file) ?? throw new ArgumentException($"The corpus has no {file}.", nameof(file));
        using var reader = new StreamReader(stream);
        return reader.ReadToEnd();
    }

    private static RSA ReadRsa()
    {
        var rsa = RSA.Create();
        rsa.ImportPkcs8PrivateKey(Convert.FromBase64String(Text("keys.txt").Split('\n')[0]), out _);
        return rsa;
    }

    private static ECDsa ReadEc()
    {
        var ec = ECDsa.Create();
        ec.ImportPkcs8PrivateKey(Convert.FromBase64String(Text("keys.txt").Split('\n')[1]), out _);
        return ec;
    }

    [GeneratedRegex(@"\{(rsa|ec)(:(\d))?\}")]
    private static partial Regex Keys();
}
