using System;
using System.Diagnostics;
using System.Net.Http;
using System.Threading.Tasks;
using FluentAssertions;
using Microsoft.IdentityModel.JsonWebTokens;
using TokenService.Tests.Support;
using Xunit;
using Xunit.Abstractions;

namespace TokenService.Tests.Operations;

/// <summary>The wall clock of a running process is set, and set back, as <see cref="ClockStepTests"/> does with a clock of its own making.</summary>
public sealed class LiveClockStepTests(ITestOutputHelper output) : IAsyncLifetime, IDisposable
{
    private const string Basic = $"{AssertionClients.BasicJob}:{AssertionClients.BasicSecret}";

    private static readonly TimeSpan s_millisecond = TimeSpan.FromMilliseconds(1);
    private static readonly TimeSpan s_day = TimeSpan.FromDays(1);

    // What is done once a second is done a few times in it, and what is done without end is seen.
    private static readonly TimeSpan s_while = TimeSpan.FromSeconds(4);

    private readonly TemporaryFolder _folder = new();
    private readonly HttpClient _http = new();
    private readonly int _port = RunningProgram.FreePort();
    private ClockShift _clock = null!;
    private RunningProgram? _program;

    // Where the clock stands; nothing where it goes.
    private DateTimeOffset? _stopped;
    private TimeSpan _shift;

    private DateTimeOffset Now => _stopped ?? (DateTimeOffset.UtcNow + _shift);

    private string Issuer => $"http://127.0.0.1:{_port}";

    // Its clients are a day older than its clock.
    public async Task InitializeAsync()
    {
        _clock = await ClockShift.Make(_folder.File("clock"), -s_day);
        var cli = new Cli(_folder) { Variables = _clock.Variables };
        ReplicaSet.Succeeded(await cli.Run("apply", _folder.Write("applied.json", Ledger.File)));
        Set(TimeSpan.Zero);
        _program = await cli.Serve(
            _port,
            "--TokenService:RateLimit:FailuresPerMinute=0",
            "--TokenService:SigningAlgorithm=ES256");
    }

    public async Task DisposeAsync()
    {
        if (_program is not null)
        {
            await _program.DisposeAsync();
        }
    }

    public void Dispose()
    {
        _http.Dispose();
        _folder.Dispose();
    }

    [NeedsTheory(ClockShift.Programs, ClockShift.InstalledBy)]
    [InlineData(30, true, 0)]
    [InlineData(-30, true, 0)]
    [InlineData(-3600, false, 0)]
    [InlineData(400 * 86_400, false, 1)]
    [InlineData(-400 * 86_400, false, 0)]
    public async Task A_step_of_a_running_process_and_the_step_back(int seconds, bool alive, int newKeys)
    {
        var (token, revoked, used) = (await Token(), await Token(), Assertion());
        (await Post(TokenQueries.Revocation, $"token={revoked}", Basic)).Status.Should().Be(200);
        (await Send(used)).Should().Be(200);
        var version = Version();
        var born = Now - s_day;

        Set(TimeSpan.FromSeconds(seconds));
        await Holds();
        (await IsActive(token)).Should().Be(alive);

        Set(TimeSpan.Zero);
        await Holds();
        (await IsActive(token)).Should().BeTrue();
        _program!.Printed.Should().NotContain("\"LogLevel\":\"Error\"");

        async Task Holds()
        {
            await Answers();
            await Quietly();
            await Answers();
            StoreFile.Texts(_folder, "SELECT kid FROM signing_keys").Should().HaveCount(1 + newKeys);
            (Version() - version).Should().Be(newKeys, "nothing else is to be changed");
        }

        async Task Answers()
        {
            var before = Now;
            var fresh = new JsonWebToken(await Token());
            fresh.IssuedAt.Should().BeOnOrAfter(Seconds(before)).And.BeOnOrBefore(Now.UtcDateTime);
            (await _http.GetStringAsync(new Uri($"{Issuer}/.well-known/jwks.json"))).Should().Contain(fresh.Kid);
            (await IsActive(fresh.EncodedToken)).Should().Be(before > born, "before that there was no such client");
            (await IsActive(revoked)).Should().BeFalse();
            (await Send(used)).Should().Be(401);
            var assertion = Assertion();
            (await Send(assertion)).Should().Be(200);
            (await Send(assertion)).Should().Be(401);
        }
    }

