using System;
using System.Threading.Tasks;
using Microsoft.AspNetCore.Http;
using TokenService.Authentication;
using TokenService.Operations;
using TokenService.Protocol;
using TokenService.Storage;

namespace TokenService.Endpoints;

/// <summary>A request whose client has proved itself, and what to decide it by. Disposing of it lets the next request compute.</summary>
/// <typeparam name="T">The kind of request.</typeparam>
/// <param name="Request">What was sent.</param>
/// <param name="Client">Who sent it.</param>
/// <param name="Snapshot">Clients, resources and keys: for this request they stay as they are here.</param>
/// <param name="Now">The time of the request, for all that is decided about it.</param>
/// <param name="Turn">Its turn to compute.</param>
public sealed record AuthenticatedRequest<T>(T Request, AuthenticatedClient Client, StoreSnapshot Snapshot, DateTimeOffset Now, Admission.Turn Turn) : IDisposable
    where T : ClientRequest
{
    /// <summary>A refusal, with who has asked for what.</summary>
    public OAuthError Refuse(OAuthError error) => error.OfRequest(Request, Client.Client.AuthenticationMethod, Client.Credential);

    /// <summary>Ends its turn.</summary>
    public void Dispose() => Turn.Dispose();
}

/// <summary>The first two steps at each endpoint that clients authenticate at: parse the request, and find out who sent it.</summary>
/// <param name="store">Clients, resources and keys; taken once for each request.</param>
/// <param name="authenticator">Finds out who the client is.</param>
/// <param name="admission">Lets in what can be answered in time.</param>
/// <param name="uses">Told who has proved itself, and with what.</param>
/// <param name="certificates">Reads the certificate of a client; <see langword="null"/> where none is looked for.</param>
/// <param name="telemetry">Shows what it takes.</param>
/// <param name="clock">The clock.</param>
public sealed class Intake(
    StoreWatch store,
    ClientAuthenticator authenticator,
    Admission admission,
    CredentialUses uses,
    ClientCertificates? certificates,
    Telemetry telemetry,
    TimeProvider clock)
{
    /// <summary>Takes one request in.</summary>
    /// <typeparam name="T">The kind of request.</typeparam>
    /// <param name="http">The request.</param>
    /// <param name="read">Reads its parameters as that kind.</param>
    /// <returns>The request, to be disposed of; or a refusal.</returns>
    public async ValueTask<Result<AuthenticatedRequest<T>>> Take<T>(HttpContext http, Func<RequestParameters, Result<T>> read)
        where T : ClientRequest
    {
        if (admission.IsFull)
        {
            return OAuthError.Overloaded;
        }

        // 1. Parse: after this, no step sees HTTP.
        if ((await RequestForm.Read(http.Request, certificates, http.RequestAborted)).Refused(out var error, out var parameters)
            || read(parameters).Refused(out error, out var request))
        {
            return error;
        }

        if (await admission.Enter(http.RequestAborted) is not { } turn)
        {
            return OAuthError.Overloaded;
        }

        var keepsTurn = false;
        try
        {
            // Taken once, and only now: the body may have taken seconds to arrive.
            if (store.Take().Refused(out error, out var snapshot))
            {
                return error.OfRequest(request);
            }

            // 2. Authenticate the client.
            var now = clock.GetUtcNow();
            using var span = telemetry.Span("authenticate");
            if ((await turn.While(authenticator.Authenticate(request, snapshot.Registry, now, http.RequestAborted))).Refused(out error, out var client))
            {
                return error.OfRequest(request);
            }

            span?.Stop();
            uses.Note(client, now);
            keepsTurn = true;
            return new AuthenticatedRequest<T>(request, client, snapshot, now, turn);
        }
        finally
        {
            if (!keepsTurn)
            {
                turn.Dispose();
            }
        }
    }
}
