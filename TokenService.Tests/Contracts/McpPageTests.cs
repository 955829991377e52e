using System;
using System.IO;
using System.Linq;
using System.Net.Http;
using System.Net.Http.Headers;
using System.Text;
using System.Text.RegularExpressions;
using System.Threading.Tasks;
using FluentAssertions;
using TokenService.Tests.Endpoints;
using TokenService.Tests.Support;
using Xunit;

namespace TokenService.Tests.Contracts;

/// <summary>The MCP server and the agent of <c>samples/mcp</c>, with the SDK as it comes from its authors, and the page about them.</summary>
[Trait("Storage", "Sqlite")]
public sealed partial class McpPageTests(McpPageTests.Fixture fixture) : IClassFixture<McpPageTests.Fixture>
{
    private const string Install = "apt-get install nodejs npm";

    [NeedsFact("npm", Install)]
    public async Task An_agent_that_knows_the_server_and_has_a_key_finds_the_way_to_a_token_and_calls_a_tool()
    {
        var answer = await fixture.RunAgent();

        (answer.ExitCode, answer.Output).Should().Be((0, "Tokens for Machines\n"), answer.Error);
        await fixture.Server!.Prints("research-agent calls search_documents");
    }

    [NeedsFact("npm", Install)]
    public async Task An_agent_with_the_token_of_its_platform_needs_no_key()
    {
        var token = WorkloadTokens.Projected(DateTimeOffset.UtcNow).With("aud", Fixture.Text(fixture.Service!.Url)).SignedBy(fixture.Key);

        var answer = await fixture.RunAgent(("CLIENT_ID", "pod"), ("CLIENT_TOKEN_FILE", fixture.Folder.Write("platform.jwt", token + "\n")));

        (answer.ExitCode, answer.Output).Should().Be((0, "Tokens for Machines\n"), answer.Error);
        await fixture.Server!.Prints("pod calls search_documents");
    }

    [NeedsFact("npm", Install)]
    public async Task An_agent_whose_token_lacks_the_scope_of_the_tool_is_told()
    {
        var answer = await fixture.RunAgent(["publish_document", """{"title":"A Document"}"""]);

        answer.ExitCode.Should().Be(1, answer.Output);
        answer.Error.Should().Contain("403");
        fixture.Server!.Printed.Should().NotContain("calls publish_document");
    }

    [NeedsFact("npm", Install)]
    public async Task An_agent_sends_its_proof_to_no_other_issuer_than_its_own_whatever_the_server_says()
    {
        var answer = await fixture.RunAgent(("TOKEN_ISSUER", "https://auth.example.com"));

        answer.ExitCode.Should().Be(1, answer.Output);
        answer.Error.Should().Contain($"does not take tokens of https://auth.example.com, but of {Fixture.Text(fixture.Service!.Url)}");
    }

    [NeedsFact("npm", Install)]
    public async Task A_request_without_a_token_is_refused_and_told_where_the_metadata_is()
    {
        var refused = await fixture.Call(null);

        refused.Status.Should().Be(401);
        Challenge(refused).Should().Be($"Bearer error=\"invalid_token\", error_description=\"Missing Authorization header\", scope=\"documents.search\", {fixture.Metadata}");
    }

    [NeedsFact("npm", Install)]
    public async Task The_metadata_names_the_server_its_issuer_and_its_scopes()
    {
        var answer = await Answer.Of(await fixture.Service!.Http.GetAsync(fixture.MetadataUrl));

        (answer.Status, answer.Body).Should().Be((
            200,
            $$"""{"resource":"{{fixture.Address}}","authorization_servers":["{{Fixture.Text(fixture.Service.Url)}}"],"scopes_supported":["documents.search","documents.publish"],"bearer_methods_supported":["header"]}"""));
    }

    [NeedsFact("npm", Install)]
    public async Task A_token_for_another_resource_or_of_another_issuer_or_none_of_the_kind_is_refused()
    {
        var here = TokenDraft.Of(await fixture.Token());
        string[] refused =
        [
            await fixture.Token($"&resource={Uri.EscapeDataString(Sample.OrdersUri)}"),
            here.Signed(content => ClientKeyPair.OfRsa().Sign("RS256", content)),
            here.With("aud", Sample.OrdersUri).Unsigned(),
            "garbage",
        ];

        foreach (var token in refused)
        {
            var answer = await fixture.Call(token);

            answer.Status.Should().Be(401, token);
            Challenge(answer).Should().Be($"Bearer error=\"invalid_token\", error_description=\"The token is not a live one for this server\", scope=\"documents.search\", {fixture.Metadata}");
        }
    }

