using System;
using System.Linq;
using System.Net.Http;
using System.Text.Json;
using System.Threading.Tasks;
using FluentAssertions;
using TokenService.Tests.Support;
using Xunit;
using static TokenService.Tests.Support.AssertionClients;

namespace TokenService.Tests.Commands;

/// <summary><c>explain</c> as an operator runs it: a process on the store of a running or stopped service.</summary>
public sealed class ExplainTests : IDisposable
{
    private const string Grant = "grant_type=client_credentials";
    private const string Setting = $"--TokenService:Issuer={Issuer}";

    private readonly TemporaryFolder _folder = new();
    private readonly Cli _cli;

    public ExplainTests() => _cli = new Cli(_folder);

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task A_refusal_is_explained_while_the_service_runs_and_after_it_was_stopped()
    {
        _folder.Write("clients.json", Sample.File);
        var port = RunningProgram.FreePort();
        string first, second;
        await using (var program = await _cli.Serve(port, "--TokenService:ApplyFile=clients.json"))
        {
            first = await Refused(port, $"{Grant}&client_id={Sample.Job}&client_secret={Sample.JobSecret}");
            await Task.Delay(2_000);

            var explained = await _cli.Run("explain", first);
            explained.ExitCode.Should().Be(0, explained.Error);
            explained.Error.Should().BeEmpty();
            explained.Output.Should().MatchRegex(
                $"^trace_id   {first}\n" +
                "time       20[0-9-]{8}T[0-9:]{8}[.][0-9]{3}Z\n" +
                "endpoint   /oauth2/token\n" +
                "address    127[.]0[.]0[.]1\n" +
                $"client_id  {Sample.Job}\n" +
                "error      invalid_client\n" +
                "check      token_endpoint_auth_method\n" +
                "expected   client_secret_basic, as registered\n" +
                "came       the right secret by client_secret_post\n$");
            program.Printed.Should().Contain(
                $"invalid_client: token_endpoint_auth_method: client \\u0022{Sample.Job}\\u0022 sent the right secret by client_secret_post; expected: client_secret_basic, as registered (trace_id {first})");

            // Stopped in the same moment as the answer comes.
            second = await Refused(port, $"{Grant}&client_secret={Sample.JobSecret}");
            await RunningProgram.Run("kill", ["-TERM", $"{program.Id}"]);
            await program.Ended();
        }

        var json = await _cli.Run("explain", second.ToUpperInvariant(), "--json");
        json.ExitCode.Should().Be(0, json.Error);
        var refusal = JsonDocument.Parse(json.Output).RootElement.EnumerateArray().Should().ContainSingle().Subject;
        refusal.EnumerateObject().Select(member => member.Name)
            .Should().Equal("trace_id", "time", "endpoint", "address", "error", "check", "expected", "came");
        refusal.GetProperty("trace_id").GetString().Should().Be(second);
        (refusal.GetProperty("check").GetString(), refusal.GetProperty("expected").GetString(), refusal.GetProperty("came").GetString())
            .Should().Be(("client_id", "client_id beside client_secret", "client_secret alone"));
        (json.Output + (await _cli.Run("explain", first)).Output).Should().NotContain(Sample.JobSecret);
    }

    [Fact]
    public async Task An_unknown_trace_id_is_one_line_and_1_and_wrong_usage_is_2()
    {
        foreach (var unknown in (string[])["0af7651916cd43dd8448eb211c80319c", "no trace id\n", "'; DROP TABLE refusals; --"])
        {
            var finished = await _cli.Run("explain", unknown);
            (finished.ExitCode, finished.Output).Should().Be((1, ""));
            finished.Error.Should().MatchRegex("^No refusal with the trace_id .* is kept in this store[^\n]*\n$");
        }

        foreach (var wrong in (string[][])[[], ["--client", "a"], ["--assertion", "f"], ["id", "--client", "a", "--assertion", "f"], ["id", "other"], ["--nothing"]])
        {
            var finished = await _cli.Run(["explain", .. wrong]);
            (finished.ExitCode, finished.Output).Should().Be((2, ""), string.Join(' ', wrong));
            finished.Error.Should().EndWith("See --help.\n").And.Match(line => line.Count(c => c == '\n') == 1);
        }

        var help = await _cli.Run("explain", "--help");
        (help.ExitCode, help.Error).Should().Be((0, ""));
        help.Output.Should().Contain("TRACE_ID").And.Contain("--assertion <FILE>").And.Contain("--client <ID>").And.Contain("--json");
    }

