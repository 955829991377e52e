using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Globalization;
using System.IO;
using System.Threading.Tasks;

namespace Fuzz;

/// <summary>Throws what nobody should send at the service, and looks at what comes of it.</summary>
internal static class Program
{
    private const string Usage = """
        Usage: Fuzz COMMAND [--count N] [--seed S] [--long] [--program PATH]
          in-process    all that reads what strangers send, in this process: 2 million inputs, with --long 200 million
          socket        mutated requests as raw HTTP: 50,000, with --long 5 million
          differential  our checks of assertions and the library's: 1 million
          timing        whether time tells which clients there are: 20,000 of each kind
          again         one input of in-process again: --seed S --count INDEX
        --program is the program to fuzz or measure over the socket, where it is not the one built with this.
        Exit status 0 where nothing was found, 1 where something was, 2 for wrong usage.
        """;

    /// <summary>Runs a command.</summary>
    /// <returns>0 nothing was found, 1 something was, 2 wrong usage.</returns>
    public static async Task<int> Main(string[] args)
    {
        if (args.Length == 0 || !Read(args, out var count, out var seed, out var program, out var isLong))
        {
            await Console.Error.WriteLineAsync(Usage);
            return 2;
        }

        Console.WriteLine($"seed {seed}");
        switch (args[0])
        {
            case "in-process":
                return Tell(InProcess.Run(count ?? (isLong ? 200_000_000 : 2_000_000), seed, done => Console.Error.WriteLine($"{done} inputs")));
            case "again":
                using (var targets = new Targets())
                {
                    var (target, input) = InProcess.Make(targets, seed, count ?? 0);
                    Console.WriteLine($"{target.Name}, {input.Length} bytes:\n{Convert.ToBase64String(input)}");
                    for (var i = 0; i < 10; i++)
                    {
                        var since = Stopwatch.GetTimestamp();
                        var taken = target.Reads(input);
                        Console.WriteLine($"{(taken ? "accepted" : "refused")} in {Stopwatch.GetElapsedTime(since).TotalMilliseconds} ms");
                    }

                    return 0;
                }

            case "socket":
                await using (var service = await FuzzedService.Start(program, Corpus.Clients, FuzzedService.Quiet))
                {
                    return Tell(await SocketRun.Run(service.Url, count ?? (isLong ? 5_000_000 : 50_000), seed, done => Console.Error.WriteLine($"{done} requests")));
                }

            case "differential":
                return Tell(Differential.Run(count ?? 1_000_000, seed));
            case "timing":
                // In a process of its own, where its log is no part of the report.
                await using (var service = await FuzzedService.Start(program ?? Path.Combine(AppContext.BaseDirectory, "TokenService"), _ => Timing.Clients, Timing.Settings, Timing.Disabled))
                {
                    return Tell(await Timing.Run(service.Url, count ?? 20_000, seed));
                }

            default:
                await Console.Error.WriteLineAsync(Usage);
                return 2;
        }
    }

    private static int Tell(Report report)
    {
        Console.WriteLine(report);
        return report.Findings.IsEmpty ? 0 : 1;
    }

    private static bool Read(string[] args, out long? count, out ulong seed, out string? program, out bool isLong)
    {
        (count, seed, program, isLong) = (null, (ulong)Random.Shared.NextInt64(), null, false);
        var rest = new Queue<string>(args[1..]);
        while (rest.TryDequeue(out var name))
        {
            if (name == "--long")
            {
                isLong = true;
                continue;
            }

            if (!rest.TryDequeue(out var value))
            {
                return false;
            }

            switch (name)
            {
                case "--count" when long.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out var number):
                    count = number;
                    break;
                case "--seed" when ulong.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out seed):
                    break;
                case "--program":
                    program = value;
                    break;
                default:
                    return false;
            }
        }

        return true;
    }
}
