using System;
using System.Collections.Concurrent;
using System.Diagnostics;
using System.IO;
using System.Linq;
using System.Net.Http;
using System.Threading;
using System.Threading.Tasks;
using FluentAssertions;
using Microsoft.IdentityModel.JsonWebTokens;
using TokenService.Storage;
using TokenService.Tests.Commands;
using TokenService.Tests.Operations;
using TokenService.Tests.Support;
using Xunit;

namespace TokenService.Tests.Storage;

/// <summary>Changes of keys, killed at moments of chance.</summary>
public sealed class KeyKillTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task Keys_rotate_while_services_and_commands_are_killed_and_every_token_can_be_checked()
    {
        string[] settings = ["--TokenService:KeyPublishAhead=00:00:10", "--TokenService:SigningAlgorithm=ES256", "--TokenService:ApplyFile=clients.json"];
        _folder.Write("clients.json", AssertionClients.File);
        var cli = new Cli(_folder);
        int[] ports = [RunningProgram.FreePort(), RunningProgram.FreePort()];
        var programs = await Task.WhenAll(ports.Select(port => cli.Serve(port, settings)));
        using var http = new HttpClient();
        var verifier = new CachingVerifier(Jwks, TimeProvider.System);
        var (answered, kids, faults) = (0, new ConcurrentDictionary<string, bool>(), new ConcurrentQueue<string>());
        using var end = new CancellationTokenSource();
        try
        {
            var asking = Task.WhenAll(ports.Select(port => Task.Run(() => Ask(port, $"http://127.0.0.1:{port}"))));
            var rotating = Task.Run(Rotate);
            for (var round = 0; round < 8; round++)
            {
                await Task.Delay(Random.Shared.Next(500, 4000));
                await programs[round % 2].Kill();
                await programs[round % 2].DisposeAsync();
                await Task.Delay(Random.Shared.Next(0, 500));
                programs[round % 2] = await cli.Serve(ports[round % 2], settings);
            }

            await Task.Delay(TimeSpan.FromSeconds(12));
            await end.CancelAsync();
            await Task.WhenAll(asking, rotating);
        }
        finally
        {
            foreach (var program in programs)
            {
                await program.DisposeAsync();
            }
        }

        faults.Should().BeEmpty();
        answered.Should().BeGreaterThan(100);
        kids.Should().HaveCountGreaterThan(2, "keys must have changed for the change to go well");

        async Task Ask(int port, string issuer)
        {
            while (!end.IsCancellationRequested)
            {
                try
                {
                    var answer = Random.Shared.Next(2) == 0
                        ? await CommandTests.TokenOf(port, AssertionClients.BasicJob, AssertionClients.BasicSecret)
                        : await Assert(port, new AssertionDraft(AssertionClients.KeyJob, issuer, DateTimeOffset.UtcNow).WithHeader("kid", "2").SignedBy(AssertionClients.P256, "ES256"));
                    if (answer.Status != 200)
                    {
                        faults.Enqueue(answer.Body);
                    }
                    else if (!await verifier.Checks(answer.AccessToken))
                    {
                        faults.Enqueue($"Not to be checked: {new JsonWebToken(answer.AccessToken).Kid}");
                    }
                    else
                    {
                        kids.TryAdd(new JsonWebToken(answer.AccessToken).Kid, true);
                        Interlocked.Increment(ref answered);
                    }
                }
                catch (Exception fault) when (Ledger.IsUnanswered(fault))
                {
                    // Killed: nobody answered, so nobody refused.
                }
            }
        }

        async Task<Answer> Assert(int port, string assertion)
        {
            using var response = await http.PostAsync(new Uri($"http://127.0.0.1:{port}/oauth2/token"), RunningService.Form(AssertionDraft.Form(assertion)));
            return await Answer.Of(response);
        }

        // From either service: one of them is up, or soon will be.
        async Task<HttpResponseMessage> Jwks()
        {
            while (true)
            {
                try
                {
                    return await http.GetAsync(new Uri($"http://127.0.0.1:{ports[Random.Shared.Next(2)]}/.well-known/jwks.json"));
                }
                catch (Exception fault) when (Ledger.IsUnanswered(fault))
                {
                    await Task.Delay(20);
                }
            }
        }

        async Task Rotate()
        {
            while (!end.IsCancellationRequested)
            {
                using var process = Process.Start(new ProcessStartInfo(
                    Repository.Program, [$"--contentRoot={_folder.Path}", "--environment=Production", "keys", "rotate", .. settings[..2]])
                {
                    RedirectStandardOutput = true,
                    RedirectStandardError = true,
                })!;
                await Task.Delay(Random.Shared.Next(100, 3000));
                process.Kill();
                await process.WaitForExitAsync();
            }
        }
    }

    [Fact]
    [Trait("Storage", "Sqlite")]
    public async Task A_change_of_the_master_key_that_is_killed_at_any_moment_leaves_a_store_that_opens()
    {
        string jwks;
        await using (var service = await AssertionClients.Start(_folder))
        {
            jwks = await service.Http.GetStringAsync("/.well-known/jwks.json");
        }

        // How long one takes that nobody kills; from there each round goes towards the moment of the change, however busy the machine is by then.
        var whole = Stopwatch.StartNew();
        (await new Cli(_folder).Run("keys", "rewrap", "--new-master-key", _folder.Write("first.key", KeysCommandTests.NewKey))).ExitCode.Should().Be(0);
        var moment = whole.Elapsed;
        File.Delete(_folder.File("token-service.master-key.previous"));
        var (done, undone) = (0, 0);
        for (var round = 0; round < 12 || (round < 60 && (done == 0 || undone == 0)); round++)
        {
            var before = await File.ReadAllTextAsync(_folder.File("token-service.master-key"));
            var fresh = _folder.Write("new.key", Convert.ToBase64String(System.Security.Cryptography.RandomNumberGenerator.GetBytes(32)) + "\n");
            using (var process = Process.Start(new ProcessStartInfo(
                Repository.Program, [$"--contentRoot={_folder.Path}", "--environment=Production", "keys", "rewrap", "--new-master-key", fresh])
            {
                RedirectStandardOutput = true,
                RedirectStandardError = true,
            })!)
            {
                await Task.Delay(moment * (0.8 + (0.4 * Random.Shared.NextDouble())));
                process.Kill();
                await process.WaitForExitAsync();
            }

            await using var service = await AssertionClients.Start(_folder);
            (await service.Http.GetStringAsync("/.well-known/jwks.json")).Should().Be(jwks);
            (await service.Send(AssertionClients.Draft(AssertionClients.MacJob).SignedWith(AssertionClients.MacSecret))).Status.Should().Be(200);
            var after = await File.ReadAllTextAsync(_folder.File("token-service.master-key"));
            after.Should().BeOneOf(before, await File.ReadAllTextAsync(fresh));
            File.Exists(_folder.File("token-service.master-key.next")).Should().BeFalse();
            (done, undone, moment) = after == before ? (done, undone + 1, moment * 1.15) : (done + 1, undone, moment * 0.8);
            if (after != before)
            {
                (await File.ReadAllTextAsync(_folder.File("token-service.master-key.previous"))).Should().Be(before);
            }

            File.Delete(_folder.File("token-service.master-key.previous"));
        }

        done.Should().BePositive("some must have come to their end");
        undone.Should().BePositive("and some not");
    }

    [Theory]
    [InlineData("before the store was changed")]
    [InlineData("after the store was changed")]
    [InlineData("after the key before got its other name")]
    [Trait("Storage", "Sqlite")]
    public async Task Each_state_between_store_and_file_opens_is_used_by_commands_and_settles_at_the_next_start(string killed)
    {
        var (file, next, previous) = (_folder.File("token-service.master-key"), _folder.File("token-service.master-key.next"), _folder.File("token-service.master-key.previous"));
        await using (await AssertionClients.Start(_folder))
        {
        }

        var old = await File.ReadAllTextAsync(file);
        if (killed.StartsWith("before", StringComparison.Ordinal))
        {
            await File.WriteAllTextAsync(next, KeysCommandTests.NewKey);
        }
        else
        {
            using (var store = Store.Open(SettingsTests.Read(_folder.Path)))
            {
                store.Rewrap(_folder.Write("new.key", KeysCommandTests.NewKey));
            }

            File.Move(file, next);
            File.Copy(previous, file);
            if (!killed.Contains("other name", StringComparison.Ordinal))
            {
                File.Delete(previous);
            }
        }

        using (var store = Store.Open(SettingsTests.Read(_folder.Path)))
        {
            // A command that encrypts does so under the key that opens the rest.
            TokenService.Administration.KeyRotation.Rotate(store.Keys, SettingsTests.Read(_folder.Path), TimeProvider.System, atOnce: false);
        }

        await using var service = await AssertionClients.Start(_folder);
        service.Store.Current.Keys.Keys.Should().HaveCount(2);
        (await service.Send(AssertionClients.Draft(AssertionClients.MacJob).SignedWith(AssertionClients.MacSecret))).Status.Should().Be(200);
        File.Exists(next).Should().BeFalse();
        var changed = !killed.StartsWith("before", StringComparison.Ordinal);
        (await File.ReadAllTextAsync(file)).Should().Be(changed ? KeysCommandTests.NewKey : old);
        File.Exists(previous).Should().Be(changed);
        if (changed)
        {
            (await File.ReadAllTextAsync(previous)).Should().Be(old);
        }
    }

    [Fact]
    [Trait("Storage", "Sqlite")]
    public async Task A_prepared_key_is_not_thrown_away_while_neither_opens()
    {
        var next = _folder.File("token-service.master-key.next");
        await using (await AssertionClients.Start(_folder))
        {
        }

        var file = _folder.File("token-service.master-key");
        File.Move(file, _folder.File("away"));
        await File.WriteAllTextAsync(file, KeysCommandTests.NewKey);
        await File.WriteAllTextAsync(next, KeysCommandTests.SecondKey);

        var start = async () => await AssertionClients.Start(_folder);
        (await start.Should().ThrowAsync<TokenService.Protocol.OperatorFaultException>()).Which.Message.Should().Contain("does not open");
        (await File.ReadAllTextAsync(next)).Should().Be(KeysCommandTests.SecondKey);

        File.Move(_folder.File("away"), file, overwrite: true);
        await using var again = await AssertionClients.Start(_folder);
    }

    [Fact]
    [Trait("Storage", "Sqlite")]
    public async Task Two_changes_of_the_master_key_at_once_leave_one_of_the_two_in_use()
    {
        await using (await AssertionClients.Start(_folder))
        {
        }

        string[] fresh = [_folder.Write("a.key", KeysCommandTests.NewKey), _folder.Write("b.key", KeysCommandTests.SecondKey)];
        var cli = new Cli(_folder);

        var finished = await Task.WhenAll(fresh.Select(file => cli.Run("keys", "rewrap", "--new-master-key", file)));

        finished.Should().ContainSingle(one => one.ExitCode == 0);
        finished.Should().ContainSingle(one => one.Error.StartsWith("The master key of an earlier change is still in ", StringComparison.Ordinal));
        await using var service = await AssertionClients.Start(_folder);
        (await service.Send(AssertionClients.Draft(AssertionClients.MacJob).SignedWith(AssertionClients.MacSecret))).Status.Should().Be(200);
        (await File.ReadAllTextAsync(_folder.File("token-service.master-key"))).Should().BeOneOf(KeysCommandTests.NewKey, KeysCommandTests.SecondKey);
    }
}