    [Fact]
    public async Task A_right_assertion_is_called_right_and_can_be_used_afterwards_and_then_not_again()
    {
        _folder.Write("clients.json", AssertionClients.File);
        var port = RunningProgram.FreePort();
        await using var program = await _cli.Serve(port, Setting, "--TokenService:ApplyFile=clients.json");
        foreach (var assertion in (string[])[Fresh(KeyJob).SignedBy(Rsa), Fresh(MacJob).SignedWith(MacSecret)])
        {
            var client = assertion.Length > 400 ? KeyJob : MacJob;
            var file = _folder.Write("right.jwt", assertion + "\n");
            for (var i = 0; i < 2; i++)
            {
                var right = await Explain(client, file);
                (right.ExitCode, right.Output, right.Error).Should().Be((0, $"The assertion is right: client \"{client}\" would be authenticated with it, once.\n", ""));
            }

            (await Explain(client, file, "--json")).Output.Should().Be("[]\n");
            using var http = new HttpClient();
            using var used = await http.PostAsync(new Uri($"http://127.0.0.1:{port}/oauth2/token"), RunningService.Form(AssertionDraft.Form(assertion)));
            ((int)used.StatusCode).Should().Be(200);

            var again = await Explain(client, file);
            (again.ExitCode, again.Output).Should().Be((1, "check      jti\nexpected   a jti of its own for each assertion; where the service's clock was set back, one that was made eleven minutes later\ncame       an assertion that was used before\n"));
            again.Error.Should().Be("The assertion has 1 fault and would be refused.\n");
        }
    }

    [Fact]
    public async Task Every_fault_is_listed_at_once_without_the_assertion()
    {
        await _cli.Run("apply", _folder.Write("clients.json", AssertionClients.File));
        var assertion = Fresh(OtherJob).With("aud", $"{Issuer}/oauth2/token").With("exp", 1_700_000_000).Without("jti").WithHeader("typ", "x")
            .SignedBy(ClientKeyPair.OfRsa());
        var file = _folder.Write("wrong.jwt", assertion);

        var faults = await Explain(KeyJob, file, "--json");

        faults.ExitCode.Should().Be(1);
        Checks(faults).Should().Equal("typ", "aud", "exp", "jti", "sub", "signature");
        JsonDocument.Parse(faults.Output).RootElement[1].GetRawText().Should().Be(
            $$"""{"check":"aud","expected":"aud must be the issuer, {{Issuer}}, as its only value","came":"\u0022{{Issuer}}/oauth2/token\u0022"}""");
        var plain = await Explain(KeyJob, file);
        plain.Output.Should().Contain($"check      sub\nexpected   the client that the assertion should be of\ncame       \"{OtherJob}\"\n\n");
        plain.Error.Should().Be("The assertion has 6 faults and would be refused.\n");
        foreach (var part in assertion.Split('.'))
        {
            (faults.Output + faults.Error + plain.Output + plain.Error).Should().NotContain(part);
        }
    }

    [Fact]
    public async Task What_depends_on_the_registration_is_listed_too()
    {
        await _cli.Run("apply", _folder.Write("clients.json", AssertionClients.File));
        var right = Fresh(KeyJob);
        Check(await Explain("nobody", _folder.Write("a", Fresh("nobody").SignedBy(Rsa)), "--json"), "client_id");
        Check(await Explain(BasicJob, _folder.Write("a", Fresh(BasicJob).SignedBy(Rsa)), "--json"), "token_endpoint_auth_method");
        Check(await Explain(PsJob, _folder.Write("a", Fresh(PsJob).WithoutHeader("kid").SignedBy(Rsa)), "--json"), "alg");
        Check(await Explain(KeyJob, _folder.Write("a", Fresh(KeyJob).SignedWith("x")), "--json"), "alg");
        Check(await Explain(KeyJob, _folder.Write("a", right.WithHeader("kid", "9").SignedBy(Rsa)), "--json"), "kid");
        Check(await Explain(KeyJob, _folder.Write("a", Fresh(KeyJob).SignedBy(P256, "ES256")), "--json"), "alg");
        Check(await Explain(MacJob, _folder.Write("a", Fresh(MacJob).SignedWith("x")), "--json"), "signature");
        Check(await Explain(KeyJob, _folder.Write("a", Fresh(KeyJob).WithHeader("alg", "none").Signed(_ => [1])), "--json"), "alg");

        Endpoints.TokenEndpointRefusalTests.Disable(_folder, KeyJob);
        Check(await Explain(KeyJob, _folder.Write("a", Fresh(KeyJob).SignedBy(Rsa)), "--json"), "disabled");
        Check(await Explain(KeyJob, _folder.Write("a", "x.y"), "--json"), "client_assertion", "disabled");

        static void Check(Finished finished, params string[] expected)
        {
            finished.ExitCode.Should().Be(1, finished.Error);
            Checks(finished).Should().Equal(expected);
        }
    }

