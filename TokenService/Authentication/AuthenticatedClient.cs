using TokenService.Clients;

namespace TokenService.Authentication;

/// <summary>A client that has proved who it is. Grants take nothing else, so that none can be reached without authentication.</summary>
/// <param name="Client">The client.</param>
/// <param name="Credential">What it proved itself with: the <c>Credential</c> of one of its secrets or keys.</param>
public sealed record AuthenticatedClient(Client Client, string Credential);
