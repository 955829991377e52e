namespace TokenService.Tests.Support;

/// <summary>The clients and resources that most tests register.</summary>
internal static class Sample
{
    public const string CatalogUri = "https://catalog.example.com";
    public const string OrdersUri = "https://orders.example.com";

    public const string Job = "reporting-job";
    public const string JobSecret = "job-secret-0123456789abcdef0123456789";

    public const string FormJob = "form-job";
    public const string FormSecret = "form-secret-0123456789abcdef0123456789";

    public const string Wide = "wide-job";
    public const string WideSecret = "wide-secret-0123456789abcdef0123456789";

    public const string Introspector = "introspector";
    public const string IntrospectorSecret = "intr-secret-0123456789abcdef0123456789";

    public const string File = $$"""
        {
          "resources": [
            { "resource": "{{CatalogUri}}", "name": "Catalog API",
              "scopes": [ { "name": "catalog.search", "description": "Search" }, { "name": "catalog.read" } ] },
            { "resource": "{{OrdersUri}}", "scopes": [ { "name": "orders.read" }, { "name": "orders.write" } ] }
          ],
          "clients": [
            { "client_id": "{{Job}}", "client_name": "Nightly reporting", "grant_types": ["client_credentials"],
              "token_endpoint_auth_method": "client_secret_basic", "client_secret": "{{JobSecret}}",
              "scope": "catalog.search catalog.read", "access_token_lifetime": 600 },
            { "client_id": "{{FormJob}}", "token_endpoint_auth_method": "client_secret_post", "client_secret": "{{FormSecret}}",
              "scope": "catalog.search" },
            { "client_id": "{{Wide}}", "client_secret": "{{WideSecret}}", "scope": "orders.read catalog.read" },
            { "client_id": "{{Introspector}}", "grant_types": [], "client_secret": "{{IntrospectorSecret}}", "introspection": ["{{CatalogUri}}"] }
          ]
        }
        """;
}
