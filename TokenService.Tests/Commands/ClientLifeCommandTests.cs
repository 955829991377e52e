using System;
using System.Linq;
using System.Text.Json;
using System.Threading.Tasks;
using FluentAssertions;
using TokenService.Tests.Support;
using Xunit;

namespace TokenService.Tests.Commands;

/// <summary>What happens to a client after it was registered, by commands beside a running service: processes, as a user runs them.</summary>
public sealed class ClientLifeCommandTests : IDisposable
{
    private const string Uri = "https://catalog.example.com";

    private readonly TemporaryFolder _folder = new();
    private readonly Cli _cli;

    public ClientLifeCommandTests() => _cli = new Cli(_folder);

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task A_disabled_client_gets_no_token_within_5_seconds_and_an_enabled_one_does_again()
    {
        var secret = await Add("job");
        var port = RunningProgram.FreePort();
        await using var program = await _cli.Serve(port, "--TokenService:RateLimit:FailuresPerMinute=0");
        (await CommandTests.TokenOf(port, "job", secret)).Status.Should().Be(200);

        Said(await _cli.Run("clients", "disable", "job"), "Disabled client job.\n");
        await Within5Seconds(port, secret, 401);
        Said(await _cli.Run("clients", "disable", "job"), "Disabled client job.\n");
        (await Show("job")).GetProperty("disabled").GetBoolean().Should().BeTrue();

        Said(await _cli.Run("clients", "enable", "job"), "Enabled client job.\n");
        await Within5Seconds(port, secret, 200);

        Said(await _cli.Run("clients", "remove", "job"), "Removed client job.\n");
        await Within5Seconds(port, secret, 401);
        Refused(await _cli.Run("clients", "show", "job"), "Client \"job\" is not registered; \"clients list\" names those that are.");
    }

    [Fact]
    public async Task A_new_secret_is_alone_on_standard_output_and_the_old_one_is_good_beside_it_until_the_overlap_ends()
    {
        var old = await Add("job");
        var port = RunningProgram.FreePort();
        await using var program = await _cli.Serve(port, "--TokenService:RateLimit:FailuresPerMinute=0");

        var rotated = await _cli.Run("clients", "rotate-secret", "job");

        rotated.ExitCode.Should().Be(0, rotated.Error);
        rotated.Output.Should().MatchRegex("^[A-Za-z0-9_-]{43}\n$").And.NotBe(old + "\n");
        rotated.Error.Should().StartWith("Client job has a new secret").And.NotContain(rotated.Output.Trim());
        var secret = rotated.Output.Trim();
        await Within5Seconds(port, secret, 200);
        (await CommandTests.TokenOf(port, "job", old)).Status.Should().Be(200);
        var ends = (await Show("job")).GetProperty("secrets").EnumerateArray().Select(entry => entry.TryGetProperty("expires_at", out var end) ? end.GetInt64() : 0).ToList();
        ends.Should().HaveCount(2).And.Contain(0);
        DateTimeOffset.FromUnixTimeSeconds(ends.Max()).Should().BeCloseTo(DateTimeOffset.UtcNow.AddHours(24), TimeSpan.FromMinutes(5), "the overlap is 24 hours where it is left out");

        var json = Json(await _cli.Run("clients", "rotate-secret", "job", "--overlap", "0s", "--json"));
        json.GetProperty("client_id").GetString().Should().Be("job");
        json.GetProperty("secrets").GetArrayLength().Should().Be(3);
        await Within5Seconds(port, json.GetProperty("client_secret").GetString()!, 200);
        (await CommandTests.TokenOf(port, "job", secret)).Status.Should().Be(401);
        (await CommandTests.TokenOf(port, "job", old)).Status.Should().Be(401);
    }

