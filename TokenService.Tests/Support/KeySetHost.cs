using System;
using System.Linq;
using System.Net;
using System.Security.Cryptography.X509Certificates;
using System.Threading;
using System.Threading.Tasks;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace TokenService.Tests.Support;

/// <summary>A web server of a client, which publishes its keys, and answers as a test wants.</summary>
internal sealed class KeySetHost : IAsyncDisposable
{
    private readonly WebApplication _app;
    private int _asked;

    private KeySetHost(WebApplication app) => _app = app;

    /// <summary>How often it was asked.</summary>
    public int Asked => _asked;

    /// <summary>What it answers.</summary>
    public Func<HttpContext, Task> Answer { get; set; } = _ => Task.CompletedTask;

    public Uri Uri { get; private set; } = null!;

    public static async Task<KeySetHost> Start(
        string? keys = null, X509Certificate2? certificate = null, string path = "/jwks.json", HttpProtocols protocols = HttpProtocols.Http1AndHttp2)
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.UseKestrelHttpsConfiguration().ConfigureKestrel(kestrel => kestrel.Listen(IPAddress.Loopback, 0, listen =>
        {
            listen.Protocols = protocols;
            if (certificate is not null)
            {
                listen.UseHttps(certificate);
            }
        }));
        var host = new KeySetHost(builder.Build());
        host._app.Run(async http =>
        {
            Interlocked.Increment(ref host._asked);
            await host.Answer(http);
        });
        await host._app.StartAsync();
        host.Uri = new Uri(host._app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.Single() + path);
        if (keys is not null)
        {
            host.Publish(keys);
        }

        return host;
    }

    /// <summary>Answers 200 with this from now on.</summary>
    public void Publish(string keys, params (string Name, string Value)[] headers) => Answer = async http =>
    {
        http.Response.ContentType = "application/json";
        foreach (var (name, value) in headers)
        {
            http.Response.Headers[name] = value;
        }

        await http.Response.WriteAsync(keys, http.RequestAborted);
    };

    public void Fail(int status = 500) => Answer = http =>
    {
        http.Response.StatusCode = status;
        return Task.CompletedTask;
    };

    public async ValueTask DisposeAsync()
    {
        using var atOnce = new CancellationTokenSource(TimeSpan.Zero);
        await _app.StopAsync(atOnce.Token);
        await _app.DisposeAsync();
    }
}
