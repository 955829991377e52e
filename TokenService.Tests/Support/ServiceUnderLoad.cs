using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Linq;
using System.Net.Http;
using System.Text;
using System.Threading;
using System.Threading.Tasks;
using FluentAssertions;
using Xunit.Abstractions;

namespace TokenService.Tests.Support;

/// <summary>A service under load: those who come with secrets, and those who need the store.</summary>
internal sealed class ServiceUnderLoad : IAsyncDisposable
{
    private const string Basic = $"{AssertionClients.BasicJob}:{AssertionClients.BasicSecret}";
    private const string StoreIsAway = "cannot check this now";

    private static readonly TimeSpan s_longestWait = TimeSpan.FromSeconds(3);
    private static readonly TimeSpan s_longestRecovery = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan s_pause = TimeSpan.FromMilliseconds(20);

    private readonly CancellationTokenSource _end = new();
    private readonly Cli _cli;
    private readonly Uri _url;
    private readonly HttpClient _http;
    private readonly RunningProgram _program;
    private readonly string[] _never;
    private readonly List<TimeSpan> _recoveries = [];
    private long _settled;
    private readonly Task _load;
    private readonly Task<(int Count, TimeSpan Slowest)> _tokens;

    public Uri Url => _url;

    /// <summary>Its process.</summary>
    public int Id => _program.Id;

    private ServiceUnderLoad(Cli cli, Uri url, RunningProgram program, string[] never)
    {
        (_cli, _url, _program, _never, _http) = (cli, url, program, never, new HttpClient { BaseAddress = url });
        _load = Task.WhenAll(Enumerable.Range(0, 3).Select(_ => Ledger.Use(url, _end.Token, s_pause)));
        _tokens = Task.Run(Tokens);
    }

    public Ledger Ledger { get; } = new();

    private string LastPrinted => _program.Printed[^Math.Min(20_000, _program.Printed.Length)..];

    /// <summary>Starts it.</summary>
    /// <param name="folder">Where it is.</param>
    /// <param name="never">What neither it nor a command may print.</param>
    public static async Task<ServiceUnderLoad> Start(TemporaryFolder folder, params string[] never)
    {
        var (port, cli) = (RunningProgram.FreePort(), new Cli(folder));
        var applied = await cli.Run("apply", folder.Write("clients.json", Ledger.File));
        applied.ExitCode.Should().Be(0, applied.Error);
        return new(cli, new($"http://127.0.0.1:{port}"), await cli.Serve(port, "--TokenService:RateLimit:FailuresPerMinute=0"), never);
    }

    /// <summary>Lets a fault begin and end, and looks at all that the service says meanwhile.</summary>
    /// <param name="output">Told the figures.</param>
    /// <param name="what">The fault.</param>
    /// <param name="begin">Begins it.</param>
    /// <param name="end">Ends it.</param>
    /// <param name="visible">Whether it lasts, so that readiness must tell of it.</param>
    /// <param name="round">Names what is added.</param>
    public async Task Survives(ITestOutputHelper output, string what, Func<Task> begin, Func<Task> end, bool visible, int round)
    {
        await Add($"before-{round}");
        var began = Stopwatch.GetTimestamp();
        await begin();
        var adding = Add($"meanwhile-{round}");
        var health = "";
        if (visible)
        {
            while (!(health = await Ready()).StartsWith("Degraded: ", StringComparison.Ordinal))
            {
                Stopwatch.GetElapsedTime(began).Should().BeLessThan(s_longestRecovery, "it must be noticed");
                await Task.Delay(50);
            }

            await Task.Delay(2000);
            health = await Ready();
            health.Should().StartWith("Degraded: ");
        }

        await end();
        var back = Stopwatch.GetTimestamp();
        while (await Ready() != "Healthy" || !await NotesAssertions() || !await NotesRevocations())
        {
            Stopwatch.GetElapsedTime(back).Should().BeLessThan(s_longestRecovery, $"{await Ready()}\n{LastPrinted}");
            await Task.Delay(20);
        }

        var recovery = Stopwatch.GetElapsedTime(back);
        recovery.Should().BeLessThan(s_longestRecovery);
        _recoveries.Add(recovery);
        await adding;

        // What was in flight then is answered soon; after that all goes well.
        await Task.Delay(500);
        var settled = Stopwatch.GetTimestamp();
        await Task.Delay(1000);

        // A machine with other things to do has too few processors for a service that begins, and says so.
        var said = Ledger.Unavailable.Where(refused => refused.At > _settled && refused.What.Contains(StoreIsAway, StringComparison.Ordinal)).ToList();
        said.Where(refused => refused.At < began || refused.At > settled).Should().BeEmpty($"it was well then\n{LastPrinted}");
        var refused = said.ConvertAll(refused => refused.At);
        _settled = settled;
        await Ledger.Check(_url);
        output.WriteLine(
            $"{what}: recovered after {recovery.TotalMilliseconds:0} ms; {refused.Count} × 503, the last {Stopwatch.GetElapsedTime(back, refused.DefaultIfEmpty(back).Max()).TotalMilliseconds:0} ms after it was back; {health}");
    }

