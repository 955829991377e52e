namespace ReportingJob;

/// <summary>What the job proves with that it is the client it says it is.</summary>
public abstract class ClientCredential
{
    /// <summary>Makes what connects to the token service and the API.</summary>
    public virtual SocketsHttpHandler Connect() => new();

    /// <summary>Puts the proof on a token request.</summary>
    /// <param name="request">The request.</param>
    /// <param name="form">The parameters that it will send.</param>
    public abstract void Prove(HttpRequestMessage request, IDictionary<string, string> form);
}
