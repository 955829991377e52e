using System;
using System.IO;
using System.Linq;
using System.Net.Http;
using System.Text.Json;
using System.Threading.Tasks;
using FluentAssertions;
using Microsoft.IdentityModel.JsonWebTokens;
using TokenService.Tests.Support;
using Xunit;

namespace TokenService.Tests.Commands;

/// <summary>The keys commands as processes, beside a running service.</summary>
public sealed class KeysCommandTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();
    private readonly Cli _cli;

    public KeysCommandTests() => _cli = new Cli(_folder);

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task A_running_service_publishes_a_rotated_key_and_signs_with_it_when_it_has_been_published()
    {
        var port = RunningProgram.FreePort();
        await using var program = await Serve(port, "--TokenService:KeyPublishAhead=00:00:10");
        var first = (await Keys()).Single();
        (State(first), Kid(first)).Should().Be(("signing", await SigningKid(port)));

        var rotated = Json(await _cli.Run("keys", "rotate", "--json", "--TokenService:KeyPublishAhead=00:00:10", "--TokenService:SigningAlgorithm=ES256"));
        State(rotated).Should().Be("published");
        rotated.GetProperty("algorithm").GetString().Should().Be("ES256");
        rotated.GetProperty("signs_from").GetInt64().Should().BeCloseTo(rotated.GetProperty("created_at").GetInt64() + 10, 1);
        rotated.TryGetProperty("gone_at", out _).Should().BeFalse("no key comes after it");

        await Eventually(async () => (await JwksKids(port)).Contains(Kid(rotated)));
        (await SigningKid(port)).Should().Be(Kid(first), "verifiers may not know the new one yet");
        await Eventually(async () => await SigningKid(port) == Kid(rotated));
        (await JwksKids(port)).Should().BeEquivalentTo(Kid(first), Kid(rotated));

        var after = await Keys();
        after.Select(State).Should().Equal("retiring", "signing");
        after[0].GetProperty("gone_at").GetInt64().Should().Be(rotated.GetProperty("signs_from").GetInt64() + 86_400 + 600);

        var table = await _cli.Run("keys", "list");
        var lines = table.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        lines[0].Should().MatchRegex("^KID +ALGORITHM +STATE +CREATED +SIGNS FROM +GONE AT$");
        lines[1].Should().MatchRegex($"^{Kid(first)} +RS256 +retiring +[0-9T:-]{{19}}Z +[0-9T:-]{{19}}Z +[0-9T:-]{{19}}Z$");
        lines[2].Should().MatchRegex($"^{Kid(rotated)} +ES256 +signing +[0-9T:-]{{19}}Z +[0-9T:-]{{19}}Z$");
        lines.Should().HaveCount(3);
    }

    [Fact]
    public async Task A_key_rotated_now_signs_at_once_and_the_one_before_stays_published()
    {
        var port = RunningProgram.FreePort();
        await using var program = await Serve(port);
        var first = await SigningKid(port);

        var rotated = await _cli.Run("keys", "rotate", "--now");

        (rotated.ExitCode, rotated.Output).Should().Be((0, ""));
        rotated.Error.Should().MatchRegex("^Published the new signing key [A-Za-z0-9_][A-Za-z0-9_-]{42} for RS256; it signs from [0-9T:-]{19}Z\\.\n$");
        var kid = rotated.Error.Split(' ')[5];
        await Eventually(async () => await SigningKid(port) == kid);
        (await JwksKids(port)).Should().BeEquivalentTo(first, kid);
    }

    [Fact]
    public async Task A_retired_key_leaves_the_JWKS_and_a_new_one_signs_where_none_waits()
    {
        var port = RunningProgram.FreePort();
        await using var program = await Serve(port);
        var leaked = await SigningKid(port);

        var retired = Json(await _cli.Run("keys", "retire", leaked, "--json"));

        retired.GetProperty("retired").GetString().Should().Be(leaked);
        State(retired.GetProperty("signing")).Should().Be("signing");
        await Eventually(async () => !(await JwksKids(port)).Contains(leaked));
        (await JwksKids(port)).Should().Equal(Kid(retired.GetProperty("signing")));
        (await SigningKid(port)).Should().Be(Kid(retired.GetProperty("signing")));

        var again = await _cli.Run("keys", "retire", leaked);
        (again.ExitCode, again.Output).Should().Be((1, ""));
        again.Error.Should().Be($"There is no signing key \"{leaked}\"; \"keys list\" shows those that there are.\n");
    }

    [Fact]
    public async Task For_a_retired_key_that_signed_the_published_one_takes_over()
    {
        var port = RunningProgram.FreePort();
        await using var program = await Serve(port);
        var leaked = await SigningKid(port);
        var waiting = Kid(Json(await _cli.Run("keys", "rotate", "--json")));

        var retired = await _cli.Run("keys", "retire", leaked);

        (retired.ExitCode, retired.Output, retired.Error).Should().Be((0, "", $"Retired the signing key {leaked}. {waiting} signs now.\n"));
        await Eventually(async () => await SigningKid(port) == waiting);
        (await JwksKids(port)).Should().Equal(waiting);
        (await Keys()).Select(State).Should().Equal("signing");
    }

    [Fact]
    [Trait("Storage", "Sqlite")]
    public async Task A_new_master_key_is_in_use_at_once_and_nothing_else_changes()
    {
        var port = RunningProgram.FreePort();
        await using (var program = await Serve(port))
        {
            var before = await JwksKids(port);
            var rewrapped = await _cli.Run("keys", "rewrap", "--new-master-key", _folder.Write("new.key", NewKey));

            (rewrapped.ExitCode, rewrapped.Output).Should().Be((0, ""));
            rewrapped.Error.Should().Be(
                $"Encrypted under the new master key: signing keys 1, client secrets 1.\nIt is in {_folder.File("token-service.master-key")}. " +
                $"The one before is in {_folder.File("token-service.master-key.previous")}: backups of the store from before need it.\n");
            File.ReadAllText(_folder.File("token-service.master-key")).Should().Be(NewKey);
            File.GetUnixFileMode(_folder.File("token-service.master-key")).Should().Be(UnixFileMode.UserRead | UnixFileMode.UserWrite);

            // The service goes on, with what it had and with what comes.
            var rotated = Kid(Json(await _cli.Run("keys", "rotate", "--now", "--json")));
            await Eventually(async () => await SigningKid(port) == rotated);
            (await JwksKids(port)).Should().BeEquivalentTo([.. before, rotated]);
            program.Printed.Should().NotContain("cannot be read").And.NotContain(NewKey.Trim());

            // Once more, to the same and to another.
            await Refused("^The master key of an earlier change is still in", "--new-master-key", _folder.File("new.key"));
            File.Move(_folder.File("token-service.master-key.previous"), _folder.File("kept"));
            await Refused("is the master key in use already", "--new-master-key", _folder.File("new.key"));
            var second = Json(await _cli.Run("keys", "rewrap", "--json", "--new-master-key", _folder.Write("second.key", SecondKey)));
            (second.GetProperty("signing_keys").GetInt32(), second.GetProperty("client_secrets").GetInt32()).Should().Be((2, 1));
            second.GetProperty("previous_master_key_file").GetString().Should().Be(_folder.File("token-service.master-key.previous"));
            File.ReadAllText(_folder.File("token-service.master-key.previous")).Should().Be(NewKey);
        }

        await using var restarted = await Serve(port);
        (await SigningKid(port)).Should().NotBeNull();
        Directory.GetFiles(_folder.Path, "*.next").Should().BeEmpty();

        async Task Refused(string message, params string[] args)
        {
            var finished = await _cli.Run(["keys", "rewrap", .. args]);
            finished.ExitCode.Should().Be(1);
            finished.Error.Should().MatchRegex(message);
        }
    }

    [Fact]
    public async Task Where_a_setting_names_the_master_key_the_operator_puts_the_new_one_into_its_place_and_the_service_goes_on()
    {
        var port = RunningProgram.FreePort();
        var (old, fresh) = (_folder.Write("old.key", SecondKey), _folder.Write("new.key", NewKey));
        await using var program = await Serve(port, $"--TokenService:MasterKeyFile={old}");
        var kid = await SigningKid(port);

        var rewrapped = await _cli.Run("keys", "rewrap", "--new-master-key", fresh, $"--TokenService:MasterKeyFile={old}");

        rewrapped.ExitCode.Should().Be(0, rewrapped.Error);
        rewrapped.Error.Should().EndWith(
            $"Now put {fresh} into the place of {old}, or set TokenService:MasterKeyFile to it: the store does not open with the old one any more.\n");
        (File.ReadAllText(old), File.Exists($"{old}.previous"), File.Exists($"{old}.next")).Should().Be((SecondKey, false, false));
        await program.Prints("does not open");
        (await SigningKid(port)).Should().Be(kid, "tokens go out meanwhile");
        (await _cli.Run("keys", "rotate", $"--TokenService:MasterKeyFile={old}")).Error.Should().Contain("does not open");

        File.Move(fresh, old, overwrite: true);
        await program.Prints("The store can be read again");
        (await _cli.Run("keys", "rotate", $"--TokenService:MasterKeyFile={old}")).ExitCode.Should().Be(0);
        await Eventually(async () => (await JwksKids(port)).Length == 2);
    }

    [Fact]
    [Trait("Storage", "Sqlite")]
    public async Task Each_refusal_is_one_line_and_changes_nothing()
    {
        (await _cli.Run("keys", "list", "--json")).Output.Should().Be("[]\n");
        await Refused("There is no signing key \"unknown\"", "retire", "unknown");
        await Refused("holds nothing encrypted yet", "rewrap", "--new-master-key", _folder.Write("new.key", NewKey));
        File.Exists(_folder.File("token-service.master-key")).Should().BeFalse("nothing was made");

        (await _cli.Run("keys", "rotate")).ExitCode.Should().Be(0, "the first key may come from a command");
        var (before, key) = (await _cli.Run("keys", "list")).Output is var list ? (list, File.ReadAllText(_folder.File("token-service.master-key"))) : default;
        before.Should().Contain("signing");
        await Refused("There is no signing key \"\\u001B[31m\"", "retire", "\u001b[31m");
        await Refused("cannot be read", "rewrap", "--new-master-key", _folder.File("missing"));
        await Refused("must hold 32 random bytes in base64", "rewrap", "--new-master-key", _folder.Write("short.key", "AAAA"));
        await Refused("is the master key in use already", "rewrap", "--new-master-key", _folder.File("token-service.master-key"));
        await Refused("TokenService:KeyRotation is \"soon\"", "rotate", "--TokenService:KeyRotation=soon");
        await Refused("there is no such file", "rotate", "--TokenService:MasterKeyFile=other.key");
        await Refused("The signing key", "rotate", $"--TokenService:MasterKeyFile={_folder.File("new.key")}");
        await Refused("does not open", "rewrap", "--new-master-key", _folder.File("token-service.master-key"), $"--TokenService:MasterKeyFile={_folder.File("new.key")}");

        (await _cli.Run("keys", "list")).Output.Should().Be(before);
        File.ReadAllText(_folder.File("token-service.master-key")).Should().Be(key);
        Directory.GetFiles(_folder.Path, "token-service.master-key*").Should().ContainSingle();

        async Task Refused(string message, params string[] args)
        {
            var finished = await _cli.Run(["keys", .. args]);
            finished.ExitCode.Should().Be(1, finished.Output + finished.Error);
            finished.Error.Should().Contain(message);
            finished.Error.TrimEnd('\n').Should().NotContain("\n");
            finished.Output.Should().BeEmpty();
        }
    }

    [Theory]
    [InlineData("keys")]
    [InlineData("keys", "rotat")]
    [InlineData("keys", "retire")]
    [InlineData("keys", "retire", "a", "b")]
    [InlineData("keys", "rewrap")]
    [InlineData("keys", "rotate", "--soon")]
    public async Task Wrong_usage_exits_with_2(params string[] args)
    {
        var finished = await _cli.Run(args);

        (finished.ExitCode, finished.Output).Should().Be((2, ""));
        finished.Error.Should().EndWith("See --help.\n");
    }

    [Theory]
    [InlineData("rewrap", "keys", "--help")]
    [InlineData("GONE|retiring", "keys", "list", "--help")]
    [InlineData("--now", "keys", "rotate", "--help")]
    [InlineData("<KID>", "keys", "retire", "--help")]
    [InlineData("--new-master-key <FILE>", "keys", "rewrap", "--help")]
    public async Task Help_is_on_standard_output(string says, params string[] args)
    {
        var finished = await _cli.Run(args);

        (finished.ExitCode, finished.Error).Should().Be((0, ""));
        finished.Output.Should().MatchRegex(says);
    }

    internal const string NewKey = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n";

    internal const string SecondKey = "QUJDREVGR0hJSktMTU5PUEFCQ0RFRkdISUpLTE1OT1A=\n";

    private Task<RunningProgram> Serve(int port, params string[] settings)
    {
        _folder.Write("clients.json", AssertionClients.File);
        return _cli.Serve(port, ["--TokenService:ApplyFile=clients.json", .. settings]);
    }

    private async Task<JsonElement[]> Keys() => [.. Json(await _cli.Run("keys", "list", "--json")).EnumerateArray()];

    private static string Kid(JsonElement key) => key.GetProperty("kid").GetString()!;

    private static string State(JsonElement key) => key.GetProperty("state").GetString()!;

    private static async Task<string> SigningKid(int port)
    {
        var answer = await CommandTests.TokenOf(port, AssertionClients.BasicJob, AssertionClients.BasicSecret);
        answer.Status.Should().Be(200, answer.Body);
        return new JsonWebToken(answer.AccessToken).Kid;
    }

    private static async Task<string[]> JwksKids(int port)
    {
        using var http = new HttpClient();
        using var jwks = JsonDocument.Parse(await http.GetStringAsync(new Uri($"http://127.0.0.1:{port}/.well-known/jwks.json")));
        return [.. jwks.RootElement.GetProperty("keys").EnumerateArray().Select(Kid)];
    }

    private static async Task Eventually(Func<Task<bool>> holds)
    {
        for (var i = 0; i < 600; i++)
        {
            if (await holds())
            {
                return;
            }

            await Task.Delay(100);
        }

        throw new TimeoutException("It did not come true within a minute.");
    }

    private static JsonElement Json(Finished finished)
    {
        finished.ExitCode.Should().Be(0, finished.Error);
        return JsonDocument.Parse(finished.Output).RootElement;
    }
}