    /// <summary>Ends the load, and checks what there is.</summary>
    public async Task Ends(ITestOutputHelper output, string what)
    {
        await _end.CancelAsync();
        await _load;
        var (count, slowest) = await _tokens;
        await Ledger.Check(_url, all: true);
        output.WriteLine(
            $"{what}: {count} tokens by secret, the slowest {slowest.TotalMilliseconds:0} ms; the slowest of all {Ledger.Slowest.TotalMilliseconds:0} ms; longest recovery {_recoveries.Max().TotalMilliseconds:0} ms; {Ledger.Summary}");
        Ledger.Unanswered.Should().Be(0);
        Ledger.Assertions.Should().BePositive();
        Ledger.Revocations.Should().BePositive();
        count.Should().BeGreaterThan(50);
        slowest.Should().BeLessThan(s_longestWait);
        Ledger.Slowest.Should().BeLessThan(s_longestWait);
        _program.Printed.Should().NotContainAny([.. _never, "Failed to answer"]);
    }

    public async ValueTask DisposeAsync()
    {
        await _end.CancelAsync();
        await Task.WhenAll(_load, _tokens).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await _program.DisposeAsync();
        _http.Dispose();
        _end.Dispose();
    }

    private async Task<(int Count, TimeSpan Slowest)> Tokens()
    {
        var (count, slowest) = (0, TimeSpan.Zero);
        while (!_end.IsCancellationRequested)
        {
            var since = Stopwatch.GetTimestamp();
            var answer = await Post("/oauth2/token", "grant_type=client_credentials", Basic);
            var took = Stopwatch.GetElapsedTime(since);
            answer.Status.Should().Be(200, answer.Body);
            (count, slowest) = (count + 1, took > slowest ? took : slowest);
            await Task.Delay(s_pause);
        }

        return (count, slowest);
    }

    // A client that is added is there, or the command says in a line that it failed, and then nobody knows.
    private async Task Add(string id)
    {
        var added = await _cli.Run("clients", "add", "--id", id, "--scope", "catalog.read");
        if (added.ExitCode != 0)
        {
            added.ExitCode.Should().Be(1, added.Error);
            added.Error.TrimEnd('\n').Should().NotBeEmpty().And.NotContain("\n").And.NotContainAny(_never);
            return;
        }

        var secret = added.Output.Trim();
        var since = Stopwatch.GetTimestamp();
        while ((await Post("/oauth2/token", "grant_type=client_credentials", $"{id}:{secret}")).Status != 200)
        {
            // While the store is away, the service cannot know of it.
            if (await Ready() != "Healthy")
            {
                since = Stopwatch.GetTimestamp();
            }

            Stopwatch.GetElapsedTime(since).Should().BeLessThan(s_longestRecovery, "a change is known within that");
            await Task.Delay(50);
        }

        Ledger.Secret(id, secret);
    }

    private async Task<string> Ready()
    {
        using var response = await _http.GetAsync(new Uri("/health/ready", UriKind.Relative));
        var text = await response.Content.ReadAsStringAsync();
        ((int)response.StatusCode).Should().Be(200, text);
        return text;
    }

    private async Task<bool> NotesAssertions()
    {
        var now = DateTimeOffset.UtcNow;
        var assertion = new AssertionDraft(AssertionClients.KeyJob, _url.ToString().TrimEnd('/'), now)
            .With("exp", now.ToUnixTimeSeconds() + 500).WithHeader("kid", "2").SignedBy(AssertionClients.P256, "ES256");
        return (await Post("/oauth2/token", AssertionDraft.Form(assertion))).Status == 200;
    }

    private async Task<bool> NotesRevocations()
    {
        var token = (await Post("/oauth2/token", "grant_type=client_credentials", Basic)).AccessToken;
        return (await Post(TokenQueries.Revocation, $"token={token}", Basic)).Status == 200;
    }

    private async Task<Answer> Post(string path, string form, string? basic = null)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, new Uri(path, UriKind.Relative)) { Content = RunningService.Form(form) };
        if (basic is not null)
        {
            request.Headers.Authorization = new("Basic", Convert.ToBase64String(Encoding.UTF8.GetBytes(basic)));
        }

        using var response = await _http.SendAsync(request);
        return await Answer.Of(response);
    }
}
