using System.Collections.Generic;
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
            .Must(request => Ways(request).Count <= 1)
            .WithMessage("The request authenticates the client in two ways at once. Send the credentials in the Authorization header or in the form.")
            .WithState(request => new FailedCheck("client_authentication", "one way to authenticate", string.Join(" and ", Ways(request))));
    }

    private static List<string> Ways(T request)
    {
        List<string> ways = [];
        if (request.Authorization is not null)
        {
            ways.Add("an Authorization header");
        }

        if (request.ClientSecret is not null)
        {
            ways.Add(Parameters.ClientSecret);
        }

        if (request.ClientAssertion is not null || request.ClientAssertionType is not null)
        {
            ways.Add(Parameters.ClientAssertion);
        }

        return ways;
    }
}

/// <summary>The shape of a token request.</summary>
public sealed class TokenRequestRules : ClientRequestRules<TokenRequest>
{
    /// <summary>The rules.</summary>
    public TokenRequestRules() => RuleFor(request => request.GrantType)
        .NotEmpty().WithMessage("grant_type is missing. Send grant_type=client_credentials in the form.")
        .WithState(_ => new FailedCheck(Parameters.GrantType, "grant_type in the form", "nothing"));
}

/// <summary>The shape of a request about a token.</summary>
public sealed class TokenQueryRules : ClientRequestRules<TokenQuery>
{
    /// <summary>The rules.</summary>
    public TokenQueryRules() => RuleFor(query => query.Token)
        .NotNull().WithMessage("token is missing. Send the token in the form.")
        .WithState(_ => new FailedCheck(Parameters.Token, "the token in the form", "nothing"));
}
