using System;
using System.IO;
using System.Linq;
using System.Net.Http;
using System.Text.Json;
using System.Text.RegularExpressions;
using System.Threading.Tasks;
using FluentAssertions;
using TokenService.Tests.Support;
using Xunit;

namespace TokenService.Tests.Contracts;

/// <summary>The console in Chromium, and the page about it.</summary>
[Trait("Storage", "Sqlite")]
public sealed partial class ConsolePageTests(ConsolePageTests.Fixture fixture) : IClassFixture<ConsolePageTests.Fixture>
{
    private const string Evil = "<script>alert(1)</script>";
    private const string Programs = "npm chromium";
    private const string Install = "apt-get install nodejs npm chromium";

    private static readonly string s_long = "long-" + new string('x', 251);

    private JsonElement Found => fixture.Found!.Value;

    [NeedsFact(Programs, Install)]
    public void Every_page_is_shown_light_and_dark_and_at_the_width_of_a_phone_and_none_scrolls_sideways()
    {
        string[] pages = ["sign-in", "overview", "clients", "clients-unused", "client", "keys", "refusals", "token", "not-found"];
        var expected = pages.SelectMany(page => (string[])[$"{page}-wide-light", $"{page}-phone-light", $"{page}-wide-dark", $"{page}-phone-dark"])
            .Concat(["decoded", "decoded-phone-dark", "decoded-bad"]);

        Visits().Select(visit => visit.GetProperty("name").GetString()).Should().BeEquivalentTo(expected);
        Visits().Where(visit => visit.GetProperty("scrolls").GetBoolean()).Should().BeEmpty();
        foreach (var name in expected)
        {
            new FileInfo(Path.Combine(Fixture.Screenshots, name + ".png")).Length.Should().BeGreaterThan(5_000, name);
        }
    }

    [NeedsFact(Programs, Install)]
    public void axe_finds_nothing_wrong_and_no_page_reports_an_error()
    {
        Visits().SelectMany(visit => visit.GetProperty("faults").EnumerateArray().Select(fault => $"{visit.GetProperty("name")}: {fault}")).Should().BeEmpty();
        Found.GetProperty("errors").EnumerateArray().Select(error => error.GetString()).Should().BeEmpty();
    }

    [NeedsFact(Programs, Install)]
    public void What_others_have_named_is_text()
    {
        Found.GetProperty("dialogs").GetInt32().Should().Be(0);
        Text("client-wide-light").Should().StartWith($"{Evil}\n");
        Text("clients-phone-dark").Should().Contain($"{Evil}\n{Evil}").And.Contain(s_long);
        Text("refusals-phone-light").Should().Contain(Evil);
    }

    [NeedsFact(Programs, Install)]
    public void All_of_it_can_be_done_by_keyboard()
    {
        var keyboard = Found.GetProperty("keyboard");

        (keyboard.GetProperty("status").GetInt32(), keyboard.GetProperty("heading").GetString()).Should().Be((401, "Overview"));
        Texts(keyboard, "toForm").Should().Equal("Skip to the content", "token");
        Texts(keyboard, "toDecoder").Should().Equal("Skip to the content", "Overview", "Clients", "Keys", "Refusals", "Token");
        (keyboard.GetProperty("outline").GetString(), keyboard.GetProperty("verdict").GetString()).Should().Be(("solid", "Good"));
        new Uri(keyboard.GetProperty("url").GetString()!).PathAndQuery.Should().Be("/console/token", "a token is in no address");
    }

    [NeedsFact(Programs, Install)]
    public void The_browser_keeps_the_token_from_scripts_and_other_sites_and_forgets_it_at_the_sign_out()
    {
        var keyboard = Found.GetProperty("keyboard");

        var cookie = keyboard.GetProperty("cookies").EnumerateArray().Should().ContainSingle().Subject;
        (cookie.GetProperty("httpOnly").GetBoolean(), cookie.GetProperty("sameSite").GetString(), cookie.GetProperty("path").GetString())
            .Should().Be((true, "Strict", "/console"));
        keyboard.GetProperty("left").GetInt32().Should().Be(0);
        Found.GetProperty("foreign").GetString().Should().Be("Not from here");
    }

