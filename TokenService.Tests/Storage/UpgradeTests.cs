using System;
using System.Collections.Concurrent;
using System.Diagnostics;
using System.Linq;
using System.Net.Http;
using System.Threading;
using System.Threading.Tasks;
using FluentAssertions;
using Microsoft.IdentityModel.JsonWebTokens;
using Microsoft.IdentityModel.Tokens;
using TokenService.Tests.Support;
using Xunit;
using Xunit.Abstractions;

namespace TokenService.Tests.Storage;

/// <summary>The build before this one and this one side by side on one store, as in a rolling upgrade, and back.</summary>
/// <remarks>
/// <see cref="Previous"/> is moved to the last release after each one. The first that knows PostgreSQL comes after
/// the one that is named here; from then on the trait goes, and the test runs on both databases like the others.
/// </remarks>
[Trait("Storage", "Sqlite")]
public sealed class UpgradeTests(ITestOutputHelper output) : IDisposable
{
    private const string Basic = $"{AssertionClients.BasicJob}:{AssertionClients.BasicSecret}";

    private const string Previous = "36e00b7c610080961cdb9fe4f6b5e3659f57a097";

    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(60);

    private static TimeSpan SideBySide => TimeSpan.FromSeconds(LongForm.Of(5, 60));

    private readonly TemporaryFolder _folder = new();
    private readonly HttpClient _http = new();
    private readonly int[] _ports = [RunningProgram.FreePort(), RunningProgram.FreePort()];

    // What went wrong for the clients, who go to the other one where one does not answer at all.
    private readonly ConcurrentQueue<string> _faults = new();
    private int _tokens;
    private int _assertions;
    private int _elsewhere;

    private string Issuer => $"http://127.0.0.1:{_ports[0]}";

    private string[] Settings => [$"--TokenService:Issuer={Issuer}", "--TokenService:RateLimit:FailuresPerMinute=0", "--TokenService:SigningAlgorithm=ES256"];

    public void Dispose()
    {
        _folder.Dispose();
        _http.Dispose();
    }

    [NeedsFact(PreviousBuild.Programs, PreviousBuild.InstalledBy)]
    public async Task The_build_before_and_this_one_serve_side_by_side_and_take_turns_without_a_failed_request()
    {
        Cli[] clis = [new(_folder) { Program = await PreviousBuild.Of(Previous) }, new(_folder)];
        ReplicaSet.Succeeded(await clis[0].Run("apply", _folder.Write("applied.json", Ledger.File)));
        var old = await clis[0].Serve(_ports[0], Settings);
        using var end = new CancellationTokenSource();
        var clients = Task.CompletedTask;
        try
        {
            var issuedBefore = (await Token(0)).AccessToken;
            clients = Task.WhenAll(Enumerable.Range(0, 4).Select(_ => Task.Run(() => Use(end.Token))));

            // The new one begins beside the old one, and brings the schema up to date where it has a migration.
            await using var fresh = await clis[1].Serve(_ports[1], Settings);
            await Task.Delay(SideBySide);
            await Agree();
            await Commands(clis);
            (await IsActive(1, issuedBefore)).Should().BeTrue();

            // The old one goes, while the new one serves; and comes back, since the new one has not pleased.
            await old.Stop();
            old.ExitCode.Should().Be(0);
            await Task.Delay(TimeSpan.FromSeconds(1));
            var issuedAlone = (await Token(1)).AccessToken;
            await old.DisposeAsync();
            old = await clis[0].Serve(_ports[0], Settings);
            await Agree();
            (await IsActive(0, issuedAlone)).Should().BeTrue();
            await fresh.Stop();
            fresh.ExitCode.Should().Be(0);
            (await Token(0)).Status.Should().Be(200);
        }
        finally
        {
            await end.CancelAsync();
            await clients;
            await old.DisposeAsync();
        }

        output.WriteLine($"{_tokens} tokens by secret, {_assertions} assertions, {_elsewhere} requests that went to the other one, {_faults.Count} failed.");
        _faults.Should().BeEmpty();
        _tokens.Should().BeGreaterThan(50);
        _assertions.Should().BeGreaterThan(50);
        StoreFile.Check(_folder);
    }

    // What one has answered counts at the other, both ways.
    private async Task Agree()
    {
        foreach (var (one, other) in ((int, int)[])[(0, 1), (1, 0)])
        {
            var assertion = Assertion();
            var answer = await Send(one, assertion);
            answer.Status.Should().Be(200, answer.Body);
            (await Send(other, assertion)).Status.Should().Be(401, "it was used");
            (await Checks(answer.AccessToken, other)).Should().BeTrue("its key is in the JWKS of the other");
            (await IsActive(other, answer.AccessToken)).Should().BeTrue();
            var revoked = (await Token(one)).AccessToken;
            (await Post(one, TokenQueries.Revocation, $"token={revoked}", Basic)).Status.Should().Be(200);
            await Soon(async () => !await IsActive(other, revoked));
        }
    }

