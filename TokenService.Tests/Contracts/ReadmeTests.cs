using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Text.Json;
using System.Text.RegularExpressions;
using System.Threading.Tasks;
using FluentAssertions;
using TokenService.Tests.Support;
using Xunit;

namespace TokenService.Tests.Contracts;

/// <summary>The commands that the README shows, run as they stand, but for the ports and the places of the store and of a client's key.</summary>
[Trait("Storage", "Sqlite")]
public sealed partial class ReadmeTests
{
    private const string Serve = "dotnet run --project TokenService";
    private const string ServeApi = "dotnet run --project samples/CatalogApi";

    // These are tested elsewhere, or are what is running now.
    private static readonly string[] s_elsewhere =
    [
        "dotnet test", "TOKENSERVICE_STORAGE=PostgreSql dotnet test --filter \"Storage!=Sqlite&Storage!=PostgreSql\"",
        "TOKENSERVICE_HOST=Program dotnet test --filter \"FullyQualifiedName~TokenService.Tests.Endpoints&Host!=InProcess&Host!=OwnProgram\"", "samples/walk.sh",
        "dotnet publish TokenService -o out",
    ];

    [NeedsFact("bash curl openssl", "apt-get install bash curl openssl")]
    public async Task Every_command_works_and_answers_what_is_shown()
    {
        using var folder = new TemporaryFolder();
        var (port, apiPort) = (RunningProgram.FreePort(), RunningProgram.FreePort());
        (string, string)[] environment =
        [
            ("ConnectionStrings__TokenService", $"Data Source={folder.File("store.db")}"),
            ("TOKEN_ISSUER", $"http://localhost:{port}"),
            ("CATALOG_API", $"http://localhost:{apiPort}"),
        ];
        List<RunningProgram> started = [];
        var state = folder.File("state.sh");
        await File.WriteAllTextAsync(state, "");
        var (ran, clients) = (0, ClientsInSample());
        var hash = "";
        try
        {
            foreach (var (block, shown) in Blocks())
            {
                foreach (var command in block.Split('\n', StringSplitOptions.RemoveEmptyEntries).Except(s_elsewhere))
                {
                    ran++;
                    if (command == Serve)
                    {
                        started.Add(await Start($"{Serve} --no-build -- --urls=http://localhost:{port}", new($"http://localhost:{port}/health/ready")));
                        continue;
                    }

                    if (command == ServeApi)
                    {
                        started.Add(await Start(
                            $"{ServeApi} --no-build -- --urls=http://localhost:{apiPort} --Issuer=http://localhost:{port}", new($"http://localhost:{apiPort}/documents")));
                        continue;
                    }

                    // One shell for all would be as good; this way each command's own exit status and output are seen.
                    var line = Local(command).Replace("dotnet run", "dotnet run --no-build", StringComparison.Ordinal);
                    var finished = await RunningProgram.Run(
                        "bash",
                        ["-c", $"set -eo pipefail; . '{state}'\n{line}\ndeclare -p TOKEN SECRET 2>/dev/null > '{state}' || true"],
                        Repository.Root,
                        [.. environment, ("TokenService__Issuer", $"http://localhost:{port}")]);
                    finished.ExitCode.Should().Be(0, $"{command}\n{finished.Output}{finished.Error}");
                    if (command.Contains(" clients add ", StringComparison.Ordinal))
                    {
                        // Whoever types is slower than the service, which looks for changes once a second; a test is not.
                        await started[0].Prints($"Read the changed store: {++clients} clients");
                    }

                    if (command.StartsWith("printf %s \"$SECRET\"", StringComparison.Ordinal))
                    {
                        hash = finished.Output;
                    }

                    if (command == block.TrimEnd().Split('\n')[^1] && shown is not null)
                    {
                        Shape(finished.Output).Should().Be(Shape(Local(shown)), command);
                    }
                }
            }

            // The secret stood alone on standard output, and is that of the client.
            (await File.ReadAllTextAsync(state)).Should().MatchRegex("declare -- SECRET=\"[A-Za-z0-9_-]{43}\"");
            var secret = SecretIn().Match(await File.ReadAllTextAsync(state)).Groups[1].Value;
            hash.Trim().Should().Be("sha256:" + Microsoft.IdentityModel.Tokens.Base64UrlEncoder.Encode(
                System.Security.Cryptography.SHA256.HashData(System.Text.Encoding.UTF8.GetBytes(secret))));
            var token = await Commands.CommandTests.TokenOf(port, "invoice-mailer", secret);
            token.Status.Should().Be(200, token.Body);

            ran.Should().BeGreaterThan(13);
            started.Should().HaveCount(2);

            // What the program itself printed to paste is the line that the README shows.
            var pasted = started[0].Printed.Split('\n').Single(line => line.StartsWith("  curl ", StringComparison.Ordinal)).Trim();
            Blocks().Select(pair => Local(pair.Block).Trim()).Should().Contain(pasted);
        }
        finally
        {
            foreach (var program in started)
            {
                await program.DisposeAsync();
            }
        }

        Task<RunningProgram> Start(string command, Uri ready)
        {
            var words = command.Split(' ');
            return RunningProgram.Start(words[0], words[1..], ready, Repository.Root, environment);
        }

        string Local(string text) => text
            .Replace("localhost:5080", $"localhost:{port}", StringComparison.Ordinal)
            .Replace("localhost:5090", $"localhost:{apiPort}", StringComparison.Ordinal)
            .Replace("indexer.pem", folder.File("indexer.pem"), StringComparison.Ordinal)
            .Replace("indexer.jwks", folder.File("indexer.jwks"), StringComparison.Ordinal);
    }

