using CatalogApi;
using Microsoft.AspNetCore.Authentication.JwtBearer;

var builder = WebApplication.CreateBuilder(args);

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
    options.Events = new JwtBearerEvents { OnForbidden = ScopePolicies.SayInsufficientScope };
    if (builder.Configuration["Introspection:ClientId"] is { Length: > 0 } clientId)
    {
        options.Events.OnTokenValidated = new Introspection(clientId, builder.Configuration["Introspection:ClientSecret"]!).Check;
    }
});
builder.Services.AddAuthorizationBuilder()
    .AddScopePolicy("catalog.search")
    .AddScopePolicy("catalog.read");

var app = builder.Build();

app.MapGet("/documents", (string? q) => Catalog.Search(q)).RequireAuthorization("catalog.search");
app.MapGet("/documents/{id:int}", (int id) => Catalog.Find(id) is { } document ? Results.Ok(document) : Results.NotFound())
    .RequireAuthorization("catalog.read");

app.Run();
