using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Globalization;
using System.IO;
using System.Linq;
using System.Threading.Tasks;

namespace TokenService.Tests.Support;

/// <summary>
/// Load clients in a process of their own, on other cores than the program they load: neither what other tests left in this process nor the
/// collection of its garbage makes their requests come in heaps.
/// </summary>
internal sealed class LoadProcess : IAsyncDisposable
{
    private const string End = "end";

    private readonly Process _process;

    private LoadProcess(Process process) => _process = process;

    /// <summary>Starts it on all cores but the first, where there are others.</summary>
    public static LoadProcess Start()
    {
        var cores = Environment.ProcessorCount;
        var start = new ProcessStartInfo("taskset", ["-c", $"{(cores > 1 ? 1 : 0)}-{cores - 1}", Repository.Built("TokenService.Tests", "TokenService.Tests")])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
        };
        return new LoadProcess(Process.Start(start)!);
    }

    /// <summary>Lets clients loose, as <see cref="LoadClients.Run"/> does.</summary>
    public async Task<LoadResult> Run(int port, int clients, TimeSpan duration, byte[] request, double rate = 0)
    {
        await _process.StandardInput.WriteLineAsync(
            string.Create(CultureInfo.InvariantCulture, $"{port} {clients} {duration.Ticks} {rate:R} {Convert.ToBase64String(request)}"));
        var answers = new List<(int, TimeSpan)>();
        while (await _process.StandardOutput.ReadLineAsync() is { } line)
        {
            var words = line.Split(' ');
            var time = TimeSpan.FromTicks(long.Parse(words[1], CultureInfo.InvariantCulture));
            if (words[0] == End)
            {
                return new LoadResult(answers, time);
            }

            answers.Add((int.Parse(words[0], CultureInfo.InvariantCulture), time));
        }

        throw new EndOfStreamException("The load ended by itself.");
    }

    public async ValueTask DisposeAsync()
    {
        _process.StandardInput.Close();
        await _process.WaitForExitAsync().WaitAsync(TimeSpan.FromSeconds(10));
        _process.Dispose();
    }

    /// <summary>The process itself: a line in lets clients loose, their answers are the lines out.</summary>
    public static async Task Main()
    {
        while (await Console.In.ReadLineAsync() is { } line)
        {
            var words = line.Split(' ');
            var numbers = words[..4].Select(word => double.Parse(word, CultureInfo.InvariantCulture)).ToList();
            var request = Convert.FromBase64String(words[4]);
            var result = await LoadClients.Run((int)numbers[0], (int)numbers[1], TimeSpan.FromTicks((long)numbers[2]), () => request, numbers[3]);
            foreach (var (status, time) in result.Answers)
            {
                await Console.Out.WriteLineAsync(string.Create(CultureInfo.InvariantCulture, $"{status} {time.Ticks}"));
            }

            await Console.Out.WriteLineAsync(string.Create(CultureInfo.InvariantCulture, $"{End} {result.Duration.Ticks}"));
        }
    }
}
