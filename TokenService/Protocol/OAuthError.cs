using System;

namespace TokenService.Protocol;

/// <summary>
/// A refusal: what the caller is told and what the operator is told. The static members are the whole table of errors; each refusal
/// is one of them with the words for its case.
/// </summary>
/// <remarks>
/// RFC 6749 §5.2 defines the codes; <c>invalid_target</c> comes from RFC 8707 §2 and RFC 8693 §2.2.2, <c>invalid_dpop_proof</c> and <c>use_dpop_nonce</c> from RFC 9449 §5 and §8, <c>slow_down</c> is borrowed from RFC 8628 §3.5 and
/// <c>temporarily_unavailable</c> from RFC 6749 §4.1.2.1.
/// </remarks>
public sealed record OAuthError
{
    private OAuthError(string code, int status, string description, FailedCheck failed, string? clientId = null)
        => (Code, Status, Description, Failed, ClientId) = (code, status, description, failed, clientId);

    /// <summary>The <c>error</c> member of the answer.</summary>
    public string Code { get; }

    /// <summary>The HTTP status of the answer.</summary>
    public int Status { get; }

    /// <summary>
    /// The <c>error_description</c> of the answer: what to mend, and nothing that an attacker learns from. In the characters that
    /// RFC 6749 §5.2 allows (printable ASCII without <c>"</c> and <c>\</c>), so it never repeats what the caller sent.
    /// </summary>
    public string Description { get; private init; }

    /// <summary>Which check failed, what was expected and what came: for the operator.</summary>
    public FailedCheck Failed { get; private init; }

    /// <summary>The same in a line, for the log.</summary>
    public string Reason
        => $"{Failed.Name}: {(ClientId is null ? "" : $"client {Printable.Quote(ClientId)} sent ")}{Failed.Came}; expected: {Failed.Expected}";

    /// <summary>When another try makes sense, where the answer says so (<c>Retry-After</c>).</summary>
    public TimeSpan? RetryAfter { get; private init; }

    /// <summary>The client id, as it was sent, where one was: of a client that failed to authenticate, or of one that did.</summary>
    public string? ClientId { get; private init; }

    /// <summary>The request, as it was sent, where it could be read.</summary>
    public ClientRequest? Request { get; private init; }

    /// <summary>How the client proved itself (<c>token_endpoint_auth_method</c>), where it did.</summary>
    public string? Method { get; private init; }

    /// <summary>Which of its secrets or keys it proved itself with: a name, which says nothing of the secret.</summary>
    public string? Credential { get; private init; }

    /// <summary>The one method that the address takes, where the caller used another (<c>Allow</c>).</summary>
    public string? Allow { get; private init; }

    /// <summary>
    /// The same as it may be logged and kept: without what may be a secret or a token that was sent in the place of something else. A
    /// <c>kid</c> looks like one and is none.
    /// </summary>
    /// <remarks>
    /// What came from a caller stands in quotation marks (<see cref="Printable.Quote"/>). Words of our own are not searched: that would take longer for
    /// a right secret by another method than for a wrong one.
    /// </remarks>
    /// <param name="isSecret">Whether a text is the secret of a client.</param>
    public OAuthError Withheld(Func<string, bool> isSecret) => this with
    {
        ClientId = ClientId is null ? null : Printable.Withhold(ClientId, isSecret),
        Failed = Failed.Name == "kid" || !Failed.Came.Contains('"', StringComparison.Ordinal) ? Failed : Failed with { Came = Printable.Withhold(Failed.Came, isSecret) },
    };

    /// <summary>The same of a request that could be read.</summary>
    /// <param name="request">The request.</param>
    /// <param name="method">How its client proved itself, where it did.</param>
    /// <param name="credential">What with.</param>
    public OAuthError OfRequest(ClientRequest request, string? method = null, string? credential = null)
        => this with { Request = request, Method = method, Credential = credential };

    /// <summary>The same of a token, for the operator: among several issuers, whose keys the check was made with.</summary>
    /// <param name="issuer">The issuer's name.</param>
    public OAuthError OfIssuer(string issuer) => this with { Failed = Failed with { Expected = $"{Failed.Expected} (issuer {issuer})" } };

    /// <summary>400: the request is not a well-formed one.</summary>
    /// <param name="description">What to mend.</param>
    /// <param name="failed">The check.</param>
    /// <param name="clientId">The client that sent it, where that is proved.</param>
    public static OAuthError InvalidRequest(string description, FailedCheck failed, string? clientId = null)
        => new("invalid_request", 400, description, failed, clientId);

    /// <summary>405: another method than the one that the address takes.</summary>
    public static OAuthError MethodNotAllowed(string allow, string came)
        => new("invalid_request", 405, $"This address takes {allow} only.", new("method", allow, Printable.Quote(came))) { Allow = allow };

    /// <summary>413: the body is larger than the address takes.</summary>
    public static OAuthError BodyTooLarge(int limit)
        => new("invalid_request", 413, $"The body is larger than {limit} bytes.", new("body", $"at most {limit} bytes", "a larger body"));

    /// <summary>401: who the caller is was not proved. The caller reads the same words whatever the check (RFC 6749 §5.2).</summary>
    /// <param name="clientId">The client id that was sent; <see langword="null"/> where none was, or none that could be read.</param>
    /// <param name="failed">The check. What came reads on after "client x sent".</param>
    public static OAuthError InvalidClient(string? clientId, FailedCheck failed)
        => new(
            "invalid_client",
            401,
            "Client authentication failed. Check the client id, its secret or signing key, and that they are sent by the method the client is " +
            "registered for (token_endpoint_auth_method); the operator finds the exact reason in the log under the trace_id.",
            failed,
            clientId);

