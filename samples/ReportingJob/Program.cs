using ReportingJob;

// A job that reports what the catalog has. Its settings come from the environment, as in a container.
var issuer = Setting("TOKEN_ISSUER", "http://localhost:5080");
var api = Setting("CATALOG_API", "http://localhost:5090");
var clientId = Setting("CLIENT_ID", "reporting-job");
var clientSecret = Setting("CLIENT_SECRET", "not-a-secret-just-the-sample-reporting-job");
var clientKey = Environment.GetEnvironmentVariable("CLIENT_KEY");
var rounds = int.Parse(Setting("ROUNDS", "3"), System.Globalization.CultureInfo.InvariantCulture);

// The one difference: a key file, where one is named, or else the secret.
ClientCredential credential = clientKey is null
    ? new ClientSecret(clientId, clientSecret)
    : new ClientKey(clientId, File.ReadAllText(clientKey), issuer, TimeProvider.System);

using var tokens = new AccessTokenSource(new Uri($"{issuer}/oauth2/token"), credential, "catalog.search", TimeProvider.System);
using var catalog = new HttpClient(new BearerTokenHandler(tokens) { InnerHandler = new SocketsHttpHandler() }) { BaseAddress = new Uri(api) };

for (var round = 1; round <= rounds; round++)
{
    Console.WriteLine($"Report {round}: {await catalog.GetStringAsync("/documents")}");
}

Console.WriteLine($"{rounds} reports, {tokens.Fetched} token.");

static string Setting(string name, string otherwise) => Environment.GetEnvironmentVariable(name) ?? otherwise;
