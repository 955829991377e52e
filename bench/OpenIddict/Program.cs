using System;
using System.Collections.Frozen;
using System.Collections.Generic;
using System.IO;
using System.Security.Claims;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Threading.Tasks;
using Microsoft.AspNetCore;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.IdentityModel.Tokens;
using OpenIddict.Abstractions;
using OpenIddict.Server.AspNetCore;
using static OpenIddict.Abstractions.OpenIddictConstants;
using static OpenIddict.Server.OpenIddictServerEvents;

namespace OpenIddictPeer;

/// <summary>OpenIddict as its documentation sets it up for client credentials, in one of three ways.</summary>
/// <remarks>
/// <c>--Mode=Default</c>: its Entity Framework Core stores on SQLite. <c>NoTokenStorage</c>: the same, but tokens are not stored.
/// <c>Degraded</c>: no stores at all; this program checks the secret itself, as that mode demands. Access tokens are signed and not encrypted in
/// each of them, since that is what is compared.
/// </remarks>
public static class Program
{
    private const string Resource = "https://api.example.com";

    /// <summary>Listens at <c>--urls</c>, or registers the clients and ends.</summary>
    /// <param name="args">
    /// Settings: <c>--Mode</c>, <c>--Issuer</c>, <c>--Algorithm</c> (<c>RS256</c> or <c>ES256</c>), <c>--Key</c> (PEM), <c>--Clients</c>
    /// (JSON), <c>--Database</c> (file), and <c>--Register=true</c>.
    /// </param>
    public static async Task Main(string[] args)
    {
        var builder = WebApplication.CreateBuilder(args);
        var (settings, services) = (builder.Configuration, builder.Services);
        var mode = Setting(settings, "Mode");
        var openIddict = services.AddOpenIddict();
        if (mode != "Degraded")
        {
            services.AddDbContext<DbContext>(options => options.UseSqlite($"Filename={Setting(settings, "Database")}").UseOpenIddict());
            openIddict.AddCore(options => options.UseEntityFrameworkCore().UseDbContext<DbContext>());
        }

        openIddict.AddServer(options =>
        {
            options.SetIssuer(Setting(settings, "Issuer"))
                .SetTokenEndpointUris("oauth2/token")
                .AllowClientCredentialsFlow()
                .RegisterScopes("read", "write")
                .SetAccessTokenLifetime(TimeSpan.FromHours(1))
                .DisableAccessTokenEncryption()
                .AddEncryptionKey(new SymmetricSecurityKey(RandomNumberGenerator.GetBytes(32)))
                .AddSigningKey(ReadKey(Setting(settings, "Algorithm"), File.ReadAllText(Setting(settings, "Key"))));
            var host = options.UseAspNetCore().DisableTransportSecurityRequirement();
            switch (mode)
            {
                case "Default":
                    host.EnableTokenEndpointPassthrough();
                    break;
                case "NoTokenStorage":
                    host.EnableTokenEndpointPassthrough();
                    options.DisableTokenStorage();
                    break;
                case "Degraded":
                    options.EnableDegradedMode();
                    HandleWithoutStores(options, Setting(settings, "Clients"));
                    break;
                default:
                    throw new ArgumentException($"There is no mode {mode}.", nameof(args));
            }
        });

        var app = builder.Build();
        if (settings["Register"] == "true")
        {
            await Register(app.Services, Setting(settings, "Clients"));
            return;
        }

        if (mode != "Degraded")
        {
            app.UseAuthentication();
            app.MapPost("/oauth2/token", (HttpContext http) =>
            {
                var request = http.GetOpenIddictServerRequest() ?? throw new InvalidOperationException("This is no token request.");
                return Results.SignIn(Grant(request), properties: null, OpenIddictServerAspNetCoreDefaults.AuthenticationScheme);
            });
        }

        await app.RunAsync();
    }

    private static string Setting(ConfigurationManager settings, string name)
        => settings[name] ?? throw new ArgumentException($"--{name} is missing.", nameof(settings));

    private static AsymmetricSecurityKey ReadKey(string algorithm, string pem)
    {
        if (algorithm == "ES256")
        {
            var ecdsa = ECDsa.Create();
            ecdsa.ImportFromPem(pem);
            return new ECDsaSecurityKey(ecdsa) { KeyId = "bench" };
        }

        var rsa = RSA.Create();
        rsa.ImportFromPem(pem);
        return new RsaSecurityKey(rsa) { KeyId = "bench" };
    }

    private static ClaimsPrincipal Grant(OpenIddictRequest request)
    {
        var identity = new ClaimsIdentity("Bearer", Claims.Name, Claims.Role);
        identity.SetClaim(Claims.Subject, request.ClientId);
        identity.SetScopes(request.GetScopes());
        identity.SetResources(Resource);
        identity.SetDestinations(static _ => [Destinations.AccessToken]);
        return new ClaimsPrincipal(identity);
    }

    private static void HandleWithoutStores(OpenIddictServerBuilder options, string clients)
    {
        var hashes = new Dictionary<string, byte[]>();
        foreach (var (id, secret) in ReadClients(clients))
        {
            hashes.Add(id, SHA256.HashData(Encoding.ASCII.GetBytes(secret)));
        }

        var registered = hashes.ToFrozenDictionary();
        options.AddEventHandler<ValidateTokenRequestContext>(handler => handler.UseInlineHandler(context =>
        {
            var sent = SHA256.HashData(Encoding.ASCII.GetBytes(context.ClientSecret ?? ""));
            if (!registered.TryGetValue(context.ClientId ?? "", out var hash) || !CryptographicOperations.FixedTimeEquals(hash, sent))
            {
                context.Reject(Errors.InvalidClient);
            }

            return ValueTask.CompletedTask;
        }));
        options.AddEventHandler<HandleTokenRequestContext>(handler => handler.UseInlineHandler(context =>
        {
            context.SignIn(Grant(context.Request));
            return ValueTask.CompletedTask;
        }));
    }

    private static async Task Register(IServiceProvider services, string clients)
    {
        await using var scope = services.CreateAsyncScope();
        await scope.ServiceProvider.GetRequiredService<DbContext>().Database.EnsureCreatedAsync();
        var scopes = scope.ServiceProvider.GetRequiredService<IOpenIddictScopeManager>();
        foreach (var name in (string[])["read", "write"])
        {
            await scopes.CreateAsync(new OpenIddictScopeDescriptor { Name = name, Resources = { Resource } });
        }

        var applications = scope.ServiceProvider.GetRequiredService<IOpenIddictApplicationManager>();
        foreach (var (id, secret) in ReadClients(clients))
        {
            await applications.CreateAsync(new OpenIddictApplicationDescriptor
            {
                ClientId = id,
                ClientSecret = secret,
                Permissions =
                {
                    Permissions.Endpoints.Token,
                    Permissions.GrantTypes.ClientCredentials,
                    Permissions.Prefixes.Scope + "read",
                    Permissions.Prefixes.Scope + "write",
                },
            });
        }
    }

    private static List<(string Id, string Secret)> ReadClients(string file)
    {
        using var json = JsonDocument.Parse(File.ReadAllText(file));
        var clients = new List<(string Id, string Secret)>();
        foreach (var client in json.RootElement.EnumerateArray())
        {
            clients.Add((client.GetProperty("client_id").GetString()!, client.GetProperty("client_secret").GetString()!));
        }

        return clients;
    }
}
