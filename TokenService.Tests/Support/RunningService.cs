using System;
using System.Collections.Generic;
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
using TokenService.Administration;
using TokenService.Storage;

namespace TokenService.Tests.Support;

/// <summary>The real service, in this process, on a free port of the loopback, with a store of its own.</summary>
internal sealed class RunningService : IAsyncDisposable
{
    private readonly WebApplication _app;
    private readonly TemporaryFolder? _own;

    private RunningService(WebApplication app, TemporaryFolder? own)
    {
        (_app, _own) = (app, own);
        Url = new Uri(System.Linq.Enumerable.First(
            app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses));
        Http = new HttpClient { BaseAddress = Url };
    }

    public Uri Url { get; }

    public HttpClient Http { get; }

    public StoreWatch Store => _app.Services.GetRequiredService<StoreWatch>();

    public KeyRotation KeyRotation => System.Linq.Enumerable.Single(System.Linq.Enumerable.OfType<KeyRotation>(_app.Services.GetServices<IHostedService>()));

    /// <summary>Starts it in Development with the sample's clients.</summary>
    public static Task<RunningService> Start(params string[] settings) => Start(null, null, Sample.File, settings);

    public static async Task<RunningService> Start(
        TemporaryFolder? folder, TimeProvider? clock, string? declarativeFile, params string[] settings)
    {
        var own = folder is null ? new TemporaryFolder() : null;
        folder ??= own!;
        List<string> args =
        [
            "--environment=Development", "--urls=http://127.0.0.1:0", $"--contentRoot={folder.Path}", "--Logging:LogLevel:Default=None",
        ];
        if (declarativeFile is not null)
        {
            args.Add($"--TokenService:ApplyFile={folder.Write("clients.json", declarativeFile)}");
        }

        var app = Program.CreateService([.. args, .. settings], clock ?? TimeProvider.System);
        await app.StartAsync();
        return new RunningService(app, own);
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

    public async ValueTask DisposeAsync()
    {
        Http.Dispose();
        await _app.StopAsync();
        await _app.DisposeAsync();
        _own?.Dispose();
    }
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
