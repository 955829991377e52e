using System;
using System.Security.Cryptography;
using TokenService.Clients;
using TokenService.Protocol;

namespace TokenService.Authentication;

/// <summary>
/// Does the work of checking a signature where there is nothing to check it with, so that time does not tell which clients exist, and for
/// what they are registered.
/// </summary>
internal static class AssertionDecoy
{
    private static readonly Secret s_secret = new(Convert.ToBase64String(RandomNumberGenerator.GetBytes(48)));

    private static readonly Lazy<ClientKey> s_rsa = new(MakeRsa);
    private static readonly Lazy<ClientKey> s_p256 = new(() => MakeEc("P-256", ECCurve.NamedCurves.nistP256));
    private static readonly Lazy<ClientKey> s_p384 = new(() => MakeEc("P-384", ECCurve.NamedCurves.nistP384));
    private static readonly Lazy<ClientKey> s_p521 = new(() => MakeEc("P-521", ECCurve.NamedCurves.nistP521));

    /// <summary>Checks the signature against a key that nobody has.</summary>
    /// <param name="assertion">An assertion with one of <see cref="AssertionAlgorithms"/>.</param>
    public static void Spend(ClientAssertion assertion)
    {
        var key = assertion.Algorithm switch
        {
            "HS256" or "HS384" or "HS512" => null,
            "ES256" => s_p256.Value,
            "ES384" => s_p384.Value,
            "ES512" => s_p521.Value,
            _ => s_rsa.Value,
        };
        _ = key?.Verifies(assertion.Algorithm!, assertion.Content, assertion.Signature) ?? ClientSecretJwt.IsBy(s_secret, assertion);
    }

    // No product of two primes, which to verify with it need not be: making one takes a tenth of a second.
    private static ClientKey MakeRsa()
    {
        var modulus = RandomNumberGenerator.GetBytes(256);
        modulus[0] |= 0x80;
        modulus[^1] |= 1;
        return new ClientKey(new PublicJwk { Kty = "RSA", N = System.Buffers.Text.Base64Url.EncodeToString(modulus), E = "AQAB" });
    }

    private static ClientKey MakeEc(string name, ECCurve curve)
    {
        using var key = ECDsa.Create(curve);
        var point = key.ExportParameters(includePrivateParameters: false).Q;
        return new ClientKey(new PublicJwk
        {
            Kty = "EC",
            Crv = name,
            X = System.Buffers.Text.Base64Url.EncodeToString(point.X),
            Y = System.Buffers.Text.Base64Url.EncodeToString(point.Y),
        });
    }
}
