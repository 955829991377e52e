using System.Security.Cryptography.X509Certificates;
using CatalogApi;
using Microsoft.AspNetCore.Authentication.JwtBearer;
using Microsoft.AspNetCore.Server.Kestrel.Https;

var builder = WebApplication.CreateBuilder(args);
string[] scopes = ["catalog.search", "catalog.read"];
var binding = new TokenBinding(new DPoPBinding(builder.Configuration["Address"], TimeProvider.System));
var resource = new ProtectedResource(builder.Configuration["Audience"]!, builder.Configuration["Issuer"]!, scopes);

// Asked for, and any is taken: what counts is that a token that is bound to a certificate comes with that one.
builder.WebHost.ConfigureKestrel(kestrel => kestrel.ConfigureHttpsDefaults(https =>
{
    https.ClientCertificateMode = ClientCertificateMode.AllowCertificate;
    https.AllowAnyClientCertificate();

    // Nothing is fetched from where a stranger's certificate says.
    https.OnAuthenticate = (_, tls) => tls.CertificateChainPolicy = new X509ChainPolicy
    {
        DisableCertificateDownloads = true,
        RevocationMode = X509RevocationMode.NoCheck,
    };
}));

// The keys and the issuer come from the discovery document under the authority; the API itself never calls the token service again
// while it knows the keys, unless it is told to introspect each token.
builder.Services.AddAuthentication().AddJwtBearer(options =>
{
    options.Authority = builder.Configuration["Issuer"];
    options.Audience = builder.Configuration["Audience"];
    options.RequireHttpsMetadata = !builder.Environment.IsDevelopment();
    options.MapInboundClaims = false;

    // RFC 9068 §4: an access token and nothing else, such as an ID token.
    options.TokenValidationParameters.ValidTypes = ["at+jwt"];
    options.Events = new JwtBearerEvents
    {
        OnForbidden = resource.SayInsufficientScope,
        OnChallenge = resource.Challenge,
        OnTokenValidated = binding.Check,

        // A token that is bound to a key comes by a scheme of its own (RFC 9449 §7.1).
        OnMessageReceived = context =>
        {
            if (DPoPBinding.IsSent(context.Request))
            {
                context.Token = DPoPBinding.Token(context.Request);
            }

            return Task.CompletedTask;
        },
    };
    if (builder.Configuration["Introspection:ClientId"] is { Length: > 0 } clientId)
    {
        var introspection = new Introspection(clientId, builder.Configuration["Introspection:ClientSecret"]!);
        options.Events.OnTokenValidated = async context =>
        {
            await binding.Check(context);
            if (context.Result is null)
            {
                await introspection.Check(context);
            }
        };
    }
});
builder.Services.AddAuthorizationBuilder().AddScopePolicies(scopes);

var app = builder.Build();

resource.Map(app);
app.MapGet("/documents", (string? q) => Catalog.Search(q)).RequireAuthorization("catalog.search");
app.MapGet("/documents/{id:int}", (int id) => Catalog.Find(id) is { } document ? Results.Ok(document) : Results.NotFound())
    .RequireAuthorization("catalog.read");

app.Run();