    [Fact]
    public async Task What_was_last_used_is_shown_after_a_stop_and_a_restart()
    {
        var secret = await Add("job", "--name", "A job", "--lifetime", "120");
        await Add("idle");
        var port = RunningProgram.FreePort();
        var started = DateTimeOffset.UtcNow;
        await using (var program = await _cli.Serve(port))
        {
            (await CommandTests.TokenOf(port, "job", secret)).Status.Should().Be(200);
            await program.Stop();
        }

        await using var again = await _cli.Serve(port);
        var shown = await Show("job");

        shown.EnumerateObject().Select(member => member.Name).Should().Equal(
            "client_id", "client_name", "grant_types", "token_endpoint_auth_method", "scope", "access_token_lifetime", "registered_by", "disabled",
            "client_id_issued_at", "last_used_at", "secrets", "keys");
        var used = shown.GetProperty("last_used_at").GetInt64();
        used.Should().BeInRange(started.ToUnixTimeSeconds(), DateTimeOffset.UtcNow.ToUnixTimeSeconds());
        var entry = shown.GetProperty("secrets").EnumerateArray().Should().ContainSingle().Subject;
        entry.GetProperty("last_used_at").GetInt64().Should().Be(used);
        entry.GetProperty("registered_by").GetString().Should().Be("command");
        entry.GetProperty("id").GetString().Should().MatchRegex("^[0-9a-f]{12}$");
        (await Show("idle")).TryGetProperty("last_used_at", out _).Should().BeFalse();

        (await _cli.Run("clients", "show", "job")).Output.Should().MatchRegex(
            """
            ^client_id                       job
            client_name                     A job
            state                           enabled
            grant_types                     client_credentials
            token_endpoint_auth_method      client_secret_basic
            scope                           a
            access_token_lifetime           120
            registered by                   command
            registered                      20..-..-.. ..:..:..Z
            last used                       20..-..-.. ..:..:..Z

            SECRET        EXPIRES  REGISTERED BY  LAST USED
            [0-9a-f]{12}  never    command        20..-..-.. ..:..:..Z
            $
            """.ReplaceLineEndings("\n"));
        (await _cli.Run("clients", "show", "idle")).Output.Should().Contain("last used                       never\n");
    }

    [Fact]
    public async Task Keys_are_shown_with_their_last_use()
    {
        await _cli.Run("resources", "add", Uri, "--scope", "a");
        var made = await _cli.Run("new-key", "--out", _folder.File("key.pem"), "--alg", "ES256");
        _folder.Write("key.jwks", made.Output);
        (await _cli.Run("clients", "add", "--id", "signer", "--scope", "a", "--auth", "private_key_jwt", "--jwks", _folder.File("key.jwks"))).ExitCode.Should().Be(0);
        var kid = Json(made).GetProperty("keys")[0].GetProperty("kid").GetString();
        Use("signer", $"key:{kid}", TimeSpan.FromDays(1));

        var shown = await Show("signer");
        shown.GetProperty("secrets").GetArrayLength().Should().Be(0);
        var key = shown.GetProperty("keys").EnumerateArray().Should().ContainSingle().Subject;
        key.GetProperty("kid").GetString().Should().Be(kid);
        key.GetProperty("algorithms").EnumerateArray().Select(algorithm => algorithm.GetString()).Should().Equal("ES256");
        key.GetProperty("last_used_at").GetInt64().Should().Be(shown.GetProperty("last_used_at").GetInt64());
        (await _cli.Run("clients", "show", "signer")).Output.Should().MatchRegex($"\nKEY +ALGORITHM  LAST USED\n{kid}  ES256      20..-..-.. ..:..:..Z\n$");

        // Behind a jwks_uri, those that it used.
        StoreFile.Execute(_folder, "UPDATE clients SET jwks = NULL, jwks_uri = 'https://signer.example.com/jwks.json'");
        (await Show("signer")).GetProperty("keys").EnumerateArray().Should().ContainSingle().Which.GetProperty("kid").GetString().Should().Be(kid);
    }

