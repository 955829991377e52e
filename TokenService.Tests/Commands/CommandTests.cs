using System;
using System.Linq;
using System.Text.Json;
using System.Threading.Tasks;
using FluentAssertions;
using TokenService.Tests.Support;
using Xunit;

namespace TokenService.Tests.Commands;

/// <summary>The commands as a user runs them: processes, their output, their exit status.</summary>
public sealed class CommandTests : IDisposable
{
    private const string Uri = "https://catalog.example.com";

    private readonly TemporaryFolder _folder = new();
    private readonly Cli _cli;

    public CommandTests() => _cli = new Cli(_folder);

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task A_client_is_registered_without_a_file_and_gets_its_secret_alone_on_standard_output()
    {
        (await _cli.Run("resources", "add", Uri, "--scope", "catalog.search catalog.read", "--name", "Catalog")).ExitCode.Should().Be(0);

        var added = await _cli.Run("clients", "add", "--id", "job", "--scope", "catalog.read", "--name", "A job", "--lifetime", "120");

        added.ExitCode.Should().Be(0, added.Error);
        added.Output.Should().MatchRegex("^[A-Za-z0-9_-]{43}\n$");
        added.Error.Should().Contain("Registered client job.").And.NotContain(added.Output.Trim());
        var port = RunningProgram.FreePort();
        await using var program = await _cli.Serve(port);
        var token = await TokenOf(port, "job", added.Output.Trim());
        token.Json.GetProperty("expires_in").GetInt64().Should().Be(120);
        token.Json.GetProperty("scope").GetString().Should().Be("catalog.read");
    }

    [Fact]
    public async Task A_client_is_registered_for_the_grants_that_are_named()
    {
        await _cli.Run("resources", "add", Uri, "--scope", "a");
        const string exchange = "urn:ietf:params:oauth:grant-type:token-exchange";
        foreach (var (id, grants) in ((string, string[])[])[("agent", [exchange]), ("both", ["client_credentials", exchange])])
        {
            var added = await _cli.Run("clients", "add", "--id", id, "--scope", "a", "--grant-types", string.Join(' ', grants), "--json");

            Json(added).GetProperty("grant_types").EnumerateArray().Select(grant => grant.GetString()).Should().Equal(grants);
            (await _cli.Run("clients", "show", id)).Output.Should().MatchRegex($"(?m)^grant_types +{string.Join(' ', grants)}$");
            Json(await _cli.Run("clients", "show", id, "--json")).GetProperty("grant_types").EnumerateArray().Select(grant => grant.GetString()).Should().Equal(grants);
        }

        foreach (var grants in (string[])["", "password", "client_credentials  " + exchange, "token-exchange"])
        {
            var refused = await _cli.Run("clients", "add", "--id", "none", "--scope", "a", "--grant-types", grants);

            (refused.ExitCode, refused.Output).Should().Be((1, ""));
            refused.Error.Should().Contain("is not offered by this service; accepted: client_credentials, " + exchange);
        }
    }

    [Fact]
    public async Task A_running_service_sees_what_a_command_changed_within_5_seconds()
    {
        await _cli.Run("resources", "add", Uri, "--scope", "s");
        var port = RunningProgram.FreePort();
        await using var program = await _cli.Serve(port, "--TokenService:RateLimit:FailuresPerMinute=0");

        var secret = (await _cli.Run("clients", "add", "--id", "late", "--scope", "s", "--auth", "client_secret_post")).Output.Trim();

        var until = DateTime.UtcNow.AddSeconds(5);
        Answer answer;
        do
        {
            await Task.Delay(50);
            using var http = new System.Net.Http.HttpClient();
            using var response = await http.PostAsync(
                new System.Uri($"http://127.0.0.1:{port}/oauth2/token"),
                RunningService.Form($"grant_type=client_credentials&client_id=late&client_secret={secret}"));
            answer = await Answer.Of(response);
        }
        while (answer.Status != 200 && DateTime.UtcNow < until);
        answer.Status.Should().Be(200, answer.Body);
    }