    [NeedsFact(Programs, Install)]
    public void The_chart_goes_on_by_itself_and_without_JavaScript_it_is_there_as_it_was()
    {
        var (live, plain) = (Found.GetProperty("live"), Found.GetProperty("plain"));

        live.GetProperty("word").GetString().Should().Be("Live");
        Texts(live, "after")[0].Should().Be($"{int.Parse(Texts(live, "before")[0], System.Globalization.CultureInfo.InvariantCulture) + 1}");
        Texts(live, "after")[1].Should().NotBe(Texts(live, "before")[1], "the bar has grown");
        (plain.GetProperty("heading").GetString(), plain.GetProperty("bars").GetInt32(), plain.GetProperty("issued").GetString(), plain.GetProperty("live").GetBoolean())
            .Should().Be(("Overview", 72, Texts(live, "after")[0], false));
        plain.GetProperty("verdict").GetString().Should().Be("Good");
    }

    [NeedsFact("bash curl", "apt-get install bash curl")]
    public async Task Every_command_of_the_page_works()
    {
        using var folder = new TemporaryFolder();
        var (port, management) = (RunningProgram.FreePort(), RunningProgram.FreePort());
        var blocks = Shell().Matches(await File.ReadAllTextAsync(Repository.File("docs", "console.md"))).Select(match => match.Groups[1].Value
            .Replace("localhost:5080", $"127.0.0.1:{port}", StringComparison.Ordinal)
            .Replace("localhost:9464", $"127.0.0.1:{management}", StringComparison.Ordinal)
            .Replace("dotnet run --project TokenService --", $"'{Repository.Program}' --contentRoot='{folder.Path}' --environment=Development", StringComparison.Ordinal)).ToList();
        blocks.Should().HaveCount(4);
        var start = blocks[0].TrimEnd('\n').Split(" -- ")[^1].Split(' ')[^1];
        start.Should().Be($"--TokenService:Management:Url=http://127.0.0.1:{management}");
        await using var service = await new Cli(folder, "Development").Serve(port, start);

        var finished = await RunningProgram.Run("bash", ["-c", $"set -euo pipefail\n{blocks[1]}sleep 2.5\n{blocks[2]}echo \"$TOKEN\"\n{blocks[3]}"], folder.Path);

        finished.ExitCode.Should().Be(0, finished.Error);
        var lines = finished.Output.TrimEnd('\n').Split('\n');
        lines[^2].Should().StartWith("eyJ");
        JsonDocument.Parse(lines[^1]).RootElement.GetProperty("issued").GetArrayLength().Should().Be(72);
    }

    [Fact]
    public async Task No_token_that_it_is_given_is_in_any_log_line_at_any_level()
    {
        using var folder = new TemporaryFolder();
        folder.Write("clients.json", ConsoleVisitor.File);
        var (port, management) = (RunningProgram.FreePort(), RunningProgram.FreePort());
        await using var program = await new Cli(folder).Serve(
            port, "--TokenService:ApplyFile=clients.json", $"--TokenService:Management:Url=http://127.0.0.1:{management}",
            "--Logging:LogLevel:Default=Trace", "--Logging:Console:LogLevel:Default=Trace", "--Logging:Console:LogLevel:Microsoft.AspNetCore=Trace",
            "--Logging:Console:LogLevel:Microsoft.AspNetCore.Hosting.Diagnostics=Trace");
        var token = (await TokenQueries.Post(new($"http://127.0.0.1:{port}"), "/oauth2/token", "grant_type=client_credentials", ConsoleVisitor.Operator)).AccessToken;
        using var http = new HttpClient { BaseAddress = new($"http://127.0.0.1:{management}") };

        foreach (var (path, sent) in ((string, string)[])[("login", token), ("login", token + "x"), ("token", token)])
        {
            using var request = new HttpRequestMessage(HttpMethod.Post, $"/console/{path}") { Content = RunningService.Form($"token={sent}") };
            request.Headers.Authorization = new("Bearer", token);
            using var answer = await http.SendAsync(request);
        }

        await program.Prints("The console was opened from 127.0.0.1 with a token of operator.");
        await program.Prints("The console was not opened from 127.0.0.1: The token is none of this service");
        token.Split('.')[1..].Should().OnlyContain(part => !program.Printed.Contains(part, StringComparison.Ordinal));
    }

