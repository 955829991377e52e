using System.Linq;
using System.Text.Json;
using System.Threading.Tasks;
using FluentAssertions;
using TokenService.Protocol;
using TokenService.Tests.Support;

namespace TokenService.Tests.Contracts;

/// <summary>What Authlib, as Debian packages it, makes of the service's client assertions.</summary>
/// <remarks>
/// It is one of the older libraries that <c>TokenService:AssertionAudience</c> speaks of. What it writes left to itself is an assertion for the
/// token endpoint that is good for an hour.
/// </remarks>
public sealed class PythonClientTests
{
    private const string Packages = "apt-get install python3-authlib python3-requests";
    private const string OlderLibraries = "--TokenService:AssertionAudience=IssuerOrTokenEndpoint";

    private static readonly AssertingClient[] s_clients =
        [.. AssertionAlgorithms.All.Select(algorithm => new AssertingClient(algorithm))];

    [NeedsPythonFact("authlib requests", Packages)]
    public async Task Authlib_gets_a_token_with_every_algorithm_where_it_is_told_the_issuer_as_audience()
    {
        await using var service = await Start();

        foreach (var client in s_clients)
        {
            var token = await Get(service, client, "60", Issuer(service));

            token.GetProperty("token_type").GetString().Should().Be("Bearer", client.Algorithm);
            token.GetProperty("scope").GetString().Should().Be(AssertingClient.Scope, client.Algorithm);
            token.GetProperty("expires_in").GetInt32().Should().Be(AssertingClient.Lifetime, client.Algorithm);
        }
    }

    [NeedsPythonFact("authlib requests", Packages)]
    public async Task Authlib_gets_a_token_with_its_own_audience_where_the_token_endpoint_may_be_one()
    {
        await using var service = await Start(OlderLibraries);

        foreach (var client in s_clients.Where(client => client.Algorithm is "RS256" or "HS256"))
        {
            (await Get(service, client, "60")).GetProperty("scope").GetString().Should().Be(AssertingClient.Scope, client.Algorithm);
        }
    }

    [NeedsPythonFact("authlib requests", Packages)]
    public async Task Authlib_with_its_own_audience_is_told_which_one_is_right()
    {
        await using var service = await Start();

        foreach (var client in s_clients.Where(client => client.Algorithm is "RS256" or "HS256"))
        {
            var refusal = await Refusal(service, client, "60");

            refusal.Should().Be(
                ("invalid_client", $"The client assertion is refused: aud must be the issuer, {Issuer(service)}, as its only value."), client.Algorithm);
        }
    }

    [NeedsPythonFact("authlib requests", Packages)]
    public async Task Authlib_with_its_own_lifetime_of_an_hour_is_told_how_long_one_may_be()
    {
        await using var service = await Start(OlderLibraries);

        foreach (var client in s_clients.Where(client => client.Algorithm is "RS256" or "HS256"))
        {
            (await Refusal(service, client)).Should().Be(
                ("invalid_client", "The client assertion is refused: exp must be at most 10 minutes ahead."), client.Algorithm);
        }
    }

    [NeedsPythonFact("authlib requests", Packages)]
    public async Task Authlib_reports_an_assertion_by_another_key_as_invalid_client()
    {
        await using var service = await Start();

        foreach (var client in s_clients.Where(client => client.Algorithm is "RS256" or "ES256" or "HS256"))
        {
            var (error, description) = await Refusal(service, new AssertingClient(client.Algorithm), "60", Issuer(service));

            error.Should().Be("invalid_client", client.Algorithm);
            description.Should().StartWith("Client authentication failed.", client.Algorithm);
        }
    }

    private static Task<RunningService> Start(params string[] settings)
        => RunningService.Start(folder: null, clock: null, AssertingClient.File(s_clients), settings);

    private static string Issuer(RunningService service) => service.Url.ToString().TrimEnd('/');

    private static async Task<JsonElement> Get(RunningService service, AssertingClient client, params string[] more)
    {
        var finished = await Run(service, client, more);
        finished.ExitCode.Should().Be(0, "client.py printed for {0}:\n{1}", client.Algorithm, finished.Error);
        return JsonDocument.Parse(finished.Output).RootElement;
    }

    private static async Task<(string? Error, string? Description)> Refusal(RunningService service, AssertingClient client, params string[] more)
    {
        var finished = await Run(service, client, more);
        finished.ExitCode.Should().Be(1, "client.py printed for {0}:\n{1}\n{2}", client.Algorithm, finished.Output, finished.Error);
        var refusal = JsonDocument.Parse(finished.Error).RootElement;
        return (refusal.GetProperty("error").GetString(), refusal.GetProperty("error_description").GetString());
    }

    private static Task<Finished> Run(RunningService service, AssertingClient client, string[] more) => RunningProgram.Run(
        NeedsPythonFactAttribute.Python,
        [
            Repository.File("TokenService.Tests", "Contracts", "PythonClients", "client.py"),
            client.Method, $"{Issuer(service)}/oauth2/token", client.Id, client.Pem, client.Algorithm, .. more,
        ]);
}