    [NeedsFact(ClockShift.Programs, ClockShift.InstalledBy)]
    public async Task A_millisecond_decides_at_each_edge_whichever_way_the_clock_was_set()
    {
        var start = Seconds(DateTimeOffset.UtcNow);
        Stop(start);
        var token = await Token();
        var (issued, expires) = (new JsonWebToken(token).IssuedAt, new JsonWebToken(token).ValidTo);
        (issued, expires).Should().Be((start, start.AddHours(1)));
        var exp = start.AddMinutes(5);
        var skew = TimeSpan.FromSeconds(30);

        // There, a millisecond after it, and back.
        for (var i = 0; i < 2; i++)
        {
            await Edge(expires, () => IsActive(token), before: true);
            await Edge(issued.AddMinutes(-1), () => IsActive(token), before: false);
            await Edge(exp + skew, () => Accepts(draft => draft.With("exp", Unix(exp)).Without("iat")), before: true);
            await Edge(exp - TimeSpan.FromMinutes(10) - skew, () => Accepts(draft => draft.With("exp", Unix(exp)).Without("iat")), before: false);
            await Edge(exp - skew, () => Accepts(draft => draft.With("iat", Unix(exp))), before: false);
            await Edge(exp - skew, () => Accepts(draft => draft.With("nbf", Unix(exp))), before: false);
        }

        StoreFile.Number(_folder, "SELECT COUNT(*) FROM signing_keys").Should().Be(1);

        async Task Edge(DateTime edge, Func<Task<bool>> holds, bool before)
        {
            foreach (var step in (TimeSpan[])[-s_millisecond, TimeSpan.Zero, s_millisecond, -s_millisecond])
            {
                Stop(edge + step);
                (await holds()).Should().Be(step < TimeSpan.Zero == before, $"it is {Now:O}, and {edge:O} is the edge");
            }
        }

        async Task<bool> Accepts(Func<AssertionDraft, AssertionDraft> change)
        {
            var assertion = Signed(change(Draft()));
            var status = await Send(assertion);
            status.Should().BeOneOf(200, 401);
            (await Send(assertion)).Should().Be(401, "it was used, or is refused as before");
            return status == 200;
        }
    }

    [NeedsFact(ClockShift.Programs, ClockShift.InstalledBy)]
    public async Task A_key_that_falls_due_has_one_successor_however_often_its_millisecond_comes()
    {
        var first = new JsonWebToken(await Token()).Kid;
        var signsFrom = DateTimeOffset.FromUnixTimeMilliseconds(StoreFile.Number(_folder, "SELECT COALESCE(signs_from, created_at) FROM signing_keys"));
        var due = signsFrom.AddDays(90);
        var made = due - s_day;

        Stop((made - s_millisecond).UtcDateTime);
        await Quietly();
        StoreFile.Number(_folder, "SELECT COUNT(*) FROM signing_keys").Should().Be(1);
        Stop(made.UtcDateTime);
        await StoreFile.Until(() => StoreFile.Number(_folder, "SELECT COUNT(*) FROM signing_keys") == 2);
        var version = Version();
        for (var i = 0; i < 3; i++)
        {
            Stop((made - s_millisecond).UtcDateTime);
            await Task.Delay(1500);
            Stop(made.UtcDateTime);
            await Task.Delay(1500);
        }

        await Quietly();
        Version().Should().Be(version);
        foreach (var (step, isFirst) in ((TimeSpan, bool)[])[(-s_millisecond, true), (TimeSpan.Zero, false), (-s_millisecond, true), (s_millisecond, false)])
        {
            Stop((due + step).UtcDateTime);
            (new JsonWebToken(await Token()).Kid == first).Should().Be(isFirst);
        }

        StoreFile.Number(_folder, "SELECT COUNT(*) FROM signing_keys").Should().Be(2);
    }

    private void Set(TimeSpan shift)
    {
        (_shift, _stopped) = (shift, null);
        _clock.Set(shift);
    }

    private void Stop(DateTime moment)
    {
        _stopped = new(moment, TimeSpan.Zero);
        _clock.Stop(_stopped.Value);
    }

    // Without a request, next to nothing is done.
    private async Task Quietly()
    {
        using var process = Process.GetProcessById(_program!.Id);
        var (processor, lines) = (process.TotalProcessorTime, Lines());
        await Task.Delay(s_while);
        process.Refresh();
        processor = process.TotalProcessorTime - processor;
        lines = Lines() - lines;
        output.WriteLine($"{Now:u}: {processor.TotalMilliseconds:0} ms of processor time and {lines} lines in {s_while.TotalSeconds} s");
        processor.Should().BeLessThan(s_while / 4);
        lines.Should().BeLessThan(10);

        int Lines() => _program.Printed.Split('\n').Length;
    }

    private async Task<string> Token()
    {
        var answer = await Post("/oauth2/token", "grant_type=client_credentials", Basic);
        answer.Status.Should().Be(200, answer.Body);
        return answer.AccessToken;
    }

    private async Task<bool> IsActive(string token)
        => (await Post(TokenQueries.Introspection, $"token={token}", Ledger.Asker)).Json.GetProperty("active").GetBoolean();

    private AssertionDraft Draft() => new AssertionDraft(AssertionClients.KeyJob, Issuer, Now).WithHeader("kid", "2");

    private static string Signed(AssertionDraft draft) => draft.SignedBy(AssertionClients.P256, "ES256");

    private string Assertion() => Signed(Draft());

    private async Task<int> Send(string assertion)
    {
        var answer = await Post("/oauth2/token", AssertionDraft.Form(assertion));
        answer.Status.Should().BeOneOf([200, 401], answer.Body);
        return answer.Status;
    }

    private Task<Answer> Post(string path, string form, string? basic = null) => Patient.Post(_http, new Uri(Issuer + path), form, basic);

    private long Version() => StoreFile.Number(_folder, "SELECT version FROM store_version");

    private static DateTime Seconds(DateTimeOffset time) => DateTimeOffset.FromUnixTimeSeconds(time.ToUnixTimeSeconds()).UtcDateTime;

    private static long Unix(DateTime time) => new DateTimeOffset(time, TimeSpan.Zero).ToUnixTimeSeconds();
}
