using FluentValidation;
using TokenService.Protocol;

namespace TokenService.Endpoints;

/// <summary>The shape of a request of a client: what is <c>invalid_request</c> whoever sent it (RFC 6749 §2.3, §5.2).</summary>
/// <typeparam name="T">The kind of request.</typeparam>
public abstract class ClientRequestRules<T> : AbstractValidator<T>
    where T : ClientRequest
{
    /// <summary>The rules that all kinds share.</summary>
    protected ClientRequestRules()
    {
        ClassLevelCascadeMode = CascadeMode.Stop;

        RuleFor(request => request)
            .Must(request => Ways(request) <= 1)
            .WithMessage("The request authenticates the client in two ways at once. Send the credentials in the Authorization header or in the form.");
    }

    private static int Ways(T request)
        => (request.Authorization is null ? 0 : 1)
            + (request.ClientSecret is null ? 0 : 1)
            + (request.ClientAssertion is null && request.ClientAssertionType is null ? 0 : 1);
}

/// <summary>The shape of a token request.</summary>
public sealed class TokenRequestRules : ClientRequestRules<TokenRequest>
{
    /// <summary>The rules.</summary>
    public TokenRequestRules() => RuleFor(request => request.GrantType)
        .NotEmpty().WithMessage("grant_type is missing. Send grant_type=client_credentials in the form.");
}

/// <summary>The shape of a request about a token.</summary>
public sealed class TokenQueryRules : ClientRequestRules<TokenQuery>
{
    /// <summary>The rules.</summary>
    public TokenQueryRules() => RuleFor(query => query.Token)
        .NotNull().WithMessage("token is missing. Send the token in the form.");
}
