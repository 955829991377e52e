using System;
using System.Linq;
using TokenService.Clients;
using TokenService.Protocol;

namespace TokenService.Administration;

/// <summary>A new secret for a client, and an end for those that it has.</summary>
/// <param name="Before">The client as it was.</param>
/// <param name="After">The client as it is to be.</param>
/// <param name="Secret">The new secret.</param>
/// <param name="OldEndAt">From when on the old ones are no longer good, at the latest.</param>
public sealed record Rotation(Client Before, Client After, Secret Secret, DateTimeOffset OldEndAt)
{
    /// <summary>Plans one.</summary>
    /// <param name="client">The client.</param>
    /// <param name="overlap">How long the old secrets stay good.</param>
    /// <param name="now">The time.</param>
    /// <exception cref="OperatorFaultException">The client has no secrets but a key.</exception>
    public static Rotation Of(Client client, TimeSpan overlap, DateTimeOffset now)
    {
        if (AuthenticationMethods.IsWorkload(client.AuthenticationMethod))
        {
            throw new OperatorFaultException(
                $"Client {Printable.Quote(client.ClientId)} has no secret: it proves itself by where it runs ({client.AuthenticationMethod}).");
        }

        if (AuthenticationMethods.HasCertificate(client.AuthenticationMethod))
        {
            throw new OperatorFaultException(
                $"Client {Printable.Quote(client.ClientId)} has no secret: it proves itself with its certificate ({client.AuthenticationMethod}).");
        }

        if (client.AuthenticationMethod == AuthenticationMethods.PrivateKeyJwt)
        {
            throw new OperatorFaultException(
                $"Client {Printable.Quote(client.ClientId)} has no secret: it proves itself with its key ({AuthenticationMethods.PrivateKeyJwt}). Give it a new one by its jwks or jwks_uri.");
        }

        var secret = ClientSecret.Generate(client.AuthenticationMethod);
        var kept = new ClientSecret(ClientSecret.Digest(secret), null, Origin.Command)
        {
            // Only an HMAC needs the secret itself.
            Recoverable = client.AuthenticationMethod == AuthenticationMethods.ClientSecretJwt ? secret : null,
        };

        // As exact as it is stored.
        var end = DateTimeOffset.FromUnixTimeMilliseconds((now + overlap).ToUnixTimeMilliseconds());
        var old = client.Secrets
            .Where(other => other.Origin == Origin.File || other.IsLive(now))
            .Select(other => other.EndedAt(end));
        return new Rotation(client, client with { Secrets = [.. old, kept] }, secret, end);
    }

    /// <summary>The client without the new secret, and with the ends that its secrets had before, unless another rotation set them meanwhile.</summary>
    /// <param name="now">The client as it is now.</param>
    public Client TakenBack(Client now) => now with
    {
        Secrets =
        [
            .. now.Secrets
                .Where(secret => !secret.Hash.SequenceEqual(After.Secrets[^1].Hash))
                .Select(secret => secret.OverlapEndsAt == OldEndAt
                    ? Before.Secrets.FirstOrDefault(old => old.Hash.SequenceEqual(secret.Hash)) ?? secret
                    : secret),
        ],
    };
}
