using ReportingJob;

// A job that reports what the catalog has. Its settings come from the environment, as in a container.
var issuer = Setting("TOKEN_ISSUER", "http://localhost:5080");
var api = Setting("CATALOG_API", "http://localhost:5090");
var clientId = Setting("CLIENT_ID", "reporting-job");
var clientSecret = Setting("CLIENT_SECRET", "not-a-secret-just-the-sample-reporting-job");
var clientKey = Environment.GetEnvironmentVariable("CLIENT_KEY");
var tokenFile = Environment.GetEnvironmentVariable("CLIENT_TOKEN_FILE");
var certificate = Environment.GetEnvironmentVariable("CLIENT_CERTIFICATE");
var tokenEndpoint = Setting("TOKEN_ENDPOINT", $"{issuer}/oauth2/token");
var rounds = int.Parse(Setting("ROUNDS", "3"), System.Globalization.CultureInfo.InvariantCulture);

// The one difference: a certificate, the file with the platform's token, or a key file, where one is named, or else the secret.
ClientCredential credential = (certificate, tokenFile, clientKey) switch
{
    ({ } file, _, _) => new ClientCertificate(clientId, file, Setting("CLIENT_CERTIFICATE_KEY", "client.key")),
    (_, { } file, _) => new WorkloadToken(file, Setting("CLIENT_TOKEN_KIND", "jwt") == "spiffe"),
    (_, _, { } file) => new ClientKey(clientId, File.ReadAllText(file), issuer, TimeProvider.System),
    _ => new ClientSecret(clientId, clientSecret),
};

// With --dpop the tokens are bound to a key that nobody else has.
using var key = args.Contains("--dpop") ? new DPoPKey(TimeProvider.System) : null;
using var tokens = new AccessTokenSource(new Uri(tokenEndpoint), credential, "catalog.search", TimeProvider.System, key);
DelegatingHandler handler = key is null ? new BearerTokenHandler(tokens) : new DPoPTokenHandler(tokens, key);
handler.InnerHandler = credential.Connect();
using var catalog = new HttpClient(handler) { BaseAddress = new Uri(api) };

for (var round = 1; round <= rounds; round++)
{
    Console.WriteLine($"Report {round}: {await catalog.GetStringAsync("/documents")}");
}

Console.WriteLine($"{rounds} reports, {tokens.Fetched} token.");

static string Setting(string name, string otherwise) => Environment.GetEnvironmentVariable(name) ?? otherwise;
