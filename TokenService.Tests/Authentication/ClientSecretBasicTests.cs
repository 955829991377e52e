using System;
using System.Linq;
using System.Net;
using System.Text;
using CsCheck;
using TokenService.Authentication;
using TokenService.Protocol;
using Xunit;

namespace TokenService.Tests.Authentication;

/// <summary>Reading the Authorization header (RFC 6749 §2.3.1, RFC 7617).</summary>
public sealed class ClientSecretBasicTests
{
    private static readonly Gen<string> s_texts = Gen.OneOf(
        Gen.String[Gen.Char["abc%+ &=:~4F"], 0, 20], Gen.String.Select(text => Encoding.UTF8.GetString(Encoding.UTF8.GetBytes(text))));

    [Fact]
    public void Id_and_secret_are_among_the_readings_whether_they_were_encoded_or_not() => Gen.Select(s_texts, s_texts, Gen.Bool).Sample(
        (id, secret, isEncoded) =>
        {
            // Only an encoded id may have a colon.
            id = isEncoded ? id : id.Replace(":", "", StringComparison.Ordinal);
            var pair = isEncoded ? $"{WebUtility.UrlEncode(id)}:{WebUtility.UrlEncode(secret)}" : $"{id}:{secret}";
            var refused = ClientSecretBasic.Read(new Secret($"Basic {Convert.ToBase64String(Encoding.UTF8.GetBytes(pair))}")).Refused(out _, out var sent);
            return !refused && sent!.Readings.Length <= 2 && sent.Readings.Any(reading => reading.ClientId == id && reading.Secret.Reveal() == secret);
        },
        iter: 20_000);

    [Fact]
    public void Whatever_the_header_it_is_read_or_refused_in_words_that_repeat_nothing() => Gen.OneOf(
        Gen.String, Gen.Byte.Array[0, 60].Select(bytes => $"Basic {Convert.ToBase64String(bytes)}"), Gen.String[Gen.Char["Basic 0=/+\t\n:"], 0, 30].Select(text => $"basic {text}")).Sample(
        header => !ClientSecretBasic.Read(new Secret(header)).Refused(out var error, out var sent)
            ? sent.Readings.Length > 0
            : error is { Code: "invalid_client", ClientId: null } && error.Failed.Came.All(c => c is >= ' ' and <= '~'),
        iter: 20_000);
}