    private JsonElement.ArrayEnumerator Visits() => Found.GetProperty("visits").EnumerateArray();

    private string Text(string name) => Visits().Single(visit => visit.GetProperty("name").GetString() == name).GetProperty("text").GetString()!;

    private static string[] Texts(JsonElement element, string member) => [.. element.GetProperty(member).EnumerateArray().Select(text => text.GetString()!)];

    [GeneratedRegex("```sh\n(.*?)```", RegexOptions.Singleline)]
    private static partial Regex Shell();

    /// <summary>One walk of a browser through all pages.</summary>
    public sealed class Fixture : IAsyncLifetime
    {
        /// <summary>Where a picture of each page is, to be looked at.</summary>
        internal static string Screenshots { get; } = Path.Combine(AppContext.BaseDirectory, "console-screenshots");

        private static readonly string s_folder = Repository.File("TokenService.Tests", "Contracts", "ConsoleBrowser");

        internal JsonElement? Found { get; private set; }

        public async Task InitializeAsync()
        {
            // xunit makes fixtures for skipped tests too, and one that fails would fail them.
            if (new NeedsFactAttribute(Programs, "").Skip is not null)
            {
                return;
            }

            await NodePackages.Install(s_folder);
            Directory.CreateDirectory(Screenshots);
            var scopes = Enumerable.Range(0, 40).Select(i => $"area-{i}.read").Append(new string('s', 200)).ToList();
            await using var console = await ConsoleVisitor.With(null, ConsoleVisitor.File
                .Replace("\"resources\": [", $$"""
                    "resources": [ { "resource": "urn:many", "scopes": {{JsonSerializer.Serialize(scopes.Select(scope => new { name = scope }))}} },
                    """, StringComparison.Ordinal)
                .Replace("\"clients\": [", $$"""
                    "clients": [
                      { "client_id": "{{Evil}}", "client_name": "{{Evil}}", "client_secret": "evil-secret-0123456789abcdef0123456789", "scope": "orders.read" },
                      { "client_id": "{{s_long}}", "client_name": "{{new string('n', 200)}}", "client_secret": "long-secret-0123456789abcdef0123456789",
                        "scope": "{{string.Join(' ', scopes)}}" },
                      { "client_id": "ends-soon", "client_secret": "soon-secret-0123456789abcdef0123456789", "scope": "orders.read",
                        "client_secret_expires_at": {{DateTimeOffset.UtcNow.AddDays(3).ToUnixTimeSeconds()}} },
                    """, StringComparison.Ordinal));
            await console.Run("clients", "disable", Sample.FormJob);
            await console.Run("keys", "rotate");
            for (var i = 0; i < 7; i++)
            {
                await console.Service.GetToken();
            }

            await console.Service.Token("grant_type=client_credentials", $"{Evil}:wrong");
            await console.Service.Token("grant_type=client_credentials&scope=orders.write", TokenQueries.Job);
            await StoreFile.Until(() => console.Get("/console/refusals").GetAwaiter().GetResult().Body.Contains("invalid_scope", StringComparison.Ordinal));
            var given = JsonSerializer.Serialize(new
            {
                chromium = "/usr/bin/chromium",
                port = console.Url.Port,
                token = await console.Service.GetToken(ConsoleVisitor.Operator),
                client = Evil,
                folder = Screenshots,
                issuer = console.Service.Url.GetLeftPart(UriPartial.Authority),
                basic = TokenQueries.Job,
            });

            var walk = await RunningProgram.Run("node", [Path.Combine(s_folder, "visit.mjs"), given]);
            walk.ExitCode.Should().Be(0, walk.Error);
            Found = JsonDocument.Parse(walk.Output).RootElement;
        }

        public Task DisposeAsync() => Task.CompletedTask;
    }
}