    [Fact]
    public async Task With_json_every_command_prints_members_named_as_in_the_declarative_file()
    {
        var resource = Json(await _cli.Run("resources", "add", Uri, "--scope", "a b", "--json"));
        resource.GetProperty("resource").GetString().Should().Be(Uri);
        resource.GetProperty("scopes").EnumerateArray().Select(scope => scope.GetProperty("name").GetString()).Should().Equal("a", "b");

        var client = Json(await _cli.Run("clients", "add", "--id", "job", "--scope", "a", "--json"));
        client.GetProperty("client_secret").GetString().Should().HaveLength(43);

        var listed = Json(await _cli.Run("clients", "list", "--json")).EnumerateArray().Should().ContainSingle().Subject;
        listed.EnumerateObject().Select(member => member.Name)
            .Should().Equal("client_id", "grant_types", "token_endpoint_auth_method", "scope", "registered_by", "disabled", "client_id_issued_at");
        listed.GetProperty("token_endpoint_auth_method").GetString().Should().Be("client_secret_basic");
        Json(await _cli.Run("resources", "list", "--json")).GetArrayLength().Should().Be(1);
    }

    [Fact]
    public async Task Lists_are_tables()
    {
        await _cli.Run("resources", "add", Uri, "--scope", "a b");
        await _cli.Run("clients", "add", "--id", "job", "--scope", "a");

        (await _cli.Run("clients", "list")).Output.Should().Be(
            "CLIENT ID  NAME  METHOD               SCOPE  STATE    REGISTERED BY\n" +
            "job              client_secret_basic  a      enabled  command\n");
        (await _cli.Run("resources", "list")).Output.Should().Be(
            "RESOURCE                     NAME  SCOPE  REGISTERED BY\n" +
            "https://catalog.example.com        a b    command\n");
    }

    [Fact]
    public async Task Three_commands_lead_from_no_key_to_a_token()
    {
        await _cli.Run("resources", "add", Uri, "--scope", "catalog.read");
        foreach (var algorithm in (string?[])[null, "PS384", "ES256", "ES512"])
        {
            string[] alg = algorithm is null ? [] : ["--alg", algorithm];
            var (id, file) = ($"job-{algorithm}", _folder.File($"{algorithm}.pem"));

            var made = await _cli.Run(["new-key", "--out", file, .. alg]);
            made.ExitCode.Should().Be(0, made.Error);
            System.IO.File.GetUnixFileMode(file).Should().Be(System.IO.UnixFileMode.UserRead | System.IO.UnixFileMode.UserWrite);
            var key = Json(made).GetProperty("keys").EnumerateArray().Single();
            key.EnumerateObject().Select(member => member.Name).Should().NotContain(["d", "p", "q"]);
            (key.GetProperty("alg").GetString(), key.GetProperty("use").GetString()).Should().Be((algorithm ?? "RS256", "sig"));
            _folder.Write($"{algorithm}.json", made.Output);

            var added = await _cli.Run("clients", "add", "--id", id, "--scope", "catalog.read", "--auth", "private_key_jwt", "--jwks", _folder.File($"{algorithm}.json"));
            (added.ExitCode, added.Output).Should().Be((0, ""), added.Error);
        }

        var port = RunningProgram.FreePort();
        await using var program = await _cli.Serve(port);
        foreach (var algorithm in (string?[])[null, "PS384", "ES256", "ES512"])
        {
            string[] alg = algorithm is "PS384" ? ["--alg", algorithm] : [];
            var issuer = $"http://127.0.0.1:{port}";
            var assertion = await _cli.Run(["assertion", "--client", $"job-{algorithm}", "--key", _folder.File($"{algorithm}.pem"), $"--TokenService:Issuer={issuer}", .. alg]);
            assertion.ExitCode.Should().Be(0, assertion.Error);

            (await Post(assertion.Output.Trim())).Status.Should().Be(200, algorithm);
            (await Post(assertion.Output.Trim())).Status.Should().Be(401, "it is good once");
            var other = await _cli.Run(["assertion", "--client", $"job-{algorithm}", "--key", _folder.File($"{algorithm}.pem"), "--audience", issuer, "--lifetime", "10m", .. alg]);
            (await Post(other.Output.Trim())).Status.Should().Be(200, other.Error);
        }

        async Task<Answer> Post(string assertion)
        {
            using var http = new System.Net.Http.HttpClient();
            using var response = await http.PostAsync(new System.Uri($"http://127.0.0.1:{port}/oauth2/token"), RunningService.Form(AssertionDraft.Form(assertion)));
            return await Answer.Of(response);
        }
    }

