using FluentAssertions;
using TokenService.Clients;
using Xunit;

namespace TokenService.Tests.Clients;

/// <summary>Names of certificates as texts: RFC 4514 for subjects, and what each kind of subject alternative name may be.</summary>
public sealed class CertificateNameTests
{
    [Theory]
    [InlineData("CN=a", "CN=a")]
    [InlineData("CN=a,O=b", "cn = a , 2.5.4.10=b")]
    [InlineData("CN=a+OU=b,O=c", "OU=b+CN=a,O=c")]
    [InlineData("CN=a\\,b", "CN=a\\2Cb")]
    [InlineData("CN=a\\ ", "CN=a\\20")]
    [InlineData("CN=\\#a", "CN=\\23a")]
    [InlineData("CN=Zo\u00eb", "CN=Zo\\C3\\AB")]
    [InlineData("CN=a", "CN=#0C0161")]
    [InlineData("CN=a", "CN=#130161")]
    [InlineData("CN=a=b", "CN=a\\=b")]
    [InlineData("CN=\ud83d\ude00", "CN=\\F0\\9F\\98\\80")]
    public void The_same_name_may_be_written_in_several_ways(string one, string other)
    {
        DistinguishedName.Parse(one).Should().NotBeNull().And.Be(DistinguishedName.Parse(other));
        DistinguishedName.Parse(one)!.GetHashCode().Should().Be(DistinguishedName.Parse(other)!.GetHashCode());
    }

    [Theory]
    [InlineData("CN=a,O=b", "O=b,CN=a")]
    [InlineData("CN=a,O=b", "CN=a+O=b")]
    [InlineData("CN=a,O=b", "CN=a\\,O=b")]
    [InlineData("CN=a", "CN=A")]
    [InlineData("CN=a", "O=a")]
    [InlineData("CN=a", "CN=a,CN=a")]
    [InlineData("CN=a", "CN=a+CN=a")]
    [InlineData("CN=a", "CN=a\\ ")]
    [InlineData("CN=#0C0161", "CN=\\#0C0161")]
    public void Another_name_is_another(string one, string other)
        => DistinguishedName.Parse(one).Should().NotBeNull().And.NotBe(DistinguishedName.Parse(other));

    [Theory]
    [InlineData("")]
    [InlineData("a")]
    [InlineData("CN")]
    [InlineData("=a")]
    [InlineData("XX=a")]
    [InlineData("CN=a,")]
    [InlineData("CN=a,,O=b")]
    [InlineData("CN=a+")]
    [InlineData("CN=a;O=b")]
    [InlineData("CN=\"a\"")]
    [InlineData("CN=a<b")]
    [InlineData("CN=a\\")]
    [InlineData("CN=a\\x")]
    [InlineData("CN=a\\C3")]
    [InlineData("CN=#")]
    [InlineData("CN=#0")]
    [InlineData("CN=#0C05")]
    [InlineData("CN=#zz")]
    [InlineData("1..2=a")]
    public void What_is_no_name_is_none(string text) => DistinguishedName.Parse(text).Should().BeNull();

    [Fact]
    public void Half_of_a_character_is_none() => DistinguishedName.Parse("CN=" + (char)0xD83D).Should().BeNull();

    [Theory]
    [InlineData(CertificateName.SubjectDn, "CN=indexer,O=Example", null)]
    [InlineData(CertificateName.SubjectDn, "indexer", "must be a distinguished name as RFC 4514 writes it")]
    [InlineData(CertificateName.SanDns, "indexer.example.com", null)]
    [InlineData(CertificateName.SanDns, "*.example.com", "must be a DNS name")]
    [InlineData(CertificateName.SanDns, "192.0.2.7", "must be a DNS name")]
    [InlineData(CertificateName.SanUri, "spiffe://example.org/indexer", null)]
    [InlineData(CertificateName.SanUri, "/indexer", "must be an absolute URI")]
    [InlineData(CertificateName.SanIp, "192.0.2.7", null)]
    [InlineData(CertificateName.SanIp, "2001:db8::7", null)]
    [InlineData(CertificateName.SanIp, "10.1", "must be an IP address")]
    [InlineData(CertificateName.SanIp, "010.0.0.1", "must be an IP address")]
    [InlineData(CertificateName.SanIp, "fe80::1%eth0", "must be an IP address")]
    [InlineData(CertificateName.SanEmail, "indexer@example.com", null)]
    [InlineData(CertificateName.SanEmail, "indexer", "must be an email address")]
    [InlineData(CertificateName.SanEmail, "a@b@c", "must be an email address")]
    [InlineData(CertificateName.SanDns, "", "must have 1 to 1024 characters")]
    public void A_name_that_nobody_can_have_is_not_registered(string member, string value, string? fault)
    {
        var found = new CertificateName(member, value).Fault();

        (found is null).Should().Be(fault is null, found);
        found?.Should().StartWith(fault);
    }
}
