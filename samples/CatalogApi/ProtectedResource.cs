using System.Text.Json.Serialization;
using Microsoft.AspNetCore.Authentication.JwtBearer;
using Microsoft.AspNetCore.Authorization;

namespace CatalogApi;

/// <summary>
/// Tells clients that know only the API where its tokens come from (RFC 9728): a document at a well-known address, which each refusal
/// names. So a client needs no configuration but the address of the API.
/// </summary>
internal sealed class ProtectedResource
{
    private readonly string _path;
    private readonly string _address;
    private readonly Document _document;

    /// <summary>Describes the API.</summary>
    /// <param name="resource">Its resource URI, an http or https URL: the <c>aud</c> of its tokens. All addresses are made from it, never from a request.</param>
    /// <param name="issuer">The issuer of its tokens.</param>
    /// <param name="scopes">The scopes that it knows.</param>
    public ProtectedResource(string resource, string issuer, string[] scopes)
    {
        // RFC 9728 §3.1: the well-known part stands between the host and the path of the resource.
        var uri = new Uri(resource);
        _path = "/.well-known/oauth-protected-resource" + uri.AbsolutePath.TrimEnd('/');
        _address = uri.GetLeftPart(UriPartial.Authority) + _path;
        _document = new Document(resource, [issuer], scopes, ["header"]);
    }

    /// <summary>Serves the document to everybody: whoever has no token yet needs it.</summary>
    public void Map(IEndpointRouteBuilder app) => app.MapGet(_path, () => _document).AllowAnonymous();

    /// <summary>Answers a request without a good token: 401, what is wrong with it (RFC 6750 §3), and where the document is (RFC 9728 §5.1).</summary>
    public Task Challenge(JwtBearerChallengeContext context)
    {
        context.HandleResponse();
        context.Response.StatusCode = StatusCodes.Status401Unauthorized;
        Write(context.Response, ("error", context.Error), ("error_description", context.ErrorDescription));
        return Task.CompletedTask;
    }

    /// <summary>Answers a token without the scope as RFC 6750 §3.1 says: 403, and which scope it takes.</summary>
    public Task SayInsufficientScope(ForbiddenContext context)
    {
        var scope = context.HttpContext.GetEndpoint()?.Metadata.GetMetadata<IAuthorizeData>()?.Policy;
        Write(context.Response, ("error", "insufficient_scope"), ("scope", scope));
        return Task.CompletedTask;
    }

    private void Write(HttpResponse response, params (string Name, string? Value)[] parameters)
    {
        var written = parameters.Append((Name: "resource_metadata", Value: (string?)_address))
            .Where(parameter => parameter.Value is { Length: > 0 })
            .Select(parameter => $"{parameter.Name}=\"{parameter.Value}\"");

        // By the scheme that the request had (RFC 9449 §7.1).
        var scheme = DPoPBinding.IsSent(response.HttpContext.Request) ? "DPoP" : "Bearer";
        response.Headers.WWWAuthenticate = $"{scheme} {string.Join(", ", written)}";
    }

    private sealed record Document(
        [property: JsonPropertyName("resource")] string Resource,
        [property: JsonPropertyName("authorization_servers")] string[] AuthorizationServers,
        [property: JsonPropertyName("scopes_supported")] string[] ScopesSupported,
        [property: JsonPropertyName("bearer_methods_supported")] string[] BearerMethodsSupported);
}
