using System;
using System.Collections.Generic;
using System.Linq;
using System.Net.Http;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using System.Threading.Tasks;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using TokenService.Administration;
using TokenService.Storage;

namespace TokenService.Tests.Support;

/// <summary>
/// The real service on a free port of the loopback, with a store of its own: in this process, or, with <c>TOKENSERVICE_HOST=Program</c>,
/// the program in a process of its own (<see cref="Repository.Program"/>). Tests that look inside the process, or need its monotonic
/// time to leap, have the trait <c>Host=InProcess</c>.
/// </summary>
internal sealed class RunningService : IAsyncDisposable
{
    /// <summary>How long a change to the store may go unseen by the program: it looks each second.</summary>
    private static readonly TimeSpan s_unseen = TimeSpan.FromSeconds(2.5);

    private static readonly bool s_runsProgram = Environment.GetEnvironmentVariable("TOKENSERVICE_HOST") switch
    {
        null or "" => false,
        "Program" => true,
        var other => throw new InvalidOperationException($"TOKENSERVICE_HOST is {other}; it can be Program, or not be set."),
    };

    private readonly TemporaryFolder? _own;
    private readonly CanaryWatch _canaries = new(new SocketsHttpHandler());
    private WebApplication? _app;
    private RunningProgram? _program;
    private (TimeProvider Time, ClockShift Shift)? _clock;

    private RunningService(TemporaryFolder? folder)
    {
        _own = folder is null ? new TemporaryFolder() : null;
        Folder = folder ?? _own!;
        Http = new HttpClient(_canaries);
    }

    public TemporaryFolder Folder { get; }

    public Uri Url => Http.BaseAddress!;

    /// <summary>A client of it. What is sent by this as a secret, and what it gets as a token, is looked for in the log at the end.</summary>
    public HttpClient Http { get; }

    public StoreWatch Store => App.Services.GetRequiredService<StoreWatch>();

    public KeyRotation KeyRotation => App.Services.GetServices<IHostedService>().OfType<KeyRotation>().Single();

    private WebApplication App => _app ?? throw new InvalidOperationException("A test that looks inside the service has the trait Host=InProcess.");

    /// <summary>Starts it in Development with the sample's clients.</summary>
    public static Task<RunningService> Start(params string[] settings) => Start(null, null, Sample.File, settings);

    public static async Task<RunningService> Start(
        TemporaryFolder? folder, TimeProvider? clock, string? declarativeFile, params string[] settings)
    {
        var service = new RunningService(folder);
        folder = service.Folder;
        List<string> args = ["--environment=Development", $"--contentRoot={folder.Path}", .. s_runsProgram ? CanaryWatch.ConsoleSettings : CanaryWatch.Settings];
        if (declarativeFile is not null)
        {
            args.Add($"--TokenService:ApplyFile={folder.Write("clients.json", declarativeFile)}");
        }

        SigningKeyPool.GiveTo(folder, [.. args, .. settings], clock ?? TimeProvider.System);
        if (s_runsProgram)
        {
            await service.StartProgram([.. args, .. settings], clock);
        }
        else
        {
            service._app = Program.CreateService(["--urls=http://127.0.0.1:0", .. args, .. settings], clock ?? TimeProvider.System);
            service._app.Services.GetRequiredService<ILoggerFactory>().AddProvider(service._canaries);
            await service._app.StartAsync();
            service.Http.BaseAddress = new Uri(service._app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.First());
        }

        return service;
    }

    /// <summary>Waits until it has seen what was changed in its store.</summary>
    public Task Refresh()
    {
        if (_program is not null)
        {
            return Task.Delay(s_unseen);
        }

        Store.Refresh();
        return Task.CompletedTask;
    }

    public Task<Answer> Token(string form, string? basic = null, string path = "/oauth2/token")
        => Send(new HttpRequestMessage(HttpMethod.Post, path) { Content = Form(form) }, basic);

    public async Task<Answer> Send(HttpRequestMessage request, string? basic = null)
    {
        using (request)
        {
            if (basic is not null)
            {
                request.Headers.Authorization = new AuthenticationHeaderValue("Basic", Convert.ToBase64String(Encoding.UTF8.GetBytes(basic)));
            }

            SetClock();
            using var response = await Http.SendAsync(request);
            return await Answer.Of(response);
        }
    }

    public static ByteArrayContent Form(string form)
    {
        var content = new ByteArrayContent(Encoding.Latin1.GetBytes(form));
        content.Headers.ContentType = new MediaTypeHeaderValue("application/x-www-form-urlencoded");
        return content;
    }

    /// <summary>What it logged until now.</summary>
    public string Logged => _program is null ? _canaries.Logged : CanaryWatch.WithoutExample(_program.Printed);

    /// <summary>Has what another client than <see cref="Http"/> sends to it looked for in the log, too.</summary>
    /// <param name="request">The request, before it is sent.</param>
    public Task Note(HttpRequestMessage request) => _canaries.Note(request);

    /// <summary>Writes a line to its log, as the service itself would.</summary>
    public void Log(string line) => App.Services.GetRequiredService<ILoggerFactory>().CreateLogger("TokenService").Log(LogLevel.Trace, 0, line, null, (text, _) => text);

    public async ValueTask DisposeAsync()
    {
        Http.Dispose();
        if (_app is not null)
        {
            await _app.StopAsync();
            await _app.DisposeAsync();
        }

        if (_program is not null)
        {
            await _program.Stop();
            await _program.DisposeAsync();
        }

        try
        {
            _canaries.Check(Folder, _program?.Printed ?? "");
        }
        finally
        {
            _own?.Dispose();
        }
    }

    private async Task StartProgram(string[] args, TimeProvider? clock)
    {
        if (clock is not null)
        {
            _clock = (clock, await ClockShift.Make(Folder.File("clock"), TimeSpan.Zero));
            SetClock();
        }

        Http.BaseAddress = new Uri($"http://127.0.0.1:{RunningProgram.FreePort()}");
        _program = await RunningProgram.Start(
            Repository.Program, [$"--urls={Url.GetLeftPart(UriPartial.Authority)}", .. args], new Uri(Url, "/health/ready"), Folder.Path, _clock?.Shift.Variables ?? []);
    }

    /// <summary>The wall clock of the program stands where the test's stands.</summary>
    private void SetClock() => _clock?.Shift.Stop(_clock.Value.Time.GetUtcNow());
}

/// <summary>An HTTP answer with its JSON.</summary>
internal sealed record Answer(int Status, HttpResponseMessage Response, string Body)
{
    public JsonElement Json => JsonDocument.Parse(Body).RootElement;

    public string? Error => Json.TryGetProperty("error", out var error) ? error.GetString() : null;

    /// <summary>Whether the service had more to do than it can, and so did not look at the request: what a machine that is shared may answer at any time.</summary>
    public bool IsTooBusy => Status == 503 && Body.Contains("more requests than it can answer", StringComparison.Ordinal);

    public string AccessToken => Json.GetProperty("access_token").GetString()!;

    public static async Task<Answer> Of(HttpResponseMessage response)
        => new((int)response.StatusCode, response, await response.Content.ReadAsStringAsync());
}
