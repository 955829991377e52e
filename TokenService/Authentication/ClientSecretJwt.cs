using System;
using System.Security.Cryptography;
using System.Text;
using TokenService.Clients;
using TokenService.Protocol;

namespace TokenService.Authentication;

/// <summary><c>client_secret_jwt</c>: an assertion with an HMAC under the client's secret (RFC 7518 §3.2).</summary>
public static class ClientSecretJwt
{
    /// <summary>Checks the HMAC with every secret there is, without an early exit.</summary>
    /// <param name="client">A client that is registered for this method.</param>
    /// <param name="assertion">An assertion with one of the algorithms of this method.</param>
    /// <param name="now">The time of the request.</param>
    /// <returns>The <see cref="ClientSecret.Credential"/> of the secret that it is by, or the refusal.</returns>
    public static Result<string> FindCredential(Client client, ClientAssertion assertion, DateTimeOffset now)
    {
        var expired = false;
        string? valid = null;
        foreach (var secret in client.Secrets)
        {
            if (secret.Recoverable is { } plain)
            {
                var (equal, live) = (IsBy(plain, assertion), secret.IsLive(now));
                valid = equal & live ? secret.Credential : valid;
                expired |= equal & !live;
            }
        }

        return valid is not null ? valid : OAuthError.InvalidClient(client.ClientId, expired
            ? new("client_secret", "an assertion that is signed with a secret that has not expired", "one that is signed with a secret that has expired")
            : new("signature", "an assertion that is signed with its secret", "an assertion that was not signed with its secret, or was changed on the way"));
    }

    /// <summary>Whether this is an HMAC under this secret; compared in constant time.</summary>
    internal static bool IsBy(Secret secret, ClientAssertion assertion)
    {
        var key = Encoding.UTF8.GetBytes(secret.Reveal());
        var mac = assertion.Algorithm switch
        {
            "HS256" => HMACSHA256.HashData(key, assertion.Content),
            "HS384" => HMACSHA384.HashData(key, assertion.Content),
            "HS512" => HMACSHA512.HashData(key, assertion.Content),
            _ => [],
        };
        CryptographicOperations.ZeroMemory(key);
        return mac.Length > 0 && CryptographicOperations.FixedTimeEquals(mac, assertion.Signature);
    }
}
