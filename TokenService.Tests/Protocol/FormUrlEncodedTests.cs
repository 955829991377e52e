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
}
