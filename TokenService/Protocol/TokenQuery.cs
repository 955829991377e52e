namespace TokenService.Protocol;

/// <summary>A request about one token: introspection (RFC 7662 §2.1) or revocation (RFC 7009 §2.1), as it was sent.</summary>
public sealed record TokenQuery : ClientRequest
{
    /// <summary><c>token</c>.</summary>
    public Secret? Token { get; init; }

    /// <summary><c>token_type_hint</c>. It may be wrong, so nothing follows from it.</summary>
    public string? TokenTypeHint { get; init; }
}
