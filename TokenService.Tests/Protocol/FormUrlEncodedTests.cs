using System;
using System.Linq;
using System.Text;
using CsCheck;
using FluentAssertions;
using TokenService.Protocol;
using Xunit;

namespace TokenService.Tests.Protocol;

public sealed class FormUrlEncodedTests
{
    [Theory]
    [InlineData("a=1&b=2", "a=1;b=2")]
    [InlineData("a=1&&b=2&", "a=1;b=2")]
    [InlineData("a", "a=")]
    [InlineData("a=b=c", "a=b=c")]
    [InlineData("a+b=c+d", "a b=c d")]
    [InlineData("%61=%2B%26%3D", "a=+&=")]
    [InlineData("a=%c3%b6%C3%96", "a=öÖ")]
    [InlineData("=1", "=1")]
    [InlineData("", "")]
    public void Reads(string form, string expected)
    {
        FormUrlEncoded.TryParse(Encoding.Latin1.GetBytes(form), out var fields, out _).Should().BeTrue();
        string.Join(';', fields!.Select(field => $"{field.Key}={field.Value}")).Should().Be(expected);
    }

    [Theory]
    [InlineData("a=%")]
    [InlineData("a=%2")]
    [InlineData("a=%2&b=1")]
    [InlineData("a=%g0")]
    [InlineData("a=% 1")]
    [InlineData("%=1")]
    [InlineData("a=%ff")]
    [InlineData("a=%e2%82")]
    [InlineData("a=\u00e4")]
    [InlineData("a=\0")]
    [InlineData("a=\t")]
    [InlineData("a=\u007f")]
    public void Refuses(string form)
    {
        FormUrlEncoded.TryParse(Encoding.Latin1.GetBytes(form), out _, out var fault).Should().BeFalse();
        fault.Should().NotBeNullOrEmpty();
    }

    [Fact]
    public void Reads_back_whatever_text_was_encoded() => Gen.String.Array[0, 10].Sample(texts =>
    {
        texts = [.. texts.Select(text => Encoding.UTF8.GetString(Encoding.UTF8.GetBytes(text)))];
        var form = string.Join('&', texts.Select((text, i) => $"{i}={Uri.EscapeDataString(text)}"));
        return FormUrlEncoded.TryParse(Encoding.UTF8.GetBytes(form), out var fields, out _)
            && fields.Select(field => field.Value).SequenceEqual(texts);
    });

    [Fact]
    public void Never_throws_whatever_the_bytes() => Gen.Byte.Array[0, 200].Sample(bytes =>
    {
        var read = FormUrlEncoded.TryParse(bytes, out var fields, out var fault);
        return read ? fields is not null && fault is null : fault is not null;
    });

    // Each byte as it is, where it may be, or with % in either case; a space as + too.
    [Fact]
    public void Every_way_to_write_a_form_reads_the_same() => Gen.Select(Gen.String[0, 20], Gen.Int[0, 3].Array[80]).Sample((text, ways) =>
    {
        var utf8 = Encoding.UTF8.GetBytes(text);
        var written = string.Concat(utf8.Select((b, i) => ways[i % ways.Length] switch
        {
            0 when char.IsAsciiLetterOrDigit((char)b) => $"{(char)b}",
            1 => $"%{b:x2}",
            2 when b == ' ' => "+",
            _ => $"%{b:X2}",
        }));
        return FormUrlEncoded.TryParse(Encoding.ASCII.GetBytes($"a={written}&{written}=b"), out var fields, out _)
            && fields[0].Value == Encoding.UTF8.GetString(utf8) && fields[1].Key == Encoding.UTF8.GetString(utf8);
    });

    [Fact]
    public void What_is_read_is_read_again_when_it_is_written_again() => Gen.Char["ab=&%+41 \0\n\u007f\u00c3\u00b6"].Array[0, 30].Select(chars => Encoding.Latin1.GetBytes(chars)).Sample(
        form => !FormUrlEncoded.TryParse(form, out var fields, out _)
            || (FormUrlEncoded.TryParse(
                Encoding.ASCII.GetBytes(string.Join('&', fields.Select(field => $"{Uri.EscapeDataString(field.Key)}={Uri.EscapeDataString(field.Value)}"))), out var again, out _)
                && again.SequenceEqual(fields)),
        iter: 50_000);
}
