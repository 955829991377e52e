using System;
using System.Collections.Immutable;
using System.Linq;
using System.Threading;
using System.Threading.Tasks;
using TokenService.Clients;
using TokenService.Protocol;

namespace TokenService.Authentication;

/// <summary><c>private_key_jwt</c>: an assertion signed with the client's private key (RFC 7518 §3.3 to §3.5).</summary>
/// <remarks>
/// The key is one that the client is registered with. What an assertion says of keys (<c>jwk</c>, <c>jku</c>, <c>x5u</c>, <c>x5c</c>) is never
/// looked at; its <c>kid</c> only chooses among the registered ones.
/// </remarks>
public static class PrivateKeyJwt
{
    private const int MostNamed = 4;

    /// <summary>Checks the signature.</summary>
    /// <param name="client">A client that is registered for this method.</param>
    /// <param name="assertion">An assertion with one of the algorithms of this method.</param>
    /// <param name="keySets">The keys behind each <c>jwks_uri</c>.</param>
    /// <param name="cancellation">Ends the wait for keys that must be fetched.</param>
    /// <returns>The <see cref="ClientKey.Credential"/> of the key that signed it, or the refusal.</returns>
    public static ValueTask<Result<string>> FindCredential(
        Client client, ClientAssertion assertion, ClientKeySets keySets, CancellationToken cancellation)
        => client.JwksUri is { } uri
            ? FindCredential(client.ClientId, assertion, new KeySource(uri), keySets, cancellation)
            : new(FindCredential(client.ClientId, assertion, client.Keys));

    /// <summary>The same with keys that are fetched, whoever's they are.</summary>
    internal static ValueTask<Result<string>> FindCredential(
        string? clientId, ClientAssertion assertion, KeySource source, ClientKeySets keySets, CancellationToken cancellation)
        => keySets.Find(
            clientId,
            source,
            "an assertion",
            keys => FindCredential(clientId, assertion, keys),
            isFinal: keys => keys.Any(key => key.Jwk.Kid is { } kid && kid == assertion.KeyId),
            cancellation);

    /// <summary>The same with these keys.</summary>
    internal static Result<string> FindCredential(string? clientId, ClientAssertion assertion, ImmutableArray<ClientKey> keys)
    {
        // Without kid any key may be the one, and so may a key without kid.
        var candidates = keys.Where(key => assertion.KeyId is not { } kid || key.Jwk.Kid is null || key.Jwk.Kid == kid).ToList();
        if (candidates.Count == 0)
        {
            AssertionDecoy.Spend(assertion);
            var kids = string.Join(", ", keys.Take(MostNamed).Select(key => Printable.Quote(key.Jwk.Kid ?? "")))
                + (keys.Length > MostNamed ? $" and {keys.Length - MostNamed} more" : "");
            return OAuthError.InvalidClient(
                clientId, new("kid", $"the kid of one of its keys: {kids}", $"an assertion with kid {Printable.Quote(assertion.KeyId ?? "")}"));
        }

        var fitting = candidates.FindAll(key => key.Algorithms.Contains(assertion.Algorithm!));
        if (fitting.Count == 0)
        {
            AssertionDecoy.Spend(assertion);
            var algorithms = string.Join(", ", candidates.SelectMany(key => key.Algorithms).Distinct(StringComparer.Ordinal));
            return OAuthError.InvalidClient(clientId, new("alg", $"what its key is for: {algorithms}", $"an assertion with alg {assertion.Algorithm}"));
        }

        return fitting.Find(key => key.Verifies(assertion.Algorithm!, assertion.Content, assertion.Signature)) is { } signer
            ? signer.Credential
            : OAuthError.InvalidClient(
                clientId, new("signature", "an assertion that is signed by its key", "an assertion that its key did not sign, or that was changed on the way"));
    }
}
