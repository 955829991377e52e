using System;
using System.Collections.Concurrent;
using System.Diagnostics;
using System.IO;
using System.Linq;
using System.Net.Http;
using System.Threading;
using System.Threading.Tasks;
using FluentAssertions;
using TokenService.Tests.Commands;
using TokenService.Tests.Support;
using Xunit;

namespace TokenService.Tests.Storage;

/// <summary>What was acknowledged survives SIGKILL, and no manual step is needed after it.</summary>
public sealed class KillTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task Every_acknowledged_client_and_the_signing_key_are_there_after_SIGKILL()
    {
        var cli = new Cli(_folder);
        (await cli.Run("resources", "add", "urn:r", "--scope", "s")).ExitCode.Should().Be(0);
        var port = RunningProgram.FreePort();
        var ledger = new ConcurrentDictionary<string, string>();
        string? jwks = null;
        var added = 0;
        for (var round = 0; round < 5; round++)
        {
            await using var program = await cli.Serve(port);
            using var http = new HttpClient();
            var keys = await http.GetStringAsync(new Uri($"http://127.0.0.1:{port}/.well-known/jwks.json"));
            keys.Should().Be(jwks ??= keys);
            foreach (var (id, secret) in ledger)
            {
                var answer = await CommandTests.TokenOf(port, id, secret);
                answer.Status.Should().Be(200, $"{id} was acknowledged; {answer.Body}");
            }

            // Clients are added all the while; the service, and then the commands, are killed at moments of chance.
            using var end = new CancellationTokenSource();
            var before = ledger.Count;
            var adding = Task.WhenAll(Enumerable.Range(0, 2).Select(_ => Task.Run(async () =>
            {
                while (!end.IsCancellationRequested)
                {
                    var id = $"client-{Interlocked.Increment(ref added)}";
                    if (await AddUnlessKilled(id, end.Token) is { } secret)
                    {
                        ledger[id] = secret;
                    }
                }
            })));
            while (ledger.Count < before + 2 && !adding.IsCompleted)
            {
                await Task.Delay(10);
            }

            await Task.Delay(Random.Shared.Next(0, 300));
            await program.Kill();
            await Task.Delay(Random.Shared.Next(0, 300));
            await end.CancelAsync();
            await adding;
        }

        ledger.Should().HaveCountGreaterThanOrEqualTo(10, "something must have been acknowledged for it to survive");
        IntegrityCheck().Should().Be("ok");
    }

    [Fact]
    public async Task A_first_start_that_is_killed_at_any_moment_leaves_nothing_that_hinders_the_next()
    {
        for (var round = 0; round < 12; round++)
        {
            using var folder = new TemporaryFolder();
            folder.Write("clients.json", Sample.File);
            string[] args =
            [
                $"--contentRoot={folder.Path}", "--environment=Production", "--urls=http://127.0.0.1:0", "--TokenService:Issuer=http://127.0.0.1:1",
                "--TokenService:ApplyFile=clients.json",
            ];
            using (var process = Process.Start(new ProcessStartInfo(Repository.Program, args) { RedirectStandardOutput = true, RedirectStandardError = true })!)
            {
                await Task.Delay(Random.Shared.Next(0, 40) * round);
                process.Kill();
                await process.WaitForExitAsync();
            }

            await using var service = await RunningService.Start(folder, null, Sample.File);
            (await service.Token("grant_type=client_credentials", $"{Sample.Job}:{Sample.JobSecret}")).Status.Should().Be(200);
            Directory.GetFiles(folder.Path, "*.master-key").Should().ContainSingle();
        }
    }

    private async Task<string?> AddUnlessKilled(string id, CancellationToken end)
    {
        using var process = Process.Start(new ProcessStartInfo(
            Repository.Program,
            [$"--contentRoot={_folder.Path}", "--environment=Production", "clients", "add", "--id", id, "--scope", "s"])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        })!;
        var output = process.StandardOutput.ReadToEndAsync(CancellationToken.None);
        try
        {
            await process.WaitForExitAsync(end);
        }
        catch (OperationCanceledException)
        {
            process.Kill();
            await process.WaitForExitAsync(CancellationToken.None);
        }

        // Acknowledged is what was printed whole, whether the command lived to its end or not.
        var printed = await output;
        return printed.EndsWith('\n') ? printed.Trim() : null;
    }

    private string IntegrityCheck() => StoreFile.IntegrityCheck(_folder);
}
