using System;
using System.Buffers.Text;
using System.Linq;
using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;
using CsCheck;
using FluentAssertions;
using TokenService.Protocol;
using Xunit;

namespace TokenService.Tests.Protocol;

/// <summary>The readers of base64url, JSON and scopes: what they take has one spelling.</summary>
public sealed partial class StrictReadersTests
{
    [Fact]
    public void Base64url_is_read_back_whatever_the_bytes() => Gen.Byte.Array[0, 200].Sample(
        bytes => StrictBase64Url.Decode(Base64Url.EncodeToString(bytes)) is { } read && read.SequenceEqual(bytes));

    [Fact]
    public void What_is_taken_for_base64url_is_the_one_spelling_of_its_bytes() => Gen.String[Gen.Char["AQgw019-_=+/ \n"], 0, 12].Sample(
        text => StrictBase64Url.Decode(text) is not { } bytes || Base64Url.EncodeToString(bytes) == text, iter: 50_000);

    [Fact]
    public void What_is_taken_for_JSON_reads_the_same_when_it_is_written_again() => Gen.OneOf(Gen.Byte.Array[0, 40], Jsons.Select(Encoding.UTF8.GetBytes)).Sample(
        utf8 =>
        {
            if (StrictJson.ReadObject(utf8) is not { } read)
            {
                return true;
            }

            var names = read.EnumerateObject().Select(member => member.Name).ToList();
            return names.Distinct(StringComparer.Ordinal).Count() == names.Count
                && StrictJson.ReadObject(JsonSerializer.SerializeToUtf8Bytes(read)) is { } again && JsonElement.DeepEquals(read, again);
        },
        iter: 50_000);

    [Fact]
    public void A_scope_is_taken_where_RFC_6749_takes_it() => Gen.String[Gen.Char["ab!#[]~ \"\\\t\u007fö"], 0, 10].Sample(
        text => (ScopeSyntax.Split(text) is not null) == Scope().IsMatch(text), iter: 50_000);

    [Fact]
    public void The_names_of_a_scope_are_read_back_each_once() => Gen.String[Gen.Char["ab!~"], 1, 3].Array[1, 20].Sample(
        names => ScopeSyntax.Split(string.Join(' ', names))!.Value.SequenceEqual(names.Distinct(StringComparer.Ordinal)));

    [Fact]
    public void More_names_than_a_scope_may_have_are_none()
    {
        ScopeSyntax.Split(string.Join(' ', Enumerable.Range(0, ScopeSyntax.MaxNames))).Should().HaveCount(ScopeSyntax.MaxNames);
        ScopeSyntax.Split(string.Join(' ', Enumerable.Range(0, ScopeSyntax.MaxNames + 1))).Should().BeNull();
    }

    private static Gen<string> Jsons
    {
        get
        {
            var names = Gen.String[Gen.Char["ab\\u0061"], 0, 3];
            var values = Gen.OneOf("1", "1e400", "\"\\ud800\"", "\"\\ud83d\\ude00\"", "[[]]", "{\"a\":1,\"a\":2}", "null");
            return Gen.Select(names, values).Array[0, 4].Select(members => "{" + string.Join(',', members.Select(member => $"\"{member.Item1}\":{member.Item2}")) + "}");
        }
    }

    // RFC 6749 §3.3.
    [GeneratedRegex(@"\A[\x21\x23-\x5B\x5D-\x7E]+( [\x21\x23-\x5B\x5D-\x7E]+)*\z")]
    private static partial Regex Scope();
}
