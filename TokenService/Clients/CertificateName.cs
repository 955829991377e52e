using System;
using System.Collections.Generic;
using System.Collections.Immutable;
using System.Formats.Asn1;
using System.Globalization;
using System.Linq;
using System.Net;
using System.Security.Cryptography.X509Certificates;
using TokenService.Protocol;

namespace TokenService.Clients;

/// <summary>The one name that the certificate of a client must have, for <c>tls_client_auth</c> (RFC 8705 §2.1.2).</summary>
/// <remarks>
/// A name is only ever compared with names of its own kind: an address that stands in a certificate as a DNS name is none. Of several of the kind, one must
/// fit. No wildcard stands for anything, neither here nor in the certificate.
/// </remarks>
/// <param name="Member">One of <see cref="Members"/>: the member of the client's metadata, which says what kind of name it is.</param>
/// <param name="Value">The name.</param>
public sealed record CertificateName(string Member, string Value)
{
    /// <summary>The subject, as RFC 4514 writes it.</summary>
    public const string SubjectDn = "tls_client_auth_subject_dn";

    /// <summary>A DNS name of the subject alternative names; case does not count.</summary>
    public const string SanDns = "tls_client_auth_san_dns";

    /// <summary>A URI of the subject alternative names, compared character by character.</summary>
    public const string SanUri = "tls_client_auth_san_uri";

    /// <summary>An IP address of the subject alternative names, however it is written.</summary>
    public const string SanIp = "tls_client_auth_san_ip";

    /// <summary>An email address of the subject alternative names; case counts before the <c>@</c>.</summary>
    public const string SanEmail = "tls_client_auth_san_email";

    /// <summary>All of them: a client has exactly one.</summary>
    public static ImmutableArray<string> Members { get; } = [SubjectDn, SanDns, SanUri, SanIp, SanEmail];

    private const string SubjectAlternativeNames = "2.5.29.17";
    private const int MaxLength = 1024;
    private const int MostShown = 4;

    /// <summary>What is wrong with the name.</summary>
    /// <returns>The fault, or <see langword="null"/>.</returns>
    public string? Fault()
    {
        if (Value.Length is 0 or > MaxLength || !TextRules.HasNoControls(Value))
        {
            return $"must have 1 to {MaxLength} characters, and no control character";
        }

        return Member switch
        {
            SubjectDn => DistinguishedName.Parse(Value) is not null ? null
                : "must be a distinguished name as RFC 4514 writes it, such as CN=indexer,O=Example (openssl x509 -noout -subject -nameopt RFC2253)",
            SanDns => Uri.CheckHostName(Value) == UriHostNameType.Dns && Value.All(char.IsAscii) ? null
                : "must be a DNS name in ASCII, such as indexer.example.com, without wildcard",
            SanUri => Uri.TryCreate(Value, UriKind.Absolute, out _) && Value.All(c => c is > ' ' and <= '~') && !Value.StartsWith('/') ? null
                : "must be an absolute URI in ASCII, such as spiffe://example.org/indexer",
            SanIp => Address(Value) is not null ? null : "must be an IP address, such as 192.0.2.7 or 2001:db8::7",
            _ => Value.IndexOf('@', StringComparison.Ordinal) is var sign && sign > 0 && sign == Value.LastIndexOf('@') && sign < Value.Length - 1
                && Value.All(c => c is > ' ' and <= '~') ? null
                : "must be an email address in ASCII, such as indexer@example.com",
        };
    }

    /// <summary>Whether a certificate has the name.</summary>
    public bool IsOf(X509Certificate2 certificate) => Member switch
    {
        SubjectDn => DistinguishedName.Parse(Value) is { } name && name.Equals(DistinguishedName.Read(certificate.SubjectName.RawData)),
        SanDns => Names(certificate).Any(name => string.Equals(name, Value, StringComparison.OrdinalIgnoreCase)),
        SanUri => Names(certificate).Contains(Value, StringComparer.Ordinal),
        SanIp => Address(Value) is { } address && Names(certificate).Contains(address.ToString(), StringComparer.Ordinal),
        SanEmail => Names(certificate).Any(name => IsSameMailbox(name, Value)),
        _ => false,
    };

    /// <summary>What a certificate has of this kind, in printable words.</summary>
    public string Found(X509Certificate2 certificate)
    {
        if (Member == SubjectDn)
        {
            return ClientCertificate.Words(certificate.SubjectName);
        }

        var names = Names(certificate);
        return names.Count == 0 ? "none" : string.Join(", ", names.Take(MostShown).Select(Printable.Quote))
            + (names.Count > MostShown ? string.Create(CultureInfo.InvariantCulture, $" and {names.Count - MostShown} more") : "");
    }

    // RFC 5280 §7.5: the host is a DNS name, what is before it need not be.
    private static bool IsSameMailbox(string name, string other)
    {
        var (at, otherAt) = (name.LastIndexOf('@'), other.LastIndexOf('@'));
        return at >= 0 && at == otherAt && name.AsSpan(0, at).SequenceEqual(other.AsSpan(0, at))
            && name.AsSpan(at).Equals(other.AsSpan(at), StringComparison.OrdinalIgnoreCase);
    }

    // .NET would take 10.1 for 10.0.0.1, and 010.0.0.1 for 8.0.0.1; a zone is of one machine only.
    private static IPAddress? Address(string text)
        => !text.AsSpan().ContainsAny('%', '[') && IPAddress.TryParse(text, out var address) && (text.Contains(':') || address.ToString() == text) ? address : null;

    // RFC 5280 §4.2.1.6: each name has the tag of its kind.
    private List<string> Names(X509Certificate2 certificate)
    {
        var kind = Member switch { SanEmail => 1, SanDns => 2, SanUri => 6, _ => 7 };
        var found = new List<string>();
        if (certificate.Extensions[SubjectAlternativeNames] is not { } extension)
        {
            return found;
        }

        try
        {
            var names = new AsnReader(extension.RawData, AsnEncodingRules.DER).ReadSequence();
            while (names.HasData)
            {
                var tag = names.PeekTag();
                if (tag.TagClass != TagClass.ContextSpecific || tag.TagValue != kind)
                {
                    names.ReadEncodedValue();
                }
                else if (Member != SanIp)
                {
                    found.Add(names.ReadCharacterString(UniversalTagNumber.IA5String, tag));
                }
                else if (names.ReadOctetString(tag) is { Length: 4 or 16 } bytes)
                {
                    found.Add(new IPAddress(bytes).ToString());
                }
            }

            return found;
        }
        catch (AsnContentException)
        {
            // Of names that are malformed, none counts.
            return [];
        }
    }
}
