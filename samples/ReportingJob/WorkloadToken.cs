namespace ReportingJob;

/// <summary>
/// No secret at all: the token that the platform puts into a file for whatever runs there (<c>federated_jwt</c>), such as Kubernetes does, or a JWT-SVID
/// (<c>spiffe_jwt</c>).
/// </summary>
/// <param name="file">The file.</param>
/// <param name="isSpiffe">Whether it holds a JWT-SVID.</param>
public sealed class WorkloadToken(string file, bool isSpiffe) : ClientCredential
{
    /// <inheritdoc/>
    public override void Prove(HttpRequestMessage request, IDictionary<string, string> form)
    {
        form["client_assertion_type"] = $"urn:ietf:params:oauth:client-assertion-type:{(isSpiffe ? "jwt-spiffe" : "jwt-bearer")}";

        // Read each time: the platform replaces it before it expires.
        form["client_assertion"] = File.ReadAllText(file).Trim();
    }
}