    [Fact]
    public async Task Clients_that_nobody_uses_are_listed()
    {
        await Add("used");
        await Add("forgotten");
        await Add("new");
        await Add("old");
        Use("used", "secret:000000000000", TimeSpan.FromDays(29));
        Use("forgotten", "secret:000000000000", TimeSpan.FromDays(31));
        StoreFile.Execute(_folder, "UPDATE clients SET client_id_issued_at = NULL WHERE client_id = 'old'");

        var listed = Json(await _cli.Run("clients", "list", "--unused-for", "30d", "--json"));

        // "new" is not, since it has not been there for so long.
        listed.EnumerateArray().Select(client => client.GetProperty("client_id").GetString()).Should().Equal("forgotten", "old");
        listed[0].GetProperty("last_used_at").GetInt64().Should().BeGreaterThan(0);
        var table = (await _cli.Run("clients", "list", "--unused-for", "30d")).Output.Split('\n');
        table[0].Should().EndWith("REGISTERED BY  LAST USED");
        table[1].Should().MatchRegex("^forgotten .* 20..-..-.. ..:..:..Z$");
        table[2].Should().MatchRegex("^old .* never$");
        Json(await _cli.Run("clients", "list", "--unused-for", "28d", "--json")).GetArrayLength().Should().Be(3);
        Json(await _cli.Run("clients", "list", "--unused-for", "0s", "--json")).GetArrayLength().Should().Be(4);
    }

    [Fact]
    public async Task A_resource_goes_when_no_client_has_a_scope_of_it()
    {
        await Add("job");
        await _cli.Run("resources", "add", "urn:other", "--scope", "b");

        Refused(await _cli.Run("resources", "remove", Uri), $"Resource \"{Uri}\" is still in use: 1 client has a scope of it, such as \"job\". Remove or change them first.");
        Said(await _cli.Run("resources", "remove", "urn:other"), "Removed resource urn:other.\n");
        Refused(await _cli.Run("resources", "remove", "urn:other"), "Resource \"urn:other\" is not registered; \"resources list\" names those that are.");
        (await _cli.Run("clients", "remove", "job")).ExitCode.Should().Be(0);
        Json(await _cli.Run("resources", "remove", Uri, "--json")).GetProperty("resource").GetString().Should().Be(Uri);
        Json(await _cli.Run("resources", "list", "--json")).GetArrayLength().Should().Be(0);
    }

    [Fact]
    public async Task What_a_declarative_file_brought_is_not_removed_and_all_else_works_on_it()
    {
        var file = _folder.Write("clients.json", Sample.File);
        (await _cli.Run("apply", file)).ExitCode.Should().Be(0);

        Refused(await _cli.Run("clients", "remove", Sample.Job), $"Client \"{Sample.Job}\" comes from a declarative file, and the next apply would bring it back: take it out of the file and apply that.");
        Refused(await _cli.Run("resources", "remove", Sample.OrdersUri), $"Resource \"{Sample.OrdersUri}\" comes from a declarative file");
        (await _cli.Run("clients", "disable", Sample.Job)).ExitCode.Should().Be(0);
        var rotated = await _cli.Run("clients", "rotate-secret", Sample.Job, "--overlap", "0s");
        rotated.ExitCode.Should().Be(0, rotated.Error);

        (await _cli.Run("apply", file)).Output.Should().Be("Nothing to change.\n");
        (await _cli.Run("clients", "enable", Sample.Job)).ExitCode.Should().Be(0);
        var port = RunningProgram.FreePort();
        await using var program = await _cli.Serve(port, $"--TokenService:ApplyFile={file}");
        (await CommandTests.TokenOf(port, Sample.Job, rotated.Output.Trim())).Status.Should().Be(200);
        (await CommandTests.TokenOf(port, Sample.Job, Sample.JobSecret)).Status.Should().Be(401);
    }

