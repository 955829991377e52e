using System;
using System.IO;
using System.Net.Http;
using System.Threading.Tasks;
using FluentAssertions;
using Microsoft.IdentityModel.JsonWebTokens;
using Microsoft.IdentityModel.Tokens;
using TokenService.Tests.Commands;
using TokenService.Tests.Support;

namespace TokenService.Tests.Contracts;

/// <summary>The main job on the program that Native AOT made, as an operator would install it.</summary>
public sealed class PublishedProgramTests
{
    [PublishedFact]
    public async Task The_native_program_registers_a_client_and_gives_it_a_token_that_verifies()
    {
        using var folder = new TemporaryFolder();
        var cli = new Cli(folder);
        (await cli.Run("apply", folder.Write("clients.json", Sample.File))).ExitCode.Should().Be(0);
        var secret = (await cli.Run("clients", "add", "--id", "by-command", "--scope", "orders.read")).Output.Trim();
        var port = RunningProgram.FreePort();
        await using var program = await cli.Serve(port, "--TokenService:ApplyFile=clients.json", "--TokenService:SigningAlgorithm=PS256");

        using var http = new HttpClient();
        var keys = new JsonWebKeySet(await http.GetStringAsync(new Uri($"http://127.0.0.1:{port}/.well-known/jwks.json"))).GetSigningKeys();
        foreach (var (id, proof, audience) in ((string, string, string)[])
        [
            ("by-command", secret, Sample.OrdersUri), (Sample.Job, Sample.JobSecret, Sample.CatalogUri),
        ])
        {
            var answer = await CommandTests.TokenOf(port, id, proof);
            answer.Status.Should().Be(200, answer.Body);
            var result = await new JsonWebTokenHandler().ValidateTokenAsync(answer.AccessToken, new TokenValidationParameters
            {
                IssuerSigningKeys = keys,
                ValidIssuer = $"http://127.0.0.1:{port}",
                ValidAudience = audience,
                ValidTypes = ["at+jwt"],
            });
            result.IsValid.Should().BeTrue($"{result.Exception}");
        }

        (await CommandTests.TokenOf(port, Sample.Job, "wrong")).Error.Should().Be("invalid_client");
        await program.Prints("sent a wrong secret");
    }

    [PublishedFact]
    public void The_process_tests_run_the_native_program()
        => File.Exists(Path.ChangeExtension(Repository.Program, ".dll")).Should().BeFalse("a native program has no assembly beside it");
}
