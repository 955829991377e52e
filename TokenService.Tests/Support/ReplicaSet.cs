using System;
using System.Collections.Generic;
using System.Linq;
using System.Net.Http;
using System.Threading.Tasks;
using FluentAssertions;
using Microsoft.IdentityModel.Tokens;

namespace TokenService.Tests.Support;

/// <summary>Three replicas of the service in processes of their own, with one issuer and one database, and nothing else in common.</summary>
internal sealed class ReplicaSet : IAsyncDisposable
{
    public const int Count = 3;

    private readonly HttpClient _http = new();
    private readonly TemporaryFolder[] _folders;
    private readonly RunningProgram?[] _programs = new RunningProgram?[Count];
    private readonly string[] _settings;

    private ReplicaSet(TemporaryFolder[] folders, string[] settings)
    {
        (_folders, Clis) = (folders, [.. folders.Select(folder => new Cli(folder))]);
        Ports = [.. folders.Select(_ => RunningProgram.FreePort())];
        _settings = [$"--TokenService:Issuer={Issuer}", "--TokenService:RateLimit:FailuresPerMinute=0", .. settings];
    }

    public int[] Ports { get; }

    /// <summary>The commands, as they are given on the machine of each.</summary>
    public Cli[] Clis { get; }

    /// <summary>As behind a proxy that knows all of them.</summary>
    public string Issuer => $"http://127.0.0.1:{Ports[0]}";

    /// <summary>The first one's folder; its database is that of all.</summary>
    public TemporaryFolder Folder => _folders[0];

    public static IEnumerable<int> All => Enumerable.Range(0, Count);

    /// <summary>Makes three on an empty database, and starts none.</summary>
    public static ReplicaSet Make(PostgreSqlServer server, params string[] settings)
    {
        var first = new TemporaryFolder(server);
        return new ReplicaSet([first, new TemporaryFolder(first), new TemporaryFolder(first)], settings);
    }

    /// <summary>Makes three, applies a declarative file, and starts them.</summary>
    public static async Task<ReplicaSet> Start(PostgreSqlServer server, string file, params string[] settings)
    {
        var replicas = Make(server, settings);
        try
        {
            await replicas.Apply(file);
            await Task.WhenAll(All.Select(replica => replicas.Serve(replica)));
            return replicas;
        }
        catch
        {
            await replicas.DisposeAsync();
            throw;
        }
    }

    public Uri Url(int replica) => new($"http://127.0.0.1:{Ports[replica]}");

    public TemporaryFolder FolderOf(int replica) => _folders[replica];

    public RunningProgram Program(int replica) => _programs[replica]!;

    /// <summary>Applies a declarative file by the command.</summary>
    public async Task Apply(string file)
        => Succeeded(await Clis[0].Run("apply", Folder.Write("applied.json", file)));

    /// <summary>Starts one, and waits until it is ready.</summary>
    public async Task Serve(int replica, params string[] settings)
        => _programs[replica] = await Clis[replica].Serve(Ports[replica], [.. _settings, .. settings]);

    /// <summary>Starts one whose clock is set beside the machine's.</summary>
    public async Task Serve(int replica, ClockShift clock)
        => _programs[replica] = await new Cli(_folders[replica]) { Variables = clock.Variables }.Serve(Ports[replica], _settings);

    /// <summary>The arguments by which one is started.</summary>
    public string[] Arguments(int replica) =>
    [
        $"--contentRoot={_folders[replica].Path}", "--environment=Production", $"--urls=http://127.0.0.1:{Ports[replica]}", .. _settings,
    ];

    public async Task Kill(int replica)
    {
        await _programs[replica]!.Kill();
        await _programs[replica]!.DisposeAsync();
        _programs[replica] = null;
    }

    /// <summary>Sends a request, again where the replica says that it has too much to do.</summary>
    public Task<Answer> Post(int replica, string path, string form, string? basic = null) => Patient.Post(_http, new Uri(Url(replica), path), form, basic);

    public Task<Answer> Token(int replica, string basic = $"{AssertionClients.BasicJob}:{AssertionClients.BasicSecret}")
        => Post(replica, "/oauth2/token", "grant_type=client_credentials", basic);

    public Task<Answer> Send(int replica, string assertion) => Post(replica, "/oauth2/token", AssertionDraft.Form(assertion));

    /// <summary>An assertion that is good at each of them.</summary>
    public string Assertion() => new AssertionDraft(AssertionClients.KeyJob, Issuer, DateTimeOffset.UtcNow)
        .WithHeader("kid", "2").SignedBy(AssertionClients.P256, "ES256");

    public Task<Answer> Revoke(int replica, string token)
        => Post(replica, TokenQueries.Revocation, $"token={token}", $"{AssertionClients.BasicJob}:{AssertionClients.BasicSecret}");

    /// <summary>Whether a token is active, or nothing where it does not know; of replicas with the clients of <see cref="Ledger"/>.</summary>
    public async Task<bool?> IsActive(int replica, string token)
    {
        var answer = await Post(replica, TokenQueries.Introspection, $"token={token}", Ledger.Asker);
        answer.Status.Should().BeOneOf([200, 503], answer.Body);
        return answer.Status == 200 ? answer.Json.GetProperty("active").GetBoolean() : null;
    }

    public Task<HttpResponseMessage> Jwks(int replica) => _http.GetAsync(new Uri(Url(replica), "/.well-known/jwks.json"));

    public async Task<string[]> Kids(int replica)
    {
        using var response = await Jwks(replica);
        return [.. new JsonWebKeySet(await response.Content.ReadAsStringAsync()).Keys.Select(key => key.Kid)];
    }

    /// <summary>What a command printed that had to succeed.</summary>
    public static string Succeeded(Finished finished)
    {
        finished.ExitCode.Should().Be(0, finished.Error);
        return finished.Output.Trim();
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var program in _programs)
        {
            if (program is not null)
            {
                await program.DisposeAsync();
            }
        }

        foreach (var folder in _folders)
        {
            folder.Dispose();
        }

        _http.Dispose();
    }
}

/// <summary>A client that does as it is told by an answer that there is too much to do.</summary>
internal static class Patient
{
    private const int Tries = 20;

    public static async Task<Answer> Post(HttpClient http, Uri url, string form, string? basic = null)
    {
        for (var tried = 1; ; tried++)
        {
            using var request = new HttpRequestMessage(HttpMethod.Post, url) { Content = RunningService.Form(form) };
            if (basic is not null)
            {
                request.Headers.Authorization = new("Basic", Convert.ToBase64String(System.Text.Encoding.UTF8.GetBytes(basic)));
            }

            using var response = await http.SendAsync(request);
            var answer = await Answer.Of(response);
            if (!answer.IsTooBusy || tried == Tries)
            {
                return answer;
            }

            await Task.Delay(response.Headers.RetryAfter!.Delta!.Value);
        }
    }
}