    [NeedsFact("npm", Install)]
    public async Task A_token_without_the_scope_of_the_tool_is_refused_and_one_with_it_is_not()
    {
        var searching = await fixture.Token("&scope=documents.search");

        (await fixture.Call(searching)).Body.Should().Contain("Tokens for Machines");
        var refused = await fixture.Call(searching, "publish_document", """{"title":"A Document"}""");

        refused.Status.Should().Be(403);
        Challenge(refused).Should().Be($"Bearer error=\"insufficient_scope\", error_description=\"Insufficient scope\", scope=\"documents.publish\", {fixture.Metadata}");
        fixture.Server!.Printed.Should().NotContain("calls publish_document");
    }

    // Once it does not, discoveryState in agent.mjs and the line on the page can go.
    [NeedsFact("npm", Install)]
    public async Task The_SDK_by_itself_refuses_metadata_without_an_authorization_endpoint()
    {
        const string script = """
            import { discoverAuthorizationServerMetadata } from '@modelcontextprotocol/sdk/client/auth.js';
            await discoverAuthorizationServerMetadata(process.argv[1]).catch(error => console.log(JSON.stringify(error.issues)));
            """;

        var answer = await RunningProgram.Run(
            "node", ["--input-type=module", "-e", script, Fixture.Text(fixture.Service!.Url)], Fixture.Sample);

        answer.ExitCode.Should().Be(0, answer.Error);
        answer.Output.Should().MatchRegex("""^\[\{[^{}]*"path":\["authorization_endpoint"\][^{}]*\}\]\n$""", "it has no other objection");
    }

    [NeedsFact("npm bash curl", "apt-get install nodejs npm bash curl")]
    public async Task Every_command_of_the_page_works_and_answers_what_is_shown()
    {
        using var folder = new TemporaryFolder();
        var (port, mcpPort) = (RunningProgram.FreePort(), RunningProgram.FreePort());
        var page = Local(await File.ReadAllTextAsync(Repository.File("docs", "protect-an-mcp-server.md")));
        var blocks = Shell().Matches(page).Select(match => match.Groups[1].Value).ToList();
        (string, string)[] environment =
        [
            ("TOKEN_ISSUER", $"http://127.0.0.1:{port}"), ("MCP_SERVER", $"http://127.0.0.1:{mcpPort}/mcp"), ("CLIENT_KEY", folder.File("research-agent.pem")),
        ];

        await Run(blocks[0], folder.Path);
        await using var service = await new Cli(folder, "Development").Serve(port);
        // The first of the two lines installs what the fixture has installed.
        var start = blocks[1].Split('\n')[1].Split(' ');
        blocks[1].Should().StartWith("npm ci --prefix samples/mcp\n");
        await using var server = await RunningProgram.Start(
            start[0], start[1..], new($"http://127.0.0.1:{mcpPort}/.well-known/oauth-protected-resource/mcp"), Repository.Root, environment);

        (await Run(blocks[2], Repository.Root)).Should().Be(Shown("text"));
        (await Run(blocks[3], Repository.Root)).Split("\r\n").Should().Contain(Shown("").TrimEnd('\n').Split('\n'));
        blocks.Should().HaveCount(4);

        async Task<string> Run(string commands, string at)
        {
            var finished = await RunningProgram.Run("bash", ["-c", $"set -euo pipefail\n{commands}"], at, environment);
            finished.ExitCode.Should().Be(0, finished.Output + finished.Error);
            return finished.Output;
        }

        string Shown(string language) => Regex.Match(page, $"```sh\n[^`]*```\n\n```{language}\n(.*?)```", RegexOptions.Singleline).Groups[1].Value;

        string Local(string text) => text
            .Replace("localhost:5080", $"127.0.0.1:{port}", StringComparison.Ordinal)
            .Replace("localhost:3000", $"127.0.0.1:{mcpPort}", StringComparison.Ordinal)
            .Replace("dotnet run --project TokenService --", $"'{Repository.Program}' --contentRoot='{folder.Path}' --environment=Development", StringComparison.Ordinal);
    }

    private static string Challenge(Answer answer) => answer.Response.Headers.GetValues("WWW-Authenticate").Should().ContainSingle().Subject;