    [NeedsFact("bash curl", "apt-get install bash curl")]
    public async Task The_walk_shows_each_answer_and_stops_what_it_started()
    {
        var (port, apiPort) = (RunningProgram.FreePort(), RunningProgram.FreePort());

        var walk = await RunningProgram.Run(
            Repository.File("samples", "walk.sh"),
            [],
            null,
            ("ISSUER", $"http://127.0.0.1:{port}"),
            ("API", $"http://127.0.0.1:{apiPort}"),
            ("TOKENSERVICE_BINARY", Repository.Program));

        walk.ExitCode.Should().Be(0, walk.Output + walk.Error);
        walk.Output.Should().Contain("\"token_type\":\"Bearer\"").And.Contain("\"title\":\"Tokens for Machines\"")
            .And.Contain("insufficient_scope").And.Contain("\"error\":\"invalid_client\"").And.Contain("\"error\":\"invalid_scope\"")
            .And.Contain("\"scope\":\"catalog.read\"}", "the client with a key, and nobody else, is registered for that alone");
        foreach (var stopped in (int[])[port, apiPort])
        {
            using var client = new System.Net.Sockets.TcpClient();
            var connect = async () => await client.ConnectAsync("127.0.0.1", stopped);
            await connect.Should().ThrowAsync<System.Net.Sockets.SocketException>();
        }
    }

    [Fact]
    public void Every_setting_is_in_the_README()
    {
        var readme = File.ReadAllText(Repository.File("README.md"));

        foreach (var key in Operations.SettingsTests.Keys())
        {
            readme.Should().Contain($"`TokenService:{key}`");
        }
    }

    // Each shell block, with the json block that follows it directly.
    private static IEnumerable<(string Block, string? Shown)> Blocks() => CodeBlocks()
        .Matches(File.ReadAllText(Repository.File("README.md")))
        .Select(match => (match.Groups["sh"].Value, match.Groups["json"].Success ? match.Groups["json"].Value : null));

    private static int ClientsInSample()
    {
        using var sample = JsonDocument.Parse(File.ReadAllText(Repository.File("samples", "catalog.json")));
        return sample.RootElement.GetProperty("clients").GetArrayLength();
    }

    // A token and a trace differ each time; their places do not.
    private static string Shape(string json) => Differing().Replace(json, "\"$1\":\"…\"").Trim();

    [GeneratedRegex("```sh\n(?<sh>.*?)```\n(\n```json\n(?<json>.*?)```)?", RegexOptions.Singleline)]
    private static partial Regex CodeBlocks();

    [GeneratedRegex("SECRET=\"([^\"]*)\"")]
    private static partial Regex SecretIn();

    [GeneratedRegex("\"(access_token|trace_id)\":\"[^\"]*\"")]
    private static partial Regex Differing();
}
