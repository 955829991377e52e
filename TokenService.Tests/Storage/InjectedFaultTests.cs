using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Linq;
using System.Net.Http;
using System.Text.RegularExpressions;
using System.Threading;
using System.Threading.Tasks;
using FluentAssertions;
using TokenService.Tests.Support;
using Xunit;
using Xunit.Abstractions;

namespace TokenService.Tests.Storage;

/// <summary>
/// The disk fails in one system call and in all after it, or in one alone (strace makes it so): what is acknowledged is there afterwards, and what
/// is not was refused cleanly.
/// </summary>
[Trait("Storage", "Sqlite")]
public sealed class InjectedFaultTests(ITestOutputHelper output) : IDisposable
{
    private static readonly string[] s_calls =
    [
        "fdatasync,fsync:error=EIO", "pwrite64:error=EIO", "pwrite64:error=ENOSPC", "openat:error=EIO", "openat:error=ENOSPC",
        "rename,renameat,renameat2,link,linkat:error=EIO", "rename,renameat,renameat2,link,linkat:error=ENOSPC",
    ];

    private static readonly string[] s_work = ["a first start", "clients add", "keys rewrap", "a running service"];

    private readonly TemporaryFolder _folder = new();

    // 40 points, and 200: each is a kind of work, a call, and which one of them fails.
    private static int Points => LongForm.Of(40, 200);

    public void Dispose() => _folder.Dispose();

    [StraceFact]
    public async Task Nothing_acknowledged_is_lost_when_the_disk_fails()
    {
        var (random, hit) = (new Random(5), new SortedDictionary<string, int>(StringComparer.Ordinal));
        for (var point = 0; point < Points; point++)
        {
            var work = s_work[point % s_work.Length];
            var call = s_calls[point / s_work.Length % s_calls.Length];
            var first = random.Next(1, 1 + (call.StartsWith("rename", StringComparison.Ordinal) ? 2 : call.StartsWith("fdata", StringComparison.Ordinal) ? 6 : 12));
            var inject = $"inject={call}:when={first}{(random.Next(2) == 0 ? "+" : "")}";
            using var folder = new TemporaryFolder();
            var outcome = await Work(folder, work, inject);
            hit[$"{work}: {outcome}"] = hit.GetValueOrDefault($"{work}: {outcome}") + 1;
            output.WriteLine($"{work}, {inject}: {outcome}");
        }

        output.WriteLine(string.Join("\n", hit.Select(pair => $"{pair.Key} {pair.Value} times")));
        hit.Where(pair => pair.Key.EndsWith("refused", StringComparison.Ordinal)).Sum(pair => pair.Value)
            .Should().BeGreaterThan(Points / 5, "the faults must have hit something");
    }

    private static async Task<string> Work(TemporaryFolder folder, string work, string inject)
    {
        folder.Write("clients.json", Ledger.File);
        var (cli, port, ledger) = (new Cli(folder), RunningProgram.FreePort(), new Ledger());
        var url = new Uri($"http://127.0.0.1:{port}");
        string[] settings = ["--TokenService:ApplyFile=clients.json", "--TokenService:RateLimit:FailuresPerMinute=0"];
        string[] service =
        [
            $"--contentRoot={folder.Path}", "--environment=Production", $"--urls=http://127.0.0.1:{port}", $"--TokenService:Issuer=http://127.0.0.1:{port}", .. settings,
        ];
        if (work is not "a first start")
        {
            await using (await cli.Serve(port, settings))
            {
                using var end = new CancellationTokenSource(200);
                await ledger.Use(url, end.Token);
            }
        }

        var outcome = "done";
        string? refused = null;
        switch (work)
        {
            case "clients add":
                var added = await Traced(folder, inject, url, null, [.. service[..2], "clients", "add", "--id", "added", "--scope", "catalog.read"]);
                if (added.ExitCode == 0)
                {
                    ledger.Secret("added", added.Output.Trim());
                }
                else
                {
                    refused = "added";
                }

                outcome = Ended(added);
                break;
            case "keys rewrap":
                var key = folder.Write("new.key", Convert.ToBase64String(System.Security.Cryptography.RandomNumberGenerator.GetBytes(32)));
                outcome = Ended(await Traced(folder, inject, url, null, [.. service[..2], "keys", "rewrap", "--new-master-key", key]));
                break;
            default:
                var ran = await Traced(folder, inject, url, ledger, service);
                outcome = ran.ExitCode == 0 ? "ran" : Ended(ran);
                break;
        }

        await using (await cli.Serve(port, settings))
        {
            await ledger.Check(url, all: true);
            // Where the sync of the commit fails, and that of the way back as well, the commit is in doubt: all of it is written, and comes to count.
            if (refused is not null && !(inject.Contains("sync", StringComparison.Ordinal) && inject.EndsWith('+')))
            {
                (await cli.Run("clients", "show", refused)).ExitCode.Should().Be(1, "it was refused");
            }
        }

        StoreFile.Check(folder);
        return outcome;
    }

    private static string Ended(Finished ended)
    {
        if (ended.ExitCode == 0)
        {
            return "done";
        }

        ended.ExitCode.Should().Be(1, ended.Error);
        ended.Error.TrimEnd('\n').Should().NotBeEmpty().And.NotContain("\n");
        return "refused";
    }

    // A service that has begun to answer is used for a while, and killed: its exit status is then 0.
    private static async Task<Finished> Traced(TemporaryFolder folder, string inject, Uri url, Ledger? ledger, string[] args)
    {
        // Opened are many files, before the program is one; here it is the store's and the master key's that count.
        string[] paths = inject.Contains("openat", StringComparison.Ordinal)
            ? [.. ((string[])["db", "db-wal", "db-shm", "master-key"]).SelectMany(end => (string[])["-P", folder.File($"token-service.{end}")])]
            : [];
        var calls = Regex.Match(inject, "=([a-z0-9,]+):").Groups[1].Value;
        using var process = Process.Start(new ProcessStartInfo(
            "strace", ["-f", "-qqq", "--seccomp-bpf", "-o", "/dev/null", .. paths, "-e", $"trace={calls}", "-e", inject, Repository.Program, .. args])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        })!;
        var (output, error) = (process.StandardOutput.ReadToEndAsync(), process.StandardError.ReadToEndAsync());
        var since = Stopwatch.StartNew();
        var killed = false;
        while (!process.HasExited)
        {
            since.Elapsed.Should().BeLessThan(TimeSpan.FromMinutes(2));
            if (ledger is not null && await Answers(url))
            {
                using var end = new CancellationTokenSource(600);
                await Task.WhenAll(ledger.Use(url, end.Token), ledger.Use(url, end.Token));
                process.HasExited.Should().BeFalse("a service goes on");
                process.Kill(entireProcessTree: true);
                killed = true;
            }

            await Task.Delay(10);
        }

        await process.WaitForExitAsync();
        return new Finished(killed ? 0 : process.ExitCode, await output, await error);
    }

    private static async Task<bool> Answers(Uri url)
    {
        try
        {
            using var http = new HttpClient();
            using var response = await http.GetAsync(new Uri(url, "/health/live"));
            return response.IsSuccessStatusCode;
        }
        catch (HttpRequestException)
        {
            return false;
        }
    }
}
