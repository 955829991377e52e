using System;
using System.Collections.Immutable;
using System.Diagnostics;
using System.IO;
using System.Linq;
using System.Net;
using System.Net.Http;
using System.Net.Sockets;
using System.Threading.Tasks;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.Extensions.DependencyInjection;

namespace Fuzz;

/// <summary>The service on the loopback with a store of its own: in this process, or a program in its own.</summary>
internal sealed class FuzzedService : IAsyncDisposable
{
    /// <summary>The settings of a service that is asked as much as it can answer: it logs nothing and counts no failures.</summary>
    public static readonly ImmutableArray<string> Quiet = ["--Logging:LogLevel:Default=None", "--TokenService:RateLimit:FailuresPerMinute=0"];

    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(30);

    private readonly DirectoryInfo _folder;
    private readonly WebApplication? _app;
    private readonly Process? _process;

    private FuzzedService(DirectoryInfo folder, WebApplication? app, Process? process, Uri url) => (_folder, _app, _process, Url) = (folder, app, process, url);

    /// <summary>Where it listens.</summary>
    public Uri Url { get; }

    /// <summary>Starts it.</summary>
    /// <param name="program">The program; <see langword="null"/> for this process.</param>
    /// <param name="clients">Makes the declarative file, for a folder.</param>
    /// <param name="settings">Its settings, beside those that say where it is.</param>
    /// <param name="disabled">The client that is switched off, if any.</param>
    public static async Task<FuzzedService> Start(string? program, Func<string, string> clients, ImmutableArray<string> settings, string? disabled = null)
    {
        var folder = Directory.CreateTempSubdirectory("token-service-fuzz-");
        var file = Path.Combine(folder.FullName, "clients.json");
        await File.WriteAllTextAsync(file, clients(folder.FullName));
        settings = ["--environment=Development", $"--contentRoot={folder.FullName}", .. settings];
        if (disabled is not null)
        {
            await Run("apply", file);
            await Run("clients", "disable", disabled);
        }

        string[] serve = [$"--TokenService:ApplyFile={file}", .. settings];
        if (program is null)
        {
            var app = TokenService.Program.CreateService(["--urls=http://127.0.0.1:0", .. serve], TimeProvider.System);
            await app.StartAsync();
            return new(folder, app, null, new Uri(app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.First()));
        }

        var url = new Uri($"http://127.0.0.1:{FreePort()}");
        var process = Launch(program, [$"--urls={url.GetLeftPart(UriPartial.Authority)}", .. serve]);
        await Ready(url, process);
        return new(folder, null, process, url);

        async Task Run(params string[] words)
        {
            if (program is null)
            {
                Check(await TokenService.Program.Main([.. words, .. settings]), words[0]);
                return;
            }

            using var command = Launch(program, [.. words, .. settings]);
            await command.WaitForExitAsync();
            Check(command.ExitCode, words[0]);
        }
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        if (_app is not null)
        {
            await _app.StopAsync();
            await _app.DisposeAsync();
        }

        if (_process is not null)
        {
            _process.Kill();
            await _process.WaitForExitAsync();
            _process.Dispose();
        }

        _folder.Delete(recursive: true);
    }

    private static void Check(int status, string command)
    {
        if (status != 0)
        {
            throw new InvalidOperationException($"The command {command} ended with {status}.");
        }
    }

    private static Process Launch(string program, string[] arguments)
    {
        var process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true })!;
        process.OutputDataReceived += (_, _) => { };
        process.ErrorDataReceived += (_, line) =>
        {
            if (line.Data is not null)
            {
                Console.Error.WriteLine(line.Data);
            }
        };
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        return process;
    }

    private static async Task Ready(Uri url, Process process)
    {
        using var http = new HttpClient { BaseAddress = url };
        var since = Stopwatch.StartNew();
        while (true)
        {
            try
            {
                using var response = await http.GetAsync(new Uri("/health/ready", UriKind.Relative));
                if (response.StatusCode == HttpStatusCode.OK)
                {
                    return;
                }
            }
            catch (HttpRequestException)
            {
                // Not listening yet.
            }

            if (process.HasExited || since.Elapsed > s_patience)
            {
                throw new InvalidOperationException("The program does not serve.");
            }

            await Task.Delay(20);
        }
    }

    private static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }
}