    /// <summary>
    /// 401: the client assertion is wrong whoever the client is. What is wrong with it follows from the assertion, the issuer and the clock
    /// alone, so the caller may read what was expected: it says nothing about who is registered.
    /// </summary>
    /// <param name="clientId">The client id that was sent; <see langword="null"/> where none was.</param>
    /// <param name="failed">The check, with what was expected in the characters of <see cref="Description"/>.</param>
    public static OAuthError InvalidAssertion(string? clientId, FailedCheck failed)
        => InvalidClient(clientId, failed) with { Description = $"The client assertion is refused: {failed.Expected}." };

    /// <summary>400: the DPoP proof is wrong (RFC 9449 §5). What is wrong with it follows from the proof, our address and the clock alone, so the caller may read it.</summary>
    /// <param name="clientId">Who sent it.</param>
    /// <param name="failed">The check, with what was expected in the characters of <see cref="Description"/>.</param>
    public static OAuthError InvalidDPoPProof(string clientId, FailedCheck failed)
        => new("invalid_dpop_proof", 400, $"The DPoP proof is refused: {failed.Expected}.", failed, clientId);

    /// <summary>400: the DPoP proof has no nonce of ours, or an old one; the answer brings the next (RFC 9449 §8).</summary>
    /// <param name="clientId">Who sent it.</param>
    /// <param name="failed">The check.</param>
    public static OAuthError UseDPoPNonce(string clientId, FailedCheck failed)
        => new("use_dpop_nonce", 400, "The DPoP proof needs the nonce of the DPoP-Nonce header of this answer. Make another proof with it.", failed, clientId);

    /// <summary>503: what was asked cannot be found out now, or not be noted. Nothing is known against the caller.</summary>
    /// <param name="retryAfter">When another try makes sense.</param>
    /// <param name="clientId">Who asked, where that is known.</param>
    /// <param name="failed">The check. What came reads on after "client x sent".</param>
    public static OAuthError TemporarilyUnavailable(TimeSpan retryAfter, string? clientId, FailedCheck failed) => new(
        "temporarily_unavailable", 503, "The service cannot check this now. Send a new request after the seconds in Retry-After.", failed, clientId)
    {
        RetryAfter = retryAfter,
    };

    /// <summary>503: more requests than the service can answer. Nothing of this one was looked at.</summary>
    public static OAuthError Overloaded { get; } = new(
        "temporarily_unavailable",
        503,
        "The service has more requests than it can answer. Send the request again after the seconds in Retry-After.",
        new("load", "a request that can be answered in time", "one more than that"))
    {
        RetryAfter = TimeSpan.FromSeconds(1),
    };

    /// <summary>429: too many failed authentications from one address for one client id.</summary>
    /// <param name="retryAfter">When another try makes sense.</param>
    /// <param name="refused">The refusal that was one too many: its check is the one that the operator is told.</param>
    public static OAuthError SlowDown(TimeSpan retryAfter, OAuthError refused) => new(
        "slow_down",
        429,
        "Too many failed attempts. Wait as long as Retry-After says, then send the right credentials.",
        refused.Failed,
        refused.ClientId)
    {
        RetryAfter = retryAfter,
        Request = refused.Request,
    };

    /// <summary>400: a grant that the service does not have.</summary>
    /// <param name="offered">The grant types that it has, space separated.</param>
    /// <param name="clientId">Who asked.</param>
    /// <param name="asked">The <c>grant_type</c> asked for.</param>
    public static OAuthError UnsupportedGrantType(string offered, string clientId, string asked) => new(
        "unsupported_grant_type",
        400,
        $"This service does not offer that grant. grant_type may be: {offered}.",
        new("grant_type", offered, Printable.Quote(asked)),
        clientId);

    /// <summary>400: a grant that this client is not registered for.</summary>
    public static OAuthError UnauthorizedClient(string clientId, FailedCheck failed)
        => new("unauthorized_client", 400, "The client is not registered for this grant (grant_types).", failed, clientId);

    /// <summary>403: a client that asks about a token, and is registered for no introspection.</summary>
    public static OAuthError IntrospectionNotAllowed(string clientId) => new(
        "unauthorized_client",
        403,
        "The client is not registered for introspection (introspection).",
        new("introspection", "a client that is registered for introspection", "a token to ask about"),
        clientId);

    /// <summary>400: a scope that is malformed, unknown or not this client's, or none left.</summary>
    public static OAuthError InvalidScope(string description, string clientId, FailedCheck failed)
        => new("invalid_scope", 400, description, failed, clientId);

    /// <summary>400: a resource that is malformed, unknown or none of this client's (RFC 8707 §2).</summary>
    public static OAuthError InvalidTarget(string description, string clientId, FailedCheck failed)
        => new("invalid_target", 400, description, failed, clientId);

    /// <summary>500: our own fault, never one of the caller's.</summary>
    public static OAuthError ServerError { get; } = new(
        "server_error",
        500,
        "The service failed. The operator finds the reason in the log under the trace_id.",
        new("server_error", "an answer", "an unhandled exception"));
}
