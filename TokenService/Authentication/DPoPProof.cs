using System;
using System.Collections.Immutable;
using System.Linq;
using System.Text.Json;
using System.Threading.Tasks;
using TokenService.Clients;
using TokenService.Protocol;

namespace TokenService.Authentication;

/// <summary>Checks the proof that a client sends of the key that its token is to be bound to (DPoP, RFC 9449 §4.3 and §5).</summary>
/// <remarks>
/// In this order: the form, the key and its signature, the claims, the nonce, and last of all the <c>jti</c>, which is used up then. Only an authenticated client, for
/// a request that is granted, comes so far.
/// </remarks>
/// <param name="addresses">What <c>htu</c> may be, known once the service listens.</param>
/// <param name="nonces">The nonces that a proof may have.</param>
/// <param name="replay">Which proofs were used.</param>
public sealed class DPoPProof(Func<ImmutableArray<Uri>> addresses, DPoPNonces nonces, IReplayStore replay)
{
    // No client id has a line break.
    private const string ReplayOwner = "dpop\n";

    private static readonly TimeSpan s_storeRetry = TimeSpan.FromSeconds(1);

    /// <summary>The nonce for the next proof (<c>DPoP-Nonce</c>, RFC 9449 §8).</summary>
    /// <param name="now">The time.</param>
    public string Nonce(DateTimeOffset now) => nonces.At(now);

    /// <summary>Checks the proof of a request.</summary>
    /// <param name="request">The request.</param>
    /// <param name="client">Who has sent it.</param>
    /// <param name="now">The time of the request.</param>
    /// <returns>
    /// The thumbprint of the key (<c>jkt</c>, RFC 7638, SHA-256 in base64url); <c>invalid_dpop_proof</c>, <c>use_dpop_nonce</c>, <c>invalid_request</c> where there is no
    /// proof, or <c>temporarily_unavailable</c> where the store cannot note its use.
    /// </returns>
    public async ValueTask<Result<string>> Check(TokenRequest request, Client client, DateTimeOffset now)
    {
        if (request.DPoP is not { } text)
        {
            return OAuthError.InvalidRequest(
                "The client's tokens are bound to a key (dpop_bound_access_tokens). Send a proof of it in the DPoP header.",
                new("dpop_bound_access_tokens", "a request with a DPoP header", "no proof"),
                client.ClientId);
        }

        ClientKey? key = null;
        if ((DPoPRules.Read(text.Reveal(), out var proof) ?? DPoPRules.ReadKey(proof!, out key) ?? DPoPRules.Broken(proof!, addresses(), now).FirstOrDefault()) is { } broken)
        {
            return OAuthError.InvalidDPoPProof(client.ClientId, broken);
        }

        if (!(proof!.Claims.TryGetProperty("nonce", out var nonce) && nonce.ValueKind == JsonValueKind.String && nonces.IsGood(nonce.GetString()!, now)))
        {
            return OAuthError.UseDPoPNonce(client.ClientId, new("nonce", "a nonce of the service, from the DPoP-Nonce header of its last answers", AssertionRules.Found(proof.Claims, "nonce")));
        }

        var thumbprint = key!.Thumbprint();
        return await replay.Use(ReplayOwner + thumbprint, proof.TokenId!, DPoPRules.IssuedAt(proof)!.Value + DPoPRules.LongestAge) switch
        {
            ReplayVerdict.FirstUse => thumbprint,
            ReplayVerdict.UsedBefore => OAuthError.InvalidDPoPProof(client.ClientId, new("jti", "jti must be another one for each proof", "a proof that was used before")),
            _ => OAuthError.TemporarilyUnavailable(
                s_storeRetry, client.ClientId, new("jti", "a store that can note it", "a right DPoP proof, and the store could not note its jti")),
        };
    }
}
