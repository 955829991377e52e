using System.Collections.Generic;
using System.Collections.Immutable;
using TokenService.Protocol;

namespace TokenService.Endpoints;

/// <summary>The parameters of a request, each sent once, its Authorization header and the certificate of its client.</summary>
public sealed class RequestParameters
{
    // At most 64, so that looking through them is cheap: no form makes a search expensive.
    private readonly List<KeyValuePair<string, string>> _fields;
    private readonly Secret? _authorization;
    private readonly ClientCertificate? _certificate;
    private readonly bool _certificateHeaderIgnored;
    private readonly Secret? _dpop;

    private RequestParameters(List<KeyValuePair<string, string>> fields, Secret? authorization, ClientCertificate? certificate, bool certificateHeaderIgnored, Secret? dpop)
        => (_fields, _authorization, _certificate, _certificateHeaderIgnored, _dpop) = (fields, authorization, certificate, certificateHeaderIgnored, dpop);

    /// <summary>Takes the fields of a form.</summary>
    /// <param name="fields">Names and values in the order they came in, at most <see cref="FormUrlEncoded.MaxFields"/>.</param>
    /// <param name="authorization">The value of the Authorization header, or an empty text.</param>
    /// <param name="certificate">The certificate of the client, where it has one.</param>
    /// <param name="certificateHeaderIgnored">Whether there was one in a header that was not looked at.</param>
    /// <param name="dpop">The value of the DPoP header, where there is one; of several, all of them with commas in between.</param>
    /// <returns>The parameters, or <c>invalid_request</c> where one was sent twice.</returns>
    public static Result<RequestParameters> Of(
        List<KeyValuePair<string, string>> fields, string authorization, ClientCertificate? certificate = null, bool certificateHeaderIgnored = false, string? dpop = null)
    {
        for (var i = 1; i < fields.Count; i++)
        {
            var name = fields[i].Key;
            if (name != Parameters.Resource && IsAmong(fields, i, name))
            {
                // RFC 6749 §3.2. Of two values, one reader takes the first and another the last.
                return OAuthError.InvalidRequest(
                    "A parameter was sent twice; only resource may be repeated.",
                    new("form", "each parameter once", Parameters.Known.Contains(name) ? $"{name} twice" : "an unknown parameter twice"));
            }
        }

        return new RequestParameters(fields, authorization.Length > 0 ? new Secret(authorization) : null, certificate, certificateHeaderIgnored, dpop is null ? null : new Secret(dpop));
    }

    /// <summary>Reads them as a token request.</summary>
    /// <returns>The request, or <c>invalid_request</c>.</returns>
    public Result<TokenRequest> ToTokenRequest() => ClientRequestShape.Check(new TokenRequest
    {
        ClientId = Value(Parameters.ClientId),
        ClientSecret = SecretValue(Parameters.ClientSecret),
        ClientAssertion = SecretValue(Parameters.ClientAssertion),
        ClientAssertionType = Value(Parameters.ClientAssertionType),
        Authorization = _authorization,
        Certificate = _certificate,
        CertificateHeaderIgnored = _certificateHeaderIgnored,
        DPoP = _dpop,
        GrantType = Value(Parameters.GrantType),
        Scope = Value(Parameters.Scope),
        Resources = Resources(),
        Exchange = Value(Parameters.GrantType) == GrantTypes.TokenExchange ? Exchange() : null,
    });

    /// <summary>Reads them as a request about a token.</summary>
    /// <returns>The request, or <c>invalid_request</c>.</returns>
    public Result<TokenQuery> ToTokenQuery() => ClientRequestShape.Check(new TokenQuery
    {
        ClientId = Value(Parameters.ClientId),
        ClientSecret = SecretValue(Parameters.ClientSecret),
        ClientAssertion = SecretValue(Parameters.ClientAssertion),
        ClientAssertionType = Value(Parameters.ClientAssertionType),
        Authorization = _authorization,
        Certificate = _certificate,
        CertificateHeaderIgnored = _certificateHeaderIgnored,
        Token = SecretValue(Parameters.Token),
        TokenTypeHint = Value(Parameters.TokenTypeHint),
    });

    private static bool IsAmong(List<KeyValuePair<string, string>> fields, int first, string name)
    {
        for (var i = 0; i < first; i++)
        {
            if (fields[i].Key == name)
            {
                return true;
            }
        }

        return false;
    }

    private TokenExchangeParameters Exchange() => new()
    {
        SubjectToken = SecretValue(Parameters.SubjectToken),
        SubjectTokenType = Value(Parameters.SubjectTokenType),
        RequestedTokenType = Value(Parameters.RequestedTokenType),
        NamesActor = Value(Parameters.ActorToken) is not null || Value(Parameters.ActorTokenType) is not null,
        Audience = Value(Parameters.Audience),
    };

    private ImmutableArray<string> Resources()
    {
        ImmutableArray<string> resources = [];
        foreach (var (name, value) in _fields)
        {
            if (name == Parameters.Resource)
            {
                resources = resources.Add(value);
            }
        }

        return resources;
    }

    private string? Value(string name)
    {
        foreach (var (key, value) in _fields)
        {
            if (key == name)
            {
                return value.Length > 0 ? value : null;
            }
        }

        return null;
    }

    private Secret? SecretValue(string name) => Value(name) is { } value ? new Secret(value) : null;
}