    [Fact]
    public async Task The_keys_at_a_jwks_uri_are_fetched_to_check_the_signature()
    {
        await using var host = await KeySetHost.Start(ClientKeyPair.Set(Rsa.Jwk("1")));
        await _cli.Run("apply", _folder.Write("clients.json", Resources(
            $$"""{ "client_id": "uri-job", "token_endpoint_auth_method": "private_key_jwt", "scope": "catalog.read", "jwks_uri": "{{host.Uri}}" }""")));
        var (right, wrong) = (_folder.Write("right", Fresh("uri-job").SignedBy(Rsa)), _folder.Write("wrong", Fresh("uri-job").SignedBy(ClientKeyPair.OfRsa())));

        var good = await Explain("uri-job", right);
        good.ExitCode.Should().Be(0, good.Output);
        good.Error.Should().Contain(host.Uri.AbsoluteUri).And.Contain("may still have those of its last fetch");
        Checks(await Explain("uri-job", wrong, "--json")).Should().Equal("signature");

        host.Fail();
        var away = await Explain("uri-job", right, "--json");
        Checks(away).Should().Equal("jwks_uri");
        away.Error.Should().Contain($"The key set at {host.Uri.AbsoluteUri} cannot be fetched: ");
    }

    [Fact]
    public async Task The_file_may_be_anything()
    {
        await _cli.Run("apply", _folder.Write("clients.json", AssertionClients.File));
        One(await Explain(KeyJob, _folder.File("missing")), "cannot be read");
        One(await Explain(KeyJob, _folder.Path), "cannot be read");
        One(await Explain(KeyJob, "/dev/zero"), "is larger than 65536 bytes");
        One(await Explain(KeyJob, _folder.Write("huge", new string('x', 5_000_000))), "is larger than 65536 bytes");

        var binary = new byte[9_000];
        new Random(1).NextBytes(binary);
        System.IO.File.WriteAllBytes(_folder.File("binary"), binary);
        Checks(await Explain(KeyJob, _folder.File("binary"), "--json")).Should().Equal("client_assertion");
        Checks(await Explain(KeyJob, _folder.Write("empty", ""), "--json")).Should().Equal("client_assertion");
        Checks(await Explain(KeyJob, _folder.Write("long", new string('x', 20_000)), "--json")).Should().Equal("client_assertion");

        var piped = await RunningProgram.Run(
            "/bin/sh",
            ["-c", $"printf '%s\\n' \"$ASSERTION\" | '{Repository.Program}' explain --client {KeyJob} --assertion - --contentRoot='{_folder.Path}' {Setting}"],
            _folder.Path,
            ("ASSERTION", Fresh(KeyJob).SignedBy(Rsa)));
        (piped.ExitCode, piped.Output).Should().Be((0, $"The assertion is right: client \"{KeyJob}\" would be authenticated with it, once.\n"), piped.Error);

        static void One(Finished finished, string words)
        {
            (finished.ExitCode, finished.Output).Should().Be((1, ""));
            finished.Error.Should().Contain(words).And.Match(line => line.Count(c => c == '\n') == 1);
        }
    }

    [Fact]
    public async Task Without_an_issuer_nothing_is_judged()
    {
        var finished = await _cli.Run("explain", "--client", KeyJob, "--assertion", _folder.Write("a", "x"));

        (finished.ExitCode, finished.Output).Should().Be((1, ""));
        finished.Error.Should().StartWith("TokenService:Issuer is not set");
    }

    private static AssertionDraft Fresh(string clientId) => new(clientId, Issuer, DateTimeOffset.UtcNow);

    private static string?[] Checks(Finished finished)
        => [.. JsonDocument.Parse(finished.Output).RootElement.EnumerateArray().Select(fault => fault.GetProperty("check").GetString())];

    private Task<Finished> Explain(string client, string file, params string[] more)
        => _cli.Run(["explain", "--client", client, "--assertion", file, Setting, .. more]);

    private static async Task<string> Refused(int port, string form)
    {
        using var http = new HttpClient();
        using var response = await http.PostAsync(new Uri($"http://127.0.0.1:{port}/oauth2/token"), RunningService.Form(form));
        return (await Answer.Of(response)).Json.GetProperty("trace_id").GetString()!;
    }
}
