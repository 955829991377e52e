using System;
using System.Buffers;
using System.Buffers.Text;
using System.Collections.Immutable;
using System.Security.Cryptography;
using System.Text;
using System.Text.Unicode;
using TokenService.Protocol;

namespace TokenService.Authentication;

/// <summary>Reads HTTP Basic credentials: <c>client_secret_basic</c> (RFC 6749 §2.3.1, RFC 7617).</summary>
/// <remarks>
/// RFC 6749 wants id and secret form-encoded before they go into the base64; half of the client libraries do that, half do not. So
/// both readings are given, the RFC's first.
/// </remarks>
public static class ClientSecretBasic
{
    private const string Scheme = "Basic ";

    /// <summary>Reads the value of an Authorization header.</summary>
    /// <returns>The credentials, or <c>invalid_client</c> where it is of another scheme or malformed.</returns>
    public static Result<SentCredentials> Read(Secret authorization)
    {
        var header = authorization.Reveal();
        if (!header.StartsWith(Scheme, StringComparison.OrdinalIgnoreCase))
        {
            return Refuse("another scheme");
        }

        var token = header.AsSpan(Scheme.Length).Trim(' ');
        var rented = ArrayPool<byte>.Shared.Rent(Base64.GetMaxDecodedFromUtf8Length(token.Length));
        try
        {
            // TryFromBase64Chars would pass over white space inside.
            if (token.ContainsAny(" \t\r\n") || !Convert.TryFromBase64Chars(token, rented, out var length))
            {
                return Refuse("something that is not base64");
            }

            var pair = rented.AsSpan(0, length);
            var colon = pair.IndexOf((byte)':');
            if (colon < 0 || !Utf8.IsValid(pair))
            {
                return Refuse("base64 of something that is not UTF-8, or has no colon");
            }

            return new SentCredentials(AuthenticationMethods.ClientSecretBasic, Readings(pair[..colon], pair[(colon + 1)..]));
        }
        finally
        {
            CryptographicOperations.ZeroMemory(rented);
            ArrayPool<byte>.Shared.Return(rented);
        }
    }

    private static OAuthError Refuse(string came) => OAuthError.InvalidClient(
        null, new("Authorization", "Basic and, in base64, client id and secret in UTF-8 with a colon between them", came));

    private static ImmutableArray<CredentialReading> Readings(ReadOnlySpan<byte> id, ReadOnlySpan<byte> secret)
    {
        var asItStands = new CredentialReading(Encoding.UTF8.GetString(id), new Secret(Encoding.UTF8.GetString(secret)));
        if (!id.ContainsAny((byte)'%', (byte)'+') && !secret.ContainsAny((byte)'%', (byte)'+'))
        {
            return [asItStands];
        }

        return FormUrlEncoded.Decode(id) is { } decodedId && FormUrlEncoded.Decode(secret) is { } decodedSecret
            ? [new CredentialReading(decodedId, new Secret(decodedSecret)), asItStands]
            : [asItStands];
    }
}
