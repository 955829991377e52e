using System;
using System.Collections.Generic;
using System.Collections.Immutable;
using System.Linq;
using FluentValidation;
using TokenService.Protocol;

namespace TokenService.Endpoints;

/// <summary>The parameters of a request, each sent once, and its Authorization header.</summary>
public sealed class RequestParameters
{
    private static readonly TokenRequestRules s_tokenRequestRules = new();
    private static readonly TokenQueryRules s_tokenQueryRules = new();

    private readonly Dictionary<string, string> _values;
    private readonly ImmutableArray<string> _resources;
    private readonly Secret? _authorization;

    private RequestParameters(Dictionary<string, string> values, ImmutableArray<string> resources, Secret? authorization)
        => (_values, _resources, _authorization) = (values, resources, authorization);

    /// <summary>Takes the fields of a form.</summary>
    /// <param name="fields">Names and values in the order they came in.</param>
    /// <param name="authorization">The value of the Authorization header, or an empty text.</param>
    /// <returns>The parameters, or <c>invalid_request</c> where one was sent twice.</returns>
    public static Result<RequestParameters> Of(List<KeyValuePair<string, string>> fields, string authorization)
    {
        var values = new Dictionary<string, string>(fields.Count, StringComparer.Ordinal);
        foreach (var (name, value) in fields)
        {
            if (name != Parameters.Resource && !values.TryAdd(name, value))
            {
                // RFC 6749 §3.2. Of two values, one reader takes the first and another the last.
                return OAuthError.InvalidRequest(
                    "A parameter was sent twice; only resource may be repeated.",
                    new("form", "each parameter once", Parameters.Known.Contains(name) ? $"{name} twice" : "an unknown parameter twice"));
            }
        }

        return new RequestParameters(
            values,
            [.. fields.Where(field => field.Key == Parameters.Resource).Select(field => field.Value)],
            authorization.Length > 0 ? new Secret(authorization) : null);
    }

    /// <summary>Reads them as a token request.</summary>
    /// <returns>The request, or <c>invalid_request</c>.</returns>
    public Result<TokenRequest> ToTokenRequest() => Checked(
        new TokenRequest
        {
            GrantType = Value(Parameters.GrantType),
            Scope = Value(Parameters.Scope),
            Resources = _resources,
        },
        s_tokenRequestRules);

    /// <summary>Reads them as a request about a token.</summary>
    /// <returns>The request, or <c>invalid_request</c>.</returns>
    public Result<TokenQuery> ToTokenQuery()
        => Checked(new TokenQuery { Token = SecretValue(Parameters.Token), TokenTypeHint = Value(Parameters.TokenTypeHint) }, s_tokenQueryRules);

    private Result<T> Checked<T>(T request, AbstractValidator<T> rules)
        where T : ClientRequest
    {
        var whole = (T)((ClientRequest)request with
        {
            ClientId = Value(Parameters.ClientId),
            ClientSecret = SecretValue(Parameters.ClientSecret),
            ClientAssertion = SecretValue(Parameters.ClientAssertion),
            ClientAssertionType = Value(Parameters.ClientAssertionType),
            Authorization = _authorization,
        });
        var shape = rules.Validate(whole);
        return shape.IsValid ? whole : OAuthError.InvalidRequest(shape.Errors[0].ErrorMessage, (FailedCheck)shape.Errors[0].CustomState);
    }

    private string? Value(string name) => _values.TryGetValue(name, out var value) && value.Length > 0 ? value : null;

    private Secret? SecretValue(string name) => Value(name) is { } value ? new Secret(value) : null;
}
