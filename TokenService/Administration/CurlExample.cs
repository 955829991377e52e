using System;
using System.Linq;
using TokenService.Protocol;

namespace TokenService.Administration;

/// <summary>The first line that a newcomer pastes.</summary>
public static class CurlExample
{
    /// <summary>A curl line that gets a token for the first client whose secret stands in the file in plain text.</summary>
    /// <param name="file">The declarative file; for Development, since the line shows the secret.</param>
    /// <param name="issuer">The issuer.</param>
    /// <returns>The line, or <see langword="null"/> where the file has no such client.</returns>
    public static string? For(DeclarativeFile file, string issuer)
    {
        var client = file.Clients.FirstOrDefault(client => !client.ClientSecrets.IsEmpty && client.GrantTypes.Contains(GrantTypes.ClientCredentials)
            && client.TokenEndpointAuthMethod is AuthenticationMethods.ClientSecretBasic or AuthenticationMethods.ClientSecretPost);
        if (client is null)
        {
            return null;
        }

        var (id, secret) = (client.ClientId!, client.ClientSecrets[0].Reveal());
        var credentials = client.TokenEndpointAuthMethod == AuthenticationMethods.ClientSecretBasic
            ? $"-u {Quote($"{Uri.EscapeDataString(id)}:{Uri.EscapeDataString(secret)}")}"
            : $"--data-urlencode {Quote($"client_id={id}")} --data-urlencode {Quote($"client_secret={secret}")}";
        return $"curl {credentials} -d grant_type={GrantTypes.ClientCredentials} {issuer}{EndpointPaths.Token}";
    }

    // In single quotes a POSIX shell takes everything as it stands but the quote itself.
    private static string Quote(string text) => $"'{text.Replace("'", "'\\''", StringComparison.Ordinal)}'";
}
