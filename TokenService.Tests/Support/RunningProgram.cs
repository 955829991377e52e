using System;
using System.Collections.Concurrent;
using System.Collections.Generic;
using System.Diagnostics;
using System.Linq;
using System.Net;
using System.Net.Http;
using System.Net.Sockets;
using System.Threading.Tasks;
using FluentAssertions;

namespace TokenService.Tests.Support;

/// <summary>What a finished program left.</summary>
internal sealed record Finished(int ExitCode, string Output, string Error);

/// <summary>A program in a process of its own.</summary>
internal sealed class RunningProgram : IAsyncDisposable
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(60);

    private readonly Process _process;
    private readonly ConcurrentQueue<string> _lines = new();
    private readonly bool _isService;

    private RunningProgram(Process process)
    {
        _process = process;
        _isService = process.StartInfo.FileName == Repository.Program;
        process.OutputDataReceived += (_, line) => _lines.Enqueue(line.Data ?? "");
        process.ErrorDataReceived += (_, line) => _lines.Enqueue(line.Data ?? "");
    }

    /// <summary>All that it has printed.</summary>
    public string Printed => string.Join('\n', _lines);

    public int Id => _process.Id;

    /// <summary>A port below those that the system hands out itself, so that no client's socket takes it in between.</summary>
    public static int FreePort()
    {
        while (true)
        {
            var port = Random.Shared.Next(20_000, 32_000);
            try
            {
                using var listener = new TcpListener(IPAddress.Loopback, port);
                listener.Start();
                return port;
            }
            catch (SocketException)
            {
                // Taken.
            }
        }
    }

    /// <summary>Waits until it has printed this: what a program logs comes after what it answers.</summary>
    public async Task Prints(string text)
    {
        var since = Stopwatch.StartNew();
        while (!Printed.Contains(text, StringComparison.Ordinal))
        {
            if (since.Elapsed > s_patience)
            {
                throw new TimeoutException($"It did not print {text}, but:\n{Printed}");
            }

            await Task.Delay(20);
        }
    }

    /// <summary>Runs a program to its end.</summary>
    public static async Task<Finished> Run(string program, IEnumerable<string> args, string? folder = null, params (string Name, string Value)[] environment)
    {
        using var process = Process.Start(StartInfo(program, args, folder, environment))!;
        var output = process.StandardOutput.ReadToEndAsync();
        var error = process.StandardError.ReadToEndAsync();
        try
        {
            using var patience = new System.Threading.CancellationTokenSource(TimeSpan.FromMinutes(3));
            await process.WaitForExitAsync(patience.Token);
        }
        catch (OperationCanceledException)
        {
            process.Kill(entireProcessTree: true);
            throw new TimeoutException($"{program} {string.Join(' ', args)} did not end.");
        }

        return new Finished(process.ExitCode, await output, await error);
    }

    /// <summary>Starts a program that serves, and waits until this address answers 200 or 401.</summary>
    public static async Task<RunningProgram> Start(
        string program, IEnumerable<string> args, Uri ready, string? folder = null, params (string Name, string Value)[] environment)
    {
        var running = new RunningProgram(Process.Start(StartInfo(program, args, folder, environment))!);
        running._process.BeginOutputReadLine();
        running._process.BeginErrorReadLine();
        // A test's own certificate is nobody's but its own.
        using var handler = new HttpClientHandler { ServerCertificateCustomValidationCallback = (_, _, _, _) => true };
        using var http = new HttpClient(handler);
        var since = Stopwatch.StartNew();
        while (true)
        {
            try
            {
                using var response = await http.GetAsync(ready);
                if (response.StatusCode is HttpStatusCode.OK or HttpStatusCode.Unauthorized)
                {
                    return running;
                }
            }
            catch (HttpRequestException)
            {
                // Not listening yet.
            }

            if (running._process.HasExited || since.Elapsed > s_patience)
            {
                await running.DisposeAsync();
                throw new InvalidOperationException($"{program} does not answer at {ready}. It printed:\n{running.Printed}");
            }

            await Task.Delay(20);
        }
    }

    /// <summary>Ends it at once, as a crash would (SIGKILL), with what it started.</summary>
    public async Task Kill()
    {
        _process.Kill(entireProcessTree: true);
        await _process.WaitForExitAsync();
    }

    /// <summary>What it ended with.</summary>
    public int ExitCode => _process.ExitCode;

    /// <summary>Asks it to end (SIGTERM), and does not wait.</summary>
    public async Task Terminate() => (await Run("sh", ["-c", $"kill -TERM {_process.Id}"])).ExitCode.Should().Be(0);

    /// <summary>Asks it to end (SIGTERM), and waits until it has.</summary>
    public async Task Stop()
    {
        await Terminate();
        await _process.WaitForExitAsync().WaitAsync(s_patience);
    }

    /// <summary>Waits until it has ended by itself.</summary>
    public Task Ended() => _process.WaitForExitAsync().WaitAsync(s_patience);

    /// <summary>Ends it, where it has not. Of the service, all that it printed is searched for what no log may hold.</summary>
    public async ValueTask DisposeAsync()
    {
        if (!_process.HasExited)
        {
            await Kill();
        }

        _process.Dispose();
        if (_isService)
        {
            new Canaries().MustNotBeIn("what it printed", CanaryWatch.WithoutExample(Printed));
        }
    }

    private static ProcessStartInfo StartInfo(string program, IEnumerable<string> args, string? folder, (string Name, string Value)[] environment)
    {
        var info = new ProcessStartInfo(program, args.ToArray())
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            RedirectStandardInput = true,
            WorkingDirectory = folder ?? "",
        };
        foreach (var (name, value) in environment)
        {
            info.Environment[name] = value;
        }

        return info;
    }
}
