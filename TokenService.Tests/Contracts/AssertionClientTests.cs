using System;
using System.Collections.Generic;
using System.Net;
using System.Text.Json;
using System.Threading.Tasks;
using Duende.IdentityModel;
using Duende.IdentityModel.Client;
using FluentAssertions;
using Microsoft.IdentityModel.JsonWebTokens;
using Microsoft.IdentityModel.Tokens;
using TokenService.Tests.Support;
using Xunit;

namespace TokenService.Tests.Contracts;

/// <summary>Client assertions from .NET, made and sent by other people's libraries, and from a shell with the program's own commands and curl.</summary>
public sealed class AssertionClientTests
{
    [Theory]
    [InlineData("RS256")]
    [InlineData("PS256")]
    [InlineData("ES256")]
    [InlineData("HS256")]
    public async Task Duende_IdentityModel_gets_a_token_by_an_assertion_of_Microsoft_IdentityModel(string algorithm)
    {
        var client = new AssertingClient(algorithm);
        await using var service = await RunningService.Start(folder: null, clock: null, AssertingClient.File(client));
        var discovery = await service.Http.GetDiscoveryDocumentAsync(service.Url.ToString().TrimEnd('/'));
        discovery.IsError.Should().BeFalse(discovery.Error);

        var token = await Ask(service, discovery.TokenEndpoint!, client, Assertion(client, discovery.Issuer!));

        token.IsError.Should().BeFalse(token.Raw);
        (token.TokenType, token.ExpiresIn, token.Scope).Should().Be(("Bearer", AssertingClient.Lifetime, AssertingClient.Scope));
    }

    [Theory]
    [InlineData("RS256")]
    [InlineData("PS256")]
    [InlineData("ES256")]
    [InlineData("HS256")]
    public async Task Duende_IdentityModel_reads_the_refusal_of_an_assertion_by_another_key_and_of_one_sent_twice(string algorithm)
    {
        var client = new AssertingClient(algorithm);
        await using var service = await RunningService.Start(folder: null, clock: null, AssertingClient.File(client));
        var issuer = service.Url.ToString().TrimEnd('/');
        var endpoint = issuer + "/oauth2/token";

        await IsRefused(await Ask(service, endpoint, client, Assertion(new AssertingClient(algorithm), issuer)));

        var used = Assertion(client, issuer);
        (await Ask(service, endpoint, client, used)).IsError.Should().BeFalse();
        await IsRefused(await Ask(service, endpoint, client, used));

        static async Task IsRefused(TokenResponse answer)
        {
            (answer.ErrorType, answer.HttpStatusCode).Should().Be((ResponseErrorType.Http, HttpStatusCode.Unauthorized));
            var body = JsonDocument.Parse(await answer.HttpResponse!.Content.ReadAsStringAsync()).RootElement;
            body.GetProperty("error").GetString().Should().Be("invalid_client");
        }
    }

    [NeedsFact("curl", "apt-get install curl")]
    public async Task With_the_commands_and_curl_a_client_gets_a_key_is_registered_and_gets_a_token()
    {
        using var folder = new TemporaryFolder();
        var cli = new Cli(folder);
        await Printed(cli.Run("resources", "add", Sample.CatalogUri, "--scope", "catalog.read"));
        string[] algorithms = ["RS256", "PS256", "ES256"];
        foreach (var algorithm in algorithms)
        {
            folder.Write($"{algorithm}.jwks", await Printed(cli.Run("new-key", "--out", $"{algorithm}.pem", "--alg", algorithm)));
            await Printed(cli.Run(
                "clients", "add", "--id", algorithm, "--scope", "catalog.read", "--auth", "private_key_jwt", "--jwks", $"{algorithm}.jwks"));
        }

        var port = RunningProgram.FreePort();
        var issuer = $"http://127.0.0.1:{port}";
        await using var program = await cli.Serve(port);
        foreach (var algorithm in algorithms)
        {
            var assertion = await Printed(cli.Run(
                "assertion", "--client", algorithm, "--key", $"{algorithm}.pem", "--alg", algorithm, $"--TokenService:Issuer={issuer}"));
            var token = await Curl(assertion);

            token.GetProperty("token_type").GetString().Should().Be("Bearer", algorithm);
            token.GetProperty("scope").GetString().Should().Be("catalog.read", algorithm);
            (await Curl(assertion)).GetProperty("error").GetString().Should().Be("invalid_client", "an assertion is good for one request");
        }

        // Another client's key, which the issuer has and this client has not.
        var stranger = await Printed(cli.Run("assertion", "--client", "RS256", "--key", "PS256.pem", "--alg", "RS256", "--audience", issuer));
        (await Curl(stranger)).GetProperty("error").GetString().Should().Be("invalid_client");

        async Task<JsonElement> Curl(string assertion)
        {
            var answer = await RunningProgram.Run(
                "curl",
                [
                    "-sS", "-d", "grant_type=client_credentials", "-d", "client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
                    "-d", $"client_assertion={assertion}", $"{issuer}/oauth2/token",
                ]);
            answer.ExitCode.Should().Be(0, answer.Error);
            return JsonDocument.Parse(answer.Output).RootElement;
        }
    }

    private static async Task<string> Printed(Task<Finished> command)
    {
        var finished = await command;
        finished.ExitCode.Should().Be(0, finished.Error);
        return finished.Output.TrimEnd('\n');
    }

    private static string Assertion(AssertingClient client, string audience) => new JsonWebTokenHandler().CreateToken(new SecurityTokenDescriptor
    {
        Issuer = client.Id,
        Audience = audience,
        Claims = new Dictionary<string, object> { [JwtRegisteredClaimNames.Sub] = client.Id, [JwtRegisteredClaimNames.Jti] = Guid.NewGuid().ToString() },
        // Left to itself, the library writes an hour.
        Expires = DateTime.UtcNow.AddMinutes(1),
        SigningCredentials = client.Credentials,
    });

    private static async Task<TokenResponse> Ask(RunningService service, string endpoint, AssertingClient client, string assertion)
    {
        using var request = new ClientCredentialsTokenRequest
        {
            Address = endpoint,
            ClientId = client.Id,
            ClientCredentialStyle = ClientCredentialStyle.PostBody,
            ClientAssertion = { Type = OidcConstants.ClientAssertionTypes.JwtBearer, Value = assertion },
        };
        return await service.Http.RequestClientCredentialsTokenAsync(request);
    }
}
