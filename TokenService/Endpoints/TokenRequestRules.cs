using FluentValidation;
using TokenService.Protocol;

namespace TokenService.Endpoints;

/// <summary>The shape of a token request: what is <c>invalid_request</c> whoever sent it (RFC 6749 §2.3, §5.2).</summary>
public sealed class TokenRequestRules : AbstractValidator<TokenRequest>
{
    /// <summary>The rules.</summary>
    public TokenRequestRules()
    {
        ClassLevelCascadeMode = CascadeMode.Stop;

        RuleFor(request => request)
            .Must(request => Ways(request) <= 1)
            .WithMessage("The request authenticates the client in two ways at once. Send the credentials in the Authorization header or in the form.");

        RuleFor(request => request.GrantType)
            .NotEmpty()
            .WithMessage("grant_type is missing. Send grant_type=client_credentials in the form.");
    }

    private static int Ways(TokenRequest request)
        => (request.Authorization is null ? 0 : 1)
            + (request.ClientSecret is null ? 0 : 1)
            + (request.ClientAssertion is null && request.ClientAssertionType is null ? 0 : 1);
}