    [Fact]
    public async Task Apply_says_which_clients_are_in_use_and_refuses_where_it_must_not_touch_them()
    {
        (await _cli.Run("apply", _folder.Write("clients.json", Sample.File))).ExitCode.Should().Be(0);
        Use(Sample.Job, "secret:000000000000", TimeSpan.FromDays(6));
        Use(Sample.FormJob, "secret:000000000000", TimeSpan.FromDays(8));
        Use(Sample.Wide, "secret:000000000000", TimeSpan.FromDays(1));
        var file = _folder.Write("next.json", Sample.File
            .Replace("\"access_token_lifetime\": 600", "\"access_token_lifetime\": 601", StringComparison.Ordinal)
            .Replace($"\"client_id\": \"{Sample.FormJob}\"", "\"client_id\": \"new-job\"", StringComparison.Ordinal));

        var dry = await _cli.Run("apply", file, "--dry-run");
        dry.Output.Should().MatchRegex(
            $"^changed client {Sample.Job} \\(access_token_lifetime\\), last used 20..-..-.. ..:..:..Z\n" +
            $"added client new-job\nremoved client {Sample.FormJob}\nNothing was done \\(--dry-run\\).\n$");
        var json = Json(await _cli.Run("apply", file, "--dry-run", "--json")).GetProperty("changes");
        json[0].GetProperty("last_used_at").GetInt64().Should().BeGreaterThan(0);
        json[2].TryGetProperty("last_used_at", out _).Should().BeFalse("that was more than 7 days ago");

        foreach (var dryRun in (string[][])[[], ["--dry-run"]])
        {
            var refused = await _cli.Run(["apply", file, "--fail-if-used", "10d", .. dryRun]);
            Refused(refused, $"In use, so nothing was applied: client \"{Sample.Job}\", which would be changed, was used at 20");
            refused.Error.Should().Contain($"client \"{Sample.FormJob}\", which would be removed").And.NotContain(Sample.Wide).And.NotContain("new-job");
        }

        Refused(await _cli.Run("apply", file, "--fail-if-used", "7d"), $"client \"{Sample.Job}\"");
        (await _cli.Run("apply", file, "--dry-run")).Output.Should().Be(dry.Output, "nothing was applied");
        (await _cli.Run("apply", file, "--fail-if-used", "5d")).Output.Should().Contain($"changed client {Sample.Job} ").And.EndWith("Done.\n");
    }

    [Fact]
    public async Task Refusals_exit_with_1_and_one_line_on_standard_error()
    {
        await _cli.Run("resources", "add", Uri, "--scope", "a");
        _folder.Write("key.jwks", (await _cli.Run("new-key", "--out", _folder.File("key.pem"), "--alg", "ES256")).Output);
        await _cli.Run("clients", "add", "--id", "signer", "--scope", "a", "--auth", "private_key_jwt", "--jwks", _folder.File("key.jwks"));

        foreach (var command in (string[])["show", "remove", "disable", "enable", "rotate-secret"])
        {
            Refused(await _cli.Run("clients", command, "nobody"), "Client \"nobody\" is not registered; \"clients list\" names those that are.");
        }

        Refused(await _cli.Run("clients", "rotate-secret", "signer"), "Client \"signer\" has no secret: it proves itself with its key (private_key_jwt). Give it a new one by its jwks or jwks_uri.");
        Refused(await _cli.Run("clients", "remove", "\u001b[31m\n"), "Client \"\\u001B[31m\\u000A\" is not registered");
    }

    [NeedsFact("bash", "apt-get install bash")]
    public async Task A_secret_that_cannot_be_printed_leaves_the_old_ones_as_they_were()
    {
        await Add("job");
        var before = (await Show("job")).GetRawText();

        var full = await RunningProgram.Run(
            "bash", ["-c", $"'{Repository.Program}' '--contentRoot={_folder.Path}' --environment=Production clients rotate-secret job --overlap 0s > /dev/full"]);

        full.ExitCode.Should().Be(1);
        full.Error.Should().StartWith("The secret cannot be printed, so the client has none but its old ones");
        (await Show("job")).GetRawText().Should().Be(before);
    }