    [GeneratedRegex("```sh\n(.*?)```", RegexOptions.Singleline)]
    private static partial Regex Shell();

    /// <summary>The service, with an agent and a platform that have the same key, and the server of the sample before it.</summary>
    public sealed class Fixture : IAsyncLifetime
    {
        internal static string Sample { get; } = Repository.File("samples", "mcp");

        internal TemporaryFolder Folder { get; } = new();

        internal ClientKeyPair Key { get; } = ClientKeyPair.OfRsa();

        internal RunningService? Service { get; private set; }

        internal RunningProgram? Server { get; private set; }

        internal string Address { get; } = $"http://127.0.0.1:{RunningProgram.FreePort()}/mcp";

        internal string MetadataUrl => Address.Replace("/mcp", "/.well-known/oauth-protected-resource/mcp", StringComparison.Ordinal);

        internal string Metadata => $"resource_metadata=\"{MetadataUrl}\"";

        /// <summary>An issuer as it writes itself.</summary>
        internal static string Text(Uri url) => url.ToString().TrimEnd('/');

        public async Task InitializeAsync()
        {
            // xunit makes fixtures for skipped tests too, and one that fails would fail them.
            if (new NeedsFactAttribute("npm", "").Skip is not null)
            {
                return;
            }

            await NodePackages.Install(Sample);
            Service = await RunningService.Start(Folder, clock: null, $$"""
                { "resources": [ { "resource": "{{Address}}", "scopes": [ { "name": "documents.search" }, { "name": "documents.publish" } ] },
                                 { "resource": "{{Support.Sample.OrdersUri}}", "scopes": [ { "name": "orders.read" } ] } ],
                  "issuers": [ {{FederationTests.Cluster("platform", Key)}} ],
                  "clients": [
                    { "client_id": "research-agent", "token_endpoint_auth_method": "private_key_jwt", "scope": "documents.search orders.read",
                      "jwks": {{ClientKeyPair.Set(Key.Jwk())}} },
                    { "client_id": "pod", "token_endpoint_auth_method": "federated_jwt", "scope": "documents.search",
                      "federation": [ { "issuer": "platform", "claims": { "sub": "system:serviceaccount:shop:indexer" } } ] },
                    { "client_id": "{{Support.Sample.Wide}}", "client_secret": "{{Support.Sample.WideSecret}}", "scope": "documents.search documents.publish orders.read" } ] }
                """);
            Server = await RunningProgram.Start(
                "node", [Path.Combine(Sample, "server.mjs")], new(MetadataUrl), null, ("MCP_SERVER", Address), ("TOKEN_ISSUER", Text(Service.Url)));
        }

        public async Task DisposeAsync()
        {
            if (Server is not null)
            {
                await Server.DisposeAsync();
            }

            if (Service is not null)
            {
                await Service.DisposeAsync();
            }

            Folder.Dispose();
        }

        internal Task<Finished> RunAgent(params (string Name, string Value)[] environment) => RunAgent([], environment);

        internal Task<Finished> RunAgent(string[] args, params (string Name, string Value)[] environment) => RunningProgram.Run(
            "node",
            [Path.Combine(Sample, "agent.mjs"), .. args],
            null,
            [
                ("MCP_SERVER", Address), ("TOKEN_ISSUER", Text(Service!.Url)), ("CLIENT_KEY", Folder.Write("research-agent.pem", Key.PrivatePem)), .. environment,
            ]);

        internal Task<string> Token(string? extra = null)
            => Service!.GetToken(TokenQueries.Wide, extra ?? $"&resource={Uri.EscapeDataString(Address)}");

        /// <summary>Calls a tool as a client of MCP does, without any of the SDK.</summary>
        internal async Task<Answer> Call(string? token, string tool = "search_documents", string input = """{"word":"tokens"}""")
        {
            var call = $$$"""{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"{{{tool}}}","arguments":{{{input}}}}}""";
            using var request = new HttpRequestMessage(HttpMethod.Post, Address) { Content = new StringContent(call, Encoding.UTF8, "application/json") };
            request.Headers.Accept.ParseAdd("application/json, text/event-stream");
            request.Headers.Authorization = token is null ? null : new AuthenticationHeaderValue("Bearer", token);
            return await Answer.Of(await Service!.Http.SendAsync(request));
        }
    }
}