    // A change by a command of either build is known to both, and both can undo it.
    private async Task Commands(Cli[] clis)
    {
        foreach (var (one, other) in ((int, int)[])[(0, 1), (1, 0)])
        {
            var id = $"client-{one}";
            var secret = ReplicaSet.Succeeded(await clis[one].Run("clients", "add", "--id", id, "--scope", "catalog.read"));
            await Both(async service => (await Token(service, $"{id}:{secret}")).Status == 200);
            var next = ReplicaSet.Succeeded(await clis[other].Run("clients", "rotate-secret", id, "--overlap", "0s"));
            await Both(async service => (await Token(service, $"{id}:{next}")).Status == 200 && (await Token(service, $"{id}:{secret}")).Status == 401);
            ReplicaSet.Succeeded(await clis[other].Run("clients", "disable", id));
            await Both(async service => (await Token(service, $"{id}:{next}")).Status == 401);

            ReplicaSet.Succeeded(await clis[one].Run("keys", "rotate", "--now", "--TokenService:SigningAlgorithm=ES256"));
            var kid = StoreFile.Texts(_folder, "SELECT kid FROM signing_keys ORDER BY signs_from DESC")[0];
            await Both(async service => new JsonWebToken((await Token(service)).AccessToken).Kid == kid);
        }

        ReplicaSet.Succeeded(await clis[0].Run("apply", _folder.Write("applied.json", KillTests.Numbered(1))));
        await Both(async service => (await Token(service, $"first-1:{AssertionClients.BasicSecret}")).Status == 200);
        ReplicaSet.Succeeded(await clis[1].Run("apply", _folder.Write("applied.json", KillTests.Numbered(2))));
        await Both(async service => (await Token(service, $"first-1:{AssertionClients.BasicSecret}")).Status == 401);
    }

    private async Task Use(CancellationToken end)
    {
        for (var i = Random.Shared.Next(2); !end.IsCancellationRequested; i++)
        {
            var answer = await Anywhere(i % 2, service => i % 4 < 2 ? Token(service) : Send(service, Assertion()));
            if (answer is not { Status: 200 })
            {
                _faults.Enqueue(answer?.Body ?? "Neither answers.");
            }
            else if (i % 4 < 2)
            {
                Interlocked.Increment(ref _tokens);
            }
            else
            {
                Interlocked.Increment(ref _assertions);
            }

            await Task.Delay(5, CancellationToken.None);
        }
    }

    // As whatever stands before replicas does.
    private async Task<Answer?> Anywhere(int first, Func<int, Task<Answer>> send)
    {
        foreach (var service in (int[])[first, 1 - first])
        {
            try
            {
                return await send(service);
            }
            catch (HttpRequestException)
            {
                Interlocked.Increment(ref _elsewhere);
            }
        }

        return null;
    }

    private Task<Answer> Token(int service, string basic = Basic) => Post(service, "/oauth2/token", "grant_type=client_credentials", basic);

    private string Assertion() => new AssertionDraft(AssertionClients.KeyJob, Issuer, DateTimeOffset.UtcNow)
        .WithHeader("kid", "2").SignedBy(AssertionClients.P256, "ES256");

    private Task<Answer> Send(int service, string assertion) => Post(service, "/oauth2/token", AssertionDraft.Form(assertion));

    private async Task<bool> IsActive(int service, string token)
        => (await Post(service, TokenQueries.Introspection, $"token={token}", Ledger.Asker)).Json.GetProperty("active").GetBoolean();

    private async Task<bool> Checks(string token, int service)
        => (await new JsonWebTokenHandler().ValidateTokenAsync(token, new TokenValidationParameters
        {
            IssuerSigningKeys = new JsonWebKeySet(await _http.GetStringAsync(new Uri($"http://127.0.0.1:{_ports[service]}/.well-known/jwks.json"))).GetSigningKeys(),
            ValidIssuer = Issuer,
            ValidAudience = Sample.CatalogUri,
            TryAllIssuerSigningKeys = false,
            ValidTypes = ["at+jwt"],
        })).IsValid;

    private static async Task Both(Func<int, Task<bool>> isKnown)
    {
        await Soon(() => isKnown(0));
        await Soon(() => isKnown(1));
    }

    private static async Task Soon(Func<Task<bool>> condition)
    {
        var since = Stopwatch.StartNew();
        while (!await condition())
        {
            since.Elapsed.Should().BeLessThan(s_patience);
            await Task.Delay(20);
        }
    }

    private Task<Answer> Post(int service, string path, string form, string? basic = null)
        => Patient.Post(_http, new Uri($"http://127.0.0.1:{_ports[service]}{path}"), form, basic);
}
