using System;
using System.Threading.Tasks;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.Logging;
using TokenService.Operations;
using TokenService.Protocol;

namespace TokenService.Endpoints;

/// <summary>Which address leads to which endpoint.</summary>
public static class Routes
{
    private static readonly string[] s_read = [HttpMethods.Get, HttpMethods.Head];

    /// <summary>Maps all endpoints.</summary>
    /// <param name="app">Where to.</param>
    /// <param name="issuerPath">The path of the issuer, or an empty text; the endpoints are under it, health is at the root.</param>
    /// <param name="token">The token endpoint.</param>
    /// <param name="introspection">The introspection endpoint.</param>
    /// <param name="revocation">The revocation endpoint.</param>
    /// <param name="discovery">Metadata and keys.</param>
    public static void MapTokenService(
        this IEndpointRouteBuilder app,
        string issuerPath,
        TokenEndpoint token,
        IntrospectionEndpoint introspection,
        RevocationEndpoint revocation,
        DiscoveryEndpoint discovery)
    {
        app.Map(issuerPath + EndpointPaths.Token, token.Handle);
        app.Map(issuerPath + EndpointPaths.Introspection, introspection.Handle);
        app.Map(issuerPath + EndpointPaths.Revocation, revocation.Handle);
        app.MapMethods(issuerPath + EndpointPaths.Jwks, s_read, discovery.Jwks);
        foreach (var document in (ReadOnlySpan<string>)["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"])
        {
            app.MapMethods(issuerPath + document, s_read, discovery.Metadata);
            if (issuerPath.Length > 0)
            {
                // RFC 8414 §3.1: the well-known part stands before the issuer's path.
                app.MapMethods(document + issuerPath, s_read, discovery.Metadata);
            }
        }

        app.MapHealthChecks("/health/live", new() { Predicate = _ => false });
        app.MapHealthChecks("/health/ready", new() { ResponseWriter = OAuthResults.Write });
    }

    /// <summary>Has the management listener answer the console, and lead to it from its root.</summary>
    public static void UseConsole(this IApplicationBuilder app, ConsoleEndpoint console, ILogger logger)
    {
        app.UseFaultAnswer(logger);
        app.Use(next => http =>
        {
            if (ConsoleEndpoint.Has(http.Request.Path))
            {
                return console.Handle(http);
            }

            if (http.Request.Path != "/" || !(HttpMethods.IsGet(http.Request.Method) || HttpMethods.IsHead(http.Request.Method)))
            {
                return next(http);
            }

            ConsoleEndpoint.Redirect(http, ConsolePages.Root);
            return Task.CompletedTask;
        });
    }

    /// <summary>Answers a fault of our own in JSON, like every other error, and logs it.</summary>
    public static void UseFaultAnswer(this IApplicationBuilder app, ILogger logger) => app.Use(async (http, next) =>
    {
        try
        {
            await next(http);
        }
        catch (Exception) when (http.RequestAborted.IsCancellationRequested)
        {
            // The caller has gone.
        }
        catch (Exception fault) when (!http.Response.HasStarted)
        {
            var traceId = OAuthResults.TraceId(http);
            logger.Failed(fault, http.Request.Path, traceId);
            http.Response.Clear();
            await OAuthResults.Write(http, OAuthError.ServerError, traceId);
        }
    });
}
