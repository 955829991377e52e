using System;
using System.Collections.Generic;
using System.Collections.Immutable;
using System.Globalization;
using System.Linq;
using System.Text.Json;
using TokenService.Clients;
using TokenService.Protocol;

namespace TokenService.Authentication;

/// <summary>What every DPoP proof at the token endpoint must say, whoever sends it (RFC 9449 §4.3): each broken rule in turn. Pure.</summary>
/// <remarks>The nonce and the use of the <c>jti</c> are not among them: those need the service's key and the store.</remarks>
public static class DPoPRules
{
    /// <summary>The name of the header, and of faults of the proof as a whole.</summary>
    public const string Header = "DPoP";

    /// <summary>The <c>typ</c> of a proof (RFC 9449 §4.2): no other JWT passes for one.</summary>
    public const string ProofType = "dpop+jwt";

    /// <summary>How old a proof may be: until then, and <see cref="AssertionRules.Skew"/> longer, its <c>jti</c> is kept.</summary>
    public static readonly TimeSpan LongestAge = TimeSpan.FromMinutes(5);

    private const int MaxTokenIdLength = 256;

    // What changes how the rest is to be read, and is not known here (RFC 7515 §4.1.11, RFC 7797).
    private static readonly string[] s_refusedHeaders = ["crit", "b64", "zip", "enc"];

    /// <summary>Takes a proof apart.</summary>
    /// <param name="text">The value of the header; of several, all of them with commas in between.</param>
    /// <param name="proof">The parts, where the answer is <see langword="null"/>.</param>
    /// <returns>What is wrong with the form, or <see langword="null"/>.</returns>
    public static FailedCheck? Read(string text, out ClientAssertion? proof)
    {
        proof = null;
        return text.Contains(',', StringComparison.Ordinal)
            ? new(Header, "there must be one DPoP header", "several")
            : ClientAssertion.Read(text, out proof) is { } fault ? fault with { Name = Header } : null;
    }

    /// <summary>Reads the key that a proof is about, and checks that the proof is signed by it.</summary>
    /// <param name="proof">The proof.</param>
    /// <param name="key">The key, where the answer is <see langword="null"/>.</param>
    /// <returns>What is wrong with the header or the signature, or <see langword="null"/>.</returns>
    public static FailedCheck? ReadKey(ClientAssertion proof, out ClientKey? key)
    {
        key = null;
        var header = proof.Header;
        if (s_refusedHeaders.FirstOrDefault(name => header.TryGetProperty(name, out _)) is { } refused)
        {
            return new(refused, $"its header may not have {refused}", $"a header with {refused}");
        }

        if (!(header.TryGetProperty("typ", out var type) && type.ValueKind == JsonValueKind.String && type.ValueEquals(ProofType)))
        {
            return new("typ", $"typ must be {ProofType}", AssertionRules.Found(header, "typ"));
        }

        if (proof.Algorithm is not { } algorithm || !AssertionAlgorithms.PrivateKey.Contains(algorithm))
        {
            return new("alg", $"alg must be one of {string.Join(", ", AssertionAlgorithms.PrivateKey)}", AssertionRules.Found(header, "alg"));
        }

        if (!header.TryGetProperty("jwk", out var jwk))
        {
            return new("jwk", "jwk must be the public key of the proof", "nothing");
        }

        // What came is not repeated: it may be a private key.
        if (ClientKeyReader.ReadOne(jwk, out var read) is { } fault)
        {
            return new("jwk", "jwk must be a public key alone: RSA of 2048 to 4096 bits, or EC on P-256, P-384 or P-521", $"a jwk that {fault}");
        }

        if (!read!.Algorithms.Contains(algorithm))
        {
            return new("alg", "alg must go with the jwk", $"alg {algorithm} with a jwk for {string.Join(", ", read.Algorithms)}");
        }

        if (!read.VerifiesOnce(algorithm, proof.Content, proof.Signature))
        {
            return new("signature", "it must be signed with the private key of its jwk", "another signature");
        }

        key = read;
        return null;
    }

    /// <summary>The rules that the claims break.</summary>
    /// <param name="proof">The proof.</param>
    /// <param name="addresses">What <c>htu</c> may be: the addresses that the token endpoint has.</param>
    /// <param name="now">The time of the request.</param>
    public static IEnumerable<FailedCheck> Broken(ClientAssertion proof, ImmutableArray<Uri> addresses, DateTimeOffset now)
    {
        var claims = proof.Claims;
        if (!(claims.TryGetProperty("htm", out var method) && method.ValueKind == JsonValueKind.String && method.ValueEquals("POST")))
        {
            yield return new("htm", "htm must be POST", AssertionRules.Found(claims, "htm"));
        }

        if (!(claims.TryGetProperty("htu", out var address) && address.ValueKind == JsonValueKind.String
            && Uri.TryCreate(address.GetString(), UriKind.Absolute, out var sent) && addresses.Any(own => IsSame(own, sent))))
        {
            yield return new("htu", $"htu must be the token endpoint, {string.Join(" or ", addresses)}", AssertionRules.Found(claims, "htu"));
        }

        if (IssuedAt(proof) is not { } issuedAt)
        {
            yield return new("iat", "iat must be a time in seconds since 1970, a number", AssertionRules.Found(claims, "iat"));
        }
        else if (issuedAt > now + AssertionRules.Skew || issuedAt < now - LongestAge)
        {
            yield return new(
                "iat",
                $"iat must not be in the future, nor more than {LongestAge.TotalMinutes} minutes past: check the clock of the client",
                string.Create(CultureInfo.InvariantCulture, $"{Math.Abs((issuedAt - now).TotalSeconds):0.###} seconds {(issuedAt > now ? "ahead" : "past")}"));
        }

        if (proof.TokenId is not { Length: > 0 and <= MaxTokenIdLength })
        {
            yield return new("jti", $"jti must be a text of 1 to {MaxTokenIdLength} characters, another one for each proof", AssertionRules.Found(claims, "jti"));
        }
    }

    /// <summary>When a proof was made; <see langword="null"/> where its <c>iat</c> is no time.</summary>
    /// <param name="proof">The proof.</param>
    public static DateTimeOffset? IssuedAt(ClientAssertion proof) => proof.Claims.TryGetProperty("iat", out var time) ? AssertionRules.Time(time) : null;

    // RFC 9449 §4.3: without query and fragment; ways to write the same address do not count.
    private static bool IsSame(Uri own, Uri sent)
    {
        const UriComponents Parts = UriComponents.SchemeAndServer | UriComponents.Path;
        return sent.UserInfo.Length == 0 && Uri.Compare(own, sent, Parts, UriFormat.UriEscaped, StringComparison.Ordinal) == 0;
    }
}