    [Theory]
    [InlineData("clients", "show")]
    [InlineData("clients", "remove")]
    [InlineData("clients", "disable")]
    [InlineData("clients", "enable", "a", "b")]
    [InlineData("clients", "rotate-secret")]
    [InlineData("clients", "rotate-secret", "a", "--overlap", "soon")]
    [InlineData("clients", "rotate-secret", "a", "--overlap", "-1s")]
    [InlineData("clients", "list", "--unused-for", "30")]
    [InlineData("resources", "remove")]
    [InlineData("apply", "clients.json", "--fail-if-used")]
    [InlineData("apply", "clients.json", "--fail-if-used", "ever")]
    public async Task Wrong_usage_exits_with_2(params string[] args)
    {
        var finished = await _cli.Run(args);

        finished.ExitCode.Should().Be(2, finished.Error);
        finished.Error.Should().EndWith("See --help.\n");
        finished.Output.Should().BeEmpty();
    }

    [Theory]
    [InlineData("rotate-secret", "clients", "--help")]
    [InlineData("<ID>", "clients", "show", "--help")]
    [InlineData("<ID>", "clients", "remove", "--help")]
    [InlineData("<ID>", "clients", "disable", "--help")]
    [InlineData("<ID>", "clients", "enable", "--help")]
    [InlineData("--overlap <DURATION>", "clients", "rotate-secret", "--help")]
    [InlineData("--unused-for <DURATION>", "clients", "list", "--help")]
    [InlineData("<URI>", "resources", "remove", "--help")]
    [InlineData("--fail-if-used <DURATION>", "apply", "--help")]
    public async Task Help_is_on_standard_output(string says, params string[] args)
    {
        var finished = await _cli.Run(args);

        (finished.ExitCode, finished.Error).Should().Be((0, ""));
        finished.Output.Should().Contain(says);
    }

    [Fact]
    public async Task With_json_each_change_prints_the_client()
    {
        await Add("job");

        foreach (var (command, disabled) in ((string, bool)[])[("disable", true), ("enable", false), ("remove", false)])
        {
            var json = Json(await _cli.Run("clients", command, "job", "--json"));
            (json.GetProperty("client_id").GetString(), json.GetProperty("disabled").GetBoolean()).Should().Be(("job", disabled), command);
        }
    }

    private async Task<string> Add(string id, params string[] options)
    {
        await _cli.Run("resources", "add", Uri, "--scope", "a");
        var added = await _cli.Run(["clients", "add", "--id", id, "--scope", "a", .. options]);
        added.ExitCode.Should().Be(0, added.Error);
        return added.Output.Trim();
    }

    private async Task<JsonElement> Show(string id) => Json(await _cli.Run("clients", "show", id, "--json"));

    // As a service would have written it.
    private void Use(string clientId, string credential, TimeSpan ago) => StoreFile.Execute(
        _folder, $"INSERT INTO credential_uses VALUES ('{clientId}', '{credential}', {(DateTimeOffset.UtcNow - ago).ToUnixTimeMilliseconds()})");

    private static async Task Within5Seconds(int port, string secret, int status)
    {
        var until = DateTime.UtcNow.AddSeconds(5);
        while ((await CommandTests.TokenOf(port, "job", secret)).Status != status)
        {
            DateTime.UtcNow.Should().BeBefore(until, $"the answer must be {status} within 5 seconds");
            await Task.Delay(50);
        }
    }

    private static void Said(Finished finished, string error) => finished.Should().Be(new Finished(0, "", error));

    private static void Refused(Finished finished, string message)
    {
        (finished.ExitCode, finished.Output).Should().Be((1, ""), finished.Error);
        finished.Error.Should().Contain(message);
        finished.Error.TrimEnd('\n').Should().NotContain("\n");
    }

    private static JsonElement Json(Finished finished)
    {
        finished.ExitCode.Should().Be(0, finished.Error);
        return JsonDocument.Parse(finished.Output).RootElement;
    }
}
