using System.Collections.Generic;
using TokenService.Protocol;

namespace TokenService.Endpoints;

/// <summary>The shape of a request of a client: what is <c>invalid_request</c> whoever sent it (RFC 6749 §2.3, §5.2).</summary>
public static class ClientRequestShape
{
    /// <summary>Checks a token request.</summary>
    /// <returns>The request, or <c>invalid_request</c>.</returns>
    public static Result<TokenRequest> Check(TokenRequest request)
    {
        if (WaysFault(request) is { } refusal)
        {
            return refusal.OfRequest(request);
        }

        return request.GrantType is null
            ? OAuthError.InvalidRequest(
                "grant_type is missing. Send grant_type=client_credentials in the form.", new(Parameters.GrantType, "grant_type in the form", "nothing")).OfRequest(request)
            : request;
    }

    /// <summary>Checks a request about a token.</summary>
    /// <returns>The request, or <c>invalid_request</c>.</returns>
    public static Result<TokenQuery> Check(TokenQuery query)
    {
        if (WaysFault(query) is { } refusal)
        {
            return refusal;
        }

        return query.Token is null
            ? OAuthError.InvalidRequest("token is missing. Send the token in the form.", new(Parameters.Token, "the token in the form", "nothing"))
            : query;
    }

    private static OAuthError? WaysFault(ClientRequest request)
    {
        var header = request.Authorization is not null;
        var secret = request.ClientSecret is not null;
        var assertion = request.ClientAssertion is not null || request.ClientAssertionType is not null;
        return (header ? 1 : 0) + (secret ? 1 : 0) + (assertion ? 1 : 0) <= 1
            ? null
            : OAuthError.InvalidRequest(
                "The request authenticates the client in two ways at once. Send the credentials in the Authorization header or in the form.",
                new("client_authentication", "one way to authenticate", string.Join(" and ", Ways())));

        IEnumerable<string> Ways()
        {
            if (header)
            {
                yield return "an Authorization header";
            }

            if (secret)
            {
                yield return Parameters.ClientSecret;
            }

            if (assertion)
            {
                yield return Parameters.ClientAssertion;
            }
        }
    }
}
