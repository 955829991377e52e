using System;
using System.Collections.Concurrent;
using System.IO;
using System.Linq;
using System.Net.Http;
using System.Text.RegularExpressions;
using System.Threading;
using System.Threading.Tasks;
using FluentAssertions;
using TokenService.Tests.Commands;
using TokenService.Tests.Support;
using Xunit;

namespace TokenService.Tests.Contracts;

/// <summary>The commands of docs/back-up-and-restore.md, as they stand there but for the folders.</summary>
[Trait("Storage", "Sqlite")]
public sealed partial class BackupTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();
    private readonly TemporaryFolder _backup = new();
    private readonly Cli _cli;

    public BackupTests() => _cli = new Cli(_folder);

    public void Dispose()
    {
        _folder.Dispose();
        _backup.Dispose();
    }

    [NeedsFact("bash", "apt-get install bash")]
    public async Task A_backup_of_a_stopped_service_brings_back_the_same_keys_and_clients()
    {
        var port = RunningProgram.FreePort();
        var (secret, signing) = (await Add("job"), await Add("signer", "--auth", "client_secret_jwt"));
        string jwks;
        await using (var program = await _cli.Serve(port))
        {
            jwks = await Jwks(port);
            await program.Stop();
        }

        await Run(Copy);

        string later;
        await using (var program = await _cli.Serve(port))
        {
            later = await Add("later");
            (await _cli.Run("clients", "rotate-secret", "job", "--overlap", "0s")).ExitCode.Should().Be(0);
            await program.Kill();
        }

        File.Exists(_folder.File("token-service.db-wal")).Should().BeTrue("what must not be read into the restored store lies there");
        await Run(Restore);
        await using var restored = await _cli.Serve(port);

        (await Jwks(port)).Should().Be(jwks);
        (await CommandTests.TokenOf(port, "job", secret)).Status.Should().Be(200);
        (await CommandTests.TokenOf(port, "later", later)).Status.Should().Be(401);
        using var http = new HttpClient();
        using var signed = await http.PostAsync(new Uri($"http://127.0.0.1:{port}/oauth2/token"), RunningService.Form(
            AssertionDraft.Form(new AssertionDraft("signer", $"http://127.0.0.1:{port}", DateTimeOffset.UtcNow).SignedWith(signing))));
        ((int)signed.StatusCode).Should().Be(200, "the master key opens the secret");
        IntegrityCheck().Should().Be("ok");
    }

    [NeedsFact("bash python3", "apt-get install bash python3")]
    public async Task A_backup_of_a_running_service_is_of_one_moment_and_whole()
    {
        var port = RunningProgram.FreePort();
        await Add("first");
        var acknowledged = new ConcurrentDictionary<string, string>();
        string jwks;
        string[] before;
        await using (var program = await _cli.Serve(port))
        {
            jwks = await Jwks(port);
            using var end = new CancellationTokenSource();
            var adding = Task.WhenAll(Enumerable.Range(0, 2).Select(worker => Task.Run(async () =>
            {
                for (var i = 0; !end.IsCancellationRequested; i++)
                {
                    acknowledged[$"client-{worker}-{i}"] = await Add($"client-{worker}-{i}");
                }
            })));
            while (acknowledged.Count < 4 && !adding.IsCompleted)
            {
                await Task.Delay(10);
            }

            before = [.. acknowledged.Keys];
            await Run(CopyWhileRunning);
            await end.CancelAsync();
            await adding;
            await program.Stop();
        }

        foreach (var file in Directory.GetFiles(_backup.Path))
        {
            File.GetUnixFileMode(file).Should().Be(UnixFileMode.UserRead | UnixFileMode.UserWrite, file);
        }

        File.Delete(_folder.File("token-service.master-key"));
        await Run(Restore);
        IntegrityCheck().Should().Be("ok");
        await using var restored = await _cli.Serve(port);
        (await Jwks(port)).Should().Be(jwks);
        before.Should().HaveCountGreaterThanOrEqualTo(4);
        foreach (var id in before)
        {
            (await CommandTests.TokenOf(port, id, acknowledged[id])).Status.Should().Be(200, id);
        }
    }

    private const int Copy = 0;
    private const int CopyWhileRunning = 1;
    private const int Restore = 2;

    private async Task Run(int block)
    {
        var blocks = ShellBlocks().Matches(await File.ReadAllTextAsync(Repository.File("docs", "back-up-and-restore.md")));
        blocks.Should().HaveCount(3);
        var commands = blocks[block].Groups[1].Value
            .Replace("/var/lib/token-service", _folder.Path, StringComparison.Ordinal)
            .Replace("/var/backups/token-service", _backup.Path, StringComparison.Ordinal);
        var finished = await RunningProgram.Run("bash", ["-c", $"set -e\n{commands}"]);
        (finished.ExitCode, finished.Error).Should().Be((0, ""), finished.Output);
    }

    private async Task<string> Add(string id, params string[] options)
    {
        await _cli.Run("resources", "add", "urn:r", "--scope", "s");
        var added = await _cli.Run(["clients", "add", "--id", id, "--scope", "s", .. options]);
        added.ExitCode.Should().Be(0, added.Error);
        return added.Output.Trim();
    }

    private object? IntegrityCheck() => StoreFile.Scalar(_folder, "PRAGMA integrity_check");

    private static async Task<string> Jwks(int port)
    {
        using var http = new HttpClient();
        return await http.GetStringAsync(new Uri($"http://127.0.0.1:{port}/.well-known/jwks.json"));
    }

    [GeneratedRegex("```sh\n(.*?)```", RegexOptions.Singleline)]
    private static partial Regex ShellBlocks();
}