    [Fact]
    public async Task Of_several_new_keys_for_one_file_the_one_that_succeeds_is_the_one_in_it()
    {
        var file = _folder.File("key.pem");

        var made = await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => _cli.Run("new-key", "--out", file, "--alg", "ES256")));

        var winner = made.Should().ContainSingle(finished => finished.ExitCode == 0).Subject;
        using var key = System.Security.Cryptography.ECDsa.Create();
        key.ImportFromPem(await System.IO.File.ReadAllTextAsync(file));
        Json(winner).GetProperty("keys")[0].GetProperty("x").GetString().Should()
            .Be(Microsoft.IdentityModel.Tokens.Base64UrlEncoder.Encode(key.ExportParameters(false).Q.X));
        made.Where(finished => finished.ExitCode != 0).Should().OnlyContain(finished => finished.Output.Length == 0 && finished.Error.Contains("is there already"));
    }

    [NeedsFact("bash", "apt-get install bash")]
    public async Task A_key_whose_public_half_cannot_be_printed_is_not_made()
    {
        var finished = await RunningProgram.Run("bash", ["-c", $"'{Repository.Program}' new-key --out '{_folder.File("key.pem")}' > /dev/full"]);

        finished.ExitCode.Should().Be(1);
        finished.Error.Should().Contain("so no key was made");
        System.IO.File.Exists(_folder.File("key.pem")).Should().BeFalse();
    }

    [Fact]
    public async Task A_client_that_signs_with_its_secret_is_registered_by_command()
    {
        await _cli.Run("resources", "add", Uri, "--scope", "a");

        var added = await _cli.Run("clients", "add", "--id", "signer", "--scope", "a", "--auth", "client_secret_jwt");

        added.Output.Should().MatchRegex("^[A-Za-z0-9_-]{64}\n$");
        var port = RunningProgram.FreePort();
        await using var program = await _cli.Serve(port);
        using var http = new System.Net.Http.HttpClient();
        using var response = await http.PostAsync(
            new System.Uri($"http://127.0.0.1:{port}/oauth2/token"),
            RunningService.Form(AssertionDraft.Form(
                new AssertionDraft("signer", $"http://127.0.0.1:{port}", DateTimeOffset.UtcNow).SignedWith(added.Output.Trim(), "HS512"))));
        ((int)response.StatusCode).Should().Be(200);
    }

    [Fact]
    public async Task Keys_that_are_not_fit_are_refused_with_one_line()
    {
        await _cli.Run("resources", "add", Uri, "--scope", "a");
        await _cli.Run("new-key", "--out", _folder.File("key.pem"));
        var weak = ClientKeyPair.OfRsa(1024);
        _folder.Write("weak.json", ClientKeyPair.Set(weak.Jwk()));
        _folder.Write("weak.pem", weak.PrivatePem);
        _folder.Write("public.pem", ClientKeyPair.OfRsa().PublicPem);
        _folder.Write("encrypted.pem", ClientKeyPair.OfRsa().Rsa.ExportEncryptedPkcs8PrivateKeyPem("password", new(System.Security.Cryptography.PbeEncryptionAlgorithm.Aes256Cbc, System.Security.Cryptography.HashAlgorithmName.SHA256, 1000)));
        _folder.Write("text.json", "no JSON");

        await Refused("is there already", "new-key", "--out", _folder.File("key.pem"));
        await Refused("--client", "assertion", "--client", "", "--key", _folder.File("key.pem"), "--audience", "x");
        await Refused("--audience", "assertion", "--client", "k", "--key", _folder.File("key.pem"), "--audience", "");
        await Refused("is larger than 65536 bytes", "assertion", "--client", "k", "--key", "/dev/zero", "--audience", "x");
        await Refused("is larger than 65536 bytes", "clients", "add", "--id", "k", "--scope", "a", "--auth", "private_key_jwt", "--jwks", "/dev/zero");
        await Refused("--client must be", "assertion", "--client", "\u001b[31m", "--key", _folder.File("key.pem"), "--audience", "x");
        await Refused("--out must name a file", "new-key", "--out", "");
        await Refused("cannot be read", "assertion", "--client", "k", "--key", "", "--audience", "x");
        await Refused("cannot be read", "clients", "add", "--id", "k", "--scope", "a", "--auth", "private_key_jwt", "--jwks", "");
        await Refused("cannot be made", "new-key", "--out", "/missing/key.pem");
        await Refused("keys[0].n must be an RSA modulus of 2048 to 4096 bits", Add("weak.json"));
        await Refused("is no JSON object", Add("text.json"));
        await Refused("cannot be read", Add("missing.json"));
        await Refused("jwks is missing", "clients", "add", "--id", "k", "--scope", "a", "--auth", "private_key_jwt");
        await Refused("jwks does not go with client_secret_basic", "clients", "add", "--id", "k", "--scope", "a", "--jwks", Registered());
        foreach (var file in (string[])["weak.pem", "public.pem", "encrypted.pem", "text.json"])
        {
            await Refused("has no private key in PEM", "assertion", "--client", "k", "--key", _folder.File(file), "--audience", "https://a.example.com");
        }

        await Refused("for ES256", "assertion", "--client", "k", "--key", _folder.File("key.pem"), "--audience", "https://a.example.com", "--alg", "ES256");
        await Refused("cannot be read", "assertion", "--client", "k", "--key", _folder.File("missing.pem"), "--audience", "https://a.example.com");
        await Refused("TokenService:Issuer is not set", "assertion", "--client", "k", "--key", _folder.File("key.pem"));
        foreach (var lifetime in (string[])["11m", "0s", "1d"])
        {
            await Refused("An assertion lives for up to 10 minutes", "assertion", "--client", "k", "--key", _folder.File("key.pem"), "--audience", "x", "--lifetime", lifetime);
        }

        (await _cli.Run("clients", "list", "--json")).Output.Trim().Should().Be("[]");

        string[] Add(string file) => ["clients", "add", "--id", "k", "--scope", "a", "--auth", "private_key_jwt", "--jwks", _folder.File(file)];

        string Registered() => _folder.Write("good.json", ClientKeyPair.Set(ClientKeyPair.OfRsa().Jwk()));

        async Task Refused(string message, params string[] args)
        {
            var finished = await _cli.Run(args);
            finished.ExitCode.Should().Be(1, finished.Output + finished.Error);
            finished.Error.Should().Contain(message);
            finished.Error.TrimEnd('\n').Should().NotContain("\n");
            finished.Output.Should().BeEmpty();
        }
    }

    [Fact]
    [Trait("Storage", "Sqlite")]
    public async Task Refusals_exit_with_1_and_one_line_on_standard_error()
    {
        await _cli.Run("resources", "add", Uri, "--scope", "a");
        await _cli.Run("clients", "add", "--id", "job", "--scope", "a");

        using var listener = new System.Net.Sockets.TcpListener(System.Net.IPAddress.Loopback, 0);
        listener.Start();
        var taken = ((System.Net.IPEndPoint)listener.LocalEndpoint).Port;

        await Refused("Client \"job\" is registered already.", "clients", "add", "--id", "job", "--scope", "a");
        await Refused("Scope \"b\" is no resource's scope", "clients", "add", "--id", "other", "--scope", "b");
        await Refused("scope must be at most", "clients", "add", "--id", "other", "--scope", "a  b");
        await Refused("token_endpoint_auth_method \"none\"", "clients", "add", "--id", "other", "--scope", "a", "--auth", "none");
        await Refused("access_token_lifetime must be", "clients", "add", "--id", "other", "--scope", "a", "--lifetime", "5");
        await Refused("Resource \"https://catalog.example.com\" is registered already.", "resources", "add", Uri, "--scope", "c");
        await Refused("Scope \"a\" belongs to resource", "resources", "add", "urn:other", "--scope", "a");
        await Refused("resource must be an absolute URI", "resources", "add", "other", "--scope", "c");
        await Refused("The file", "apply", "missing.json");
        await Refused("TokenService:Issuer is not set", "serve");
        await Refused("TokenService:Issuer is \"http://example.com\"; accepted", "--TokenService:Issuer=http://example.com");
        await Refused("TokenService:Isuer is not a setting", "clients", "list", "--TokenService:Isuer=x");
        await Refused("ConnectionStrings:TokenService is malformed", "clients", "list", "--ConnectionStrings:TokenService=Password=geheim;x");
        await Refused("ConnectionStrings:TokenService names no file", "clients", "list", "--ConnectionStrings:TokenService=Data Source=:memory:");
        await Refused("Failed to bind to address", "--TokenService:Issuer=https://a.example.com", $"--urls=http://127.0.0.1:{taken}");
        await Refused("No server certificate", "--TokenService:Issuer=https://a.example.com", "--urls=https://127.0.0.1:0");
        await Refused("DirectoryNotFoundException: /missing", "clients", "list", "--contentRoot=/missing");
        await Refused("names no file that can be written", "clients", "list", "--ConnectionStrings:TokenService=Data Source=x.db;Password=geheim");
        await Refused("names no file that can be written", "clients", "list", "--ConnectionStrings:TokenService=Data Source=x.db;Mode=ReadOnly");
        await Refused("name has a control character", "clients", "add", "--id", "other", "--scope", "a", "--name", "\u001b[31m\nFAKE");
        await Refused("cannot be opened", "clients", "list", "--ConnectionStrings:TokenService=Data Source=/missing/folder/x.db");

        async Task Refused(string message, params string[] args)
        {
            var finished = await _cli.Run(args);
            finished.ExitCode.Should().Be(1, finished.Output + finished.Error);
            finished.Error.Should().Contain(message).And.NotContain("geheim");
            finished.Error.TrimEnd('\n').Should().NotContain("\n");
            finished.Output.Should().BeEmpty();
        }
    }

    [Theory]
    [InlineData("nonsense")]
    [InlineData("clients")]
    [InlineData("clients", "ad")]
    [InlineData("clients", "add")]
    [InlineData("clients", "add", "--id", "a", "--scope", "s", "--lifetime", "soon")]
    [InlineData("clients", "add", "--id", "a", "--scope", "s", "--unknown")]
    [InlineData("resources", "add")]
    [InlineData("apply")]
    [InlineData("new-key")]
    [InlineData("new-key", "--out", "k.pem", "--alg", "HS256")]
    [InlineData("assertion", "--client", "a")]
    [InlineData("assertion", "--client", "a", "--key", "k.pem", "--lifetime", "soon")]
    [InlineData("assertion", "--client", "a", "--key", "k.pem", "--alg", "none")]
    public async Task Wrong_usage_exits_with_2(params string[] args)
    {
        var finished = await _cli.Run(args);

        finished.ExitCode.Should().Be(2);
        finished.Error.Should().EndWith("See --help.\n");
        finished.Output.Should().BeEmpty();
    }

    [Theory]
    [InlineData("Usage:", "--help")]
    [InlineData("resources add", "resources", "add", "--help")]
    [InlineData("clients", "clients", "--help")]
    [InlineData("--dry-run", "apply", "--help")]
    [InlineData("--jwks", "clients", "add", "--help")]
    [InlineData("--out", "new-key", "--help")]
    [InlineData("--audience", "assertion", "--help")]
    [InlineData(".NET 10.", "--version")]
    public async Task Help_and_version_are_on_standard_output(string says, params string[] args)
    {
        var finished = await _cli.Run(args);

        finished.ExitCode.Should().Be(0);
        finished.Output.Should().Contain(says);
        finished.Error.Should().BeEmpty();
    }

    [Fact]
    public async Task Apply_says_what_it_does_and_dry_run_only_says()
    {
        var file = _folder.Write("clients.json", Sample.File);

        var dry = await _cli.Run("apply", file, "--dry-run");
        dry.Output.Should().Contain("added client reporting-job\n").And.EndWith("Nothing was done (--dry-run).\n");
        Json(await _cli.Run("clients", "list", "--json")).GetArrayLength().Should().Be(0);

        var applied = await _cli.Run("apply", "clients.json");
        (applied.ExitCode, applied.Error).Should().Be((0, ""));
        applied.Output.Should().Contain("added resource https://catalog.example.com\n").And.EndWith("Done.\n");
        Json(await _cli.Run("clients", "list", "--json")).GetArrayLength().Should().Be(4);

        (await _cli.Run("apply", file)).Output.Should().Be("Nothing to change.\n");

        _folder.Write("clients.json", Sample.File.Replace("\"access_token_lifetime\": 600", "\"access_token_lifetime\": 601", StringComparison.Ordinal));
        (await _cli.Run("apply", file)).Output.Should().Be("changed client reporting-job (access_token_lifetime)\nDone.\n");
        var change = Json(await _cli.Run("apply", _folder.Write("empty.json", "{}"), "--json"));
        change.GetProperty("changes").EnumerateArray().Select(entry => entry.GetProperty("change").GetString()).Should().OnlyContain(kind => kind == "removed").And.HaveCount(6);
    }

    [Fact]
    public async Task Apply_is_all_or_nothing_and_names_the_place()
    {
        await _cli.Run("apply", _folder.Write("clients.json", Sample.File));

        var wrong = await _cli.Run("apply", _folder.Write("wrong.json", """{ "clients": [ { "client_id": "new", "client_secret": "0123456789abcdef0123456789abcdef", "scope": "nothing" } ] }"""));

        wrong.ExitCode.Should().Be(1);
        wrong.Error.Should().StartWith("clients[0].scope names \"nothing\"").And.EndWith("Nothing was applied.\n");
        Json(await _cli.Run("clients", "list", "--json")).GetArrayLength().Should().Be(4);
    }

    [Fact]
    public async Task An_argument_with_an_at_sign_is_no_file_to_read()
    {
        var secret = _folder.Write("secret.txt", "content-of-the-file");

        (await _cli.Run("resources", "add", Uri, "--scope", "a", "--name", $"@{secret}")).ExitCode.Should().Be(0);

        Json(await _cli.Run("resources", "list", "--json"))[0].GetProperty("name").GetString().Should().Be($"@{secret}");
    }

    [NeedsFact("bash", "apt-get install bash")]
    public async Task A_client_whose_secret_cannot_be_printed_is_not_registered()
    {
        await _cli.Run("resources", "add", Uri, "--scope", "a");

        var full = await RunningProgram.Run(
            "bash", ["-c", $"'{Repository.Program}' '--contentRoot={_folder.Path}' --environment=Production clients add --id job --scope a > /dev/full"]);

        full.ExitCode.Should().Be(1);
        full.Error.Should().StartWith("The secret cannot be printed, so the client was not registered").And.NotContain("Registered");
        Json(await _cli.Run("clients", "list", "--json")).GetArrayLength().Should().Be(0);
    }

    [NeedsFact("bash", "apt-get install bash")]
    public async Task A_client_whose_secret_was_printed_stays_even_where_the_words_beside_it_cannot_be()
    {
        await _cli.Run("resources", "add", Uri, "--scope", "a");

        var full = await RunningProgram.Run(
            "bash", ["-c", $"'{Repository.Program}' '--contentRoot={_folder.Path}' --environment=Production clients add --id job --scope a 2> /dev/full"]);

        full.Output.Should().MatchRegex("^[A-Za-z0-9_-]{43}\n$");
        Json(await _cli.Run("clients", "list", "--json")).GetArrayLength().Should().Be(1);
    }

    private static JsonElement Json(Finished finished)
    {
        finished.ExitCode.Should().Be(0, finished.Error);
        return JsonDocument.Parse(finished.Output).RootElement;
    }

    internal static async Task<Answer> TokenOf(int port, string clientId, string secret)
    {
        using var http = new System.Net.Http.HttpClient();
        using var request = new System.Net.Http.HttpRequestMessage(System.Net.Http.HttpMethod.Post, $"http://127.0.0.1:{port}/oauth2/token")
        {
            Content = RunningService.Form("grant_type=client_credentials"),
        };
        request.Headers.Authorization = new("Basic", Convert.ToBase64String(System.Text.Encoding.UTF8.GetBytes($"{clientId}:{secret}")));
        using var response = await http.SendAsync(request);
        return await Answer.Of(response);
    }
}
