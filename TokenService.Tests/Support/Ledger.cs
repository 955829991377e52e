using System;
using System.Collections.Concurrent;
using System.Collections.Generic;
using System.Diagnostics;
using System.Linq;
using System.Net.Http;
using System.Net.Sockets;
using System.Threading;
using System.Threading.Tasks;
using FluentAssertions;
using Microsoft.IdentityModel.JsonWebTokens;
using Microsoft.IdentityModel.Tokens;

namespace TokenService.Tests.Support;

/// <summary>
/// What a service and its commands acknowledged, written down the moment that the answer was there, whatever happened to them after that;
/// and the check that it is all there. It knows nothing of the database.
/// </summary>
internal sealed class Ledger
{
    public const string Asker = "asker:asker-secret-0123456789abcdef01234567";

    private const string Basic = $"{AssertionClients.BasicJob}:{AssertionClients.BasicSecret}";
    private const string Grant = "grant_type=client_credentials";

    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(30);

    private readonly Notes<(string ClientId, string Secret)> _secrets = new();
    private readonly Notes<string> _used = new();
    private readonly Notes<string> _doubtful = new();
    private readonly Notes<string> _revoked = new();
    private readonly Notes<string> _tokens = new();
    private readonly ConcurrentDictionary<string, bool> _kids = new();
    private readonly ConcurrentQueue<string> _faults = new();
    private readonly ConcurrentQueue<(long At, string What)> _unavailable = new();
    private long _slowest;
    private long _unanswered;

    /// <summary>The clients of <see cref="AssertionClients"/>, and one that may ask about all tokens.</summary>
    public static string File { get; } = AssertionClients.File.Replace(
        "\"clients\": [",
        $$"""
        "clients": [ { "client_id": "asker", "grant_types": [], "client_secret": "{{Asker.Split(':')[1]}}", "introspection": true },
        """,
        StringComparison.Ordinal);

    /// <summary>The issuer of all services that are used, where it is not the address of the one.</summary>
    public string? Issuer { get; init; }

    /// <summary>How many of each kind.</summary>
    public string Summary
        => $"{_secrets.Count} secrets, {_used.Count} assertions, {_revoked.Count} revocations, {_tokens.Count} tokens, {_kids.Count} keys";

    public int Secrets => _secrets.Count;

    public int Assertions => _used.Count;

    public int Revocations => _revoked.Count;

    public int Keys => _kids.Count;

    /// <summary>How long the slowest answer took.</summary>
    public TimeSpan Slowest => TimeSpan.FromTicks(Interlocked.Read(ref _slowest));

    /// <summary>How many requests nobody answered.</summary>
    public long Unanswered => Interlocked.Read(ref _unanswered);

    /// <summary>When (<see cref="Stopwatch.GetTimestamp"/>) a request that needs the store was answered with 503.</summary>
    public IReadOnlyCollection<(long At, string What)> Unavailable => _unavailable;

    /// <summary>A client was added, or got a new secret, and this was printed.</summary>
    public void Secret(string clientId, string secret) => _secrets.Add((clientId, secret));

    /// <summary>A signing key was published.</summary>
    public void Key(string kid) => _kids[kid] = true;

    /// <summary>Whether this says that nobody answered. <see cref="HttpClient"/> passes on the socket's own exception where the other side is killed as they connect.</summary>
    public static bool IsUnanswered(Exception fault) => fault is HttpRequestException or SocketException;

    /// <summary>
    /// Uses a service until the end, and writes down what it acknowledges. A request that is not answered, or with 503, is neither acknowledged
    /// nor refused; every other answer than the right one is a fault.
    /// </summary>
    /// <param name="service">The service.</param>
    /// <param name="end">The end.</param>
    /// <param name="pause">How long to wait after each answer.</param>
    public async Task Use(Uri service, CancellationToken end, TimeSpan pause = default)
    {
        using var http = new HttpClient { BaseAddress = service };
        for (var i = 0; !end.IsCancellationRequested; i++)
        {
            try
            {
                await Use(http, i % 4);
                if (pause > TimeSpan.Zero)
                {
                    await Task.Delay(pause, CancellationToken.None);
                }
            }
            catch (Exception fault) when (IsUnanswered(fault))
            {
                // Nobody answered.
                Interlocked.Increment(ref _unanswered);
                await Task.Delay(10, CancellationToken.None);
            }
        }
    }

    /// <summary>Checks what was written down since the last check, and some of what is older.</summary>
    /// <param name="service">A service that knows neither a limit for failures nor a fault.</param>
    /// <param name="all">Checks all that is older.</param>
    public async Task Check(Uri service, bool all = false)
    {
        _faults.Should().BeEmpty();
        using var http = new HttpClient { BaseAddress = service };
        var keys = new JsonWebKeySet(await http.GetStringAsync(new Uri("/.well-known/jwks.json", UriKind.Relative)));
        _kids.Keys.Except(keys.Keys.Select(key => key.Kid)).Should().BeEmpty("all of them were published");
        foreach (var (clientId, secret) in _secrets.ToCheck(all))
        {
            var answer = await Ask(http, "/oauth2/token", Grant, $"{clientId}:{secret}");
            answer.Status.Should().Be(200, $"the secret of {clientId} was acknowledged; {answer.Body}");
        }

        foreach (var assertion in _used.ToCheck(all))
        {
            var answer = await Ask(http, "/oauth2/token", AssertionDraft.Form(assertion));
            (answer.Status, answer.Error).Should().Be((401, "invalid_client"), $"it was used; {answer.Body}");
        }

        foreach (var assertion in _doubtful.ToCheck(all: false))
        {
            // Nobody knows whether it was used; now it is.
            (await Ask(http, "/oauth2/token", AssertionDraft.Form(assertion))).Status.Should().BeOneOf(200, 401);
            (await Ask(http, "/oauth2/token", AssertionDraft.Form(assertion))).Status.Should().Be(401, "it may be accepted once");
        }

        foreach (var token in _revoked.ToCheck(all))
        {
            var answer = await Ask(http, TokenQueries.Introspection, $"token={token}", Asker);
            answer.Json.GetProperty("active").GetBoolean().Should().BeFalse("it was revoked");
        }

        foreach (var token in _tokens.ToCheck(all))
        {
            (await IsSigned(token, keys)).Should().BeTrue("every token that was issued verifies");
            var answer = await Ask(http, TokenQueries.Introspection, $"token={token}", Asker);
            answer.Json.GetProperty("active").GetBoolean().Should().BeTrue("it is live, and nobody revoked it");
        }
    }

    private async Task Use(HttpClient http, int what)
    {
        switch (what)
        {
            case 0:
                var assertion = new AssertionDraft(AssertionClients.KeyJob, Issuer ?? http.BaseAddress!.ToString().TrimEnd('/'), DateTimeOffset.UtcNow)
                    .With("exp", DateTimeOffset.UtcNow.ToUnixTimeSeconds() + 590).WithHeader("kid", "2").SignedBy(AssertionClients.P256, "ES256");
                if (Done(await Post(http, "/oauth2/token", AssertionDraft.Form(assertion))))
                {
                    _used.Add(assertion);
                }
                else
                {
                    _doubtful.Add(assertion);
                }

                break;
            case 1:
                if (await Token() is { } issued)
                {
                    _tokens.Add(issued);
                }

                break;
            case 2:
                if (await Token() is { } token && Done(await Post(http, TokenQueries.Revocation, $"token={token}", Basic)))
                {
                    _revoked.Add(token);
                }

                break;
            default:
                foreach (var key in new JsonWebKeySet(await http.GetStringAsync(new Uri("/.well-known/jwks.json", UriKind.Relative))).Keys)
                {
                    Key(key.Kid);
                }

                break;
        }

        async Task<string?> Token()
        {
            var answer = await Post(http, "/oauth2/token", Grant, Basic);
            if (answer.Status == 503 && !answer.IsTooBusy)
            {
                _faults.Enqueue($"A token by secret was refused: {answer.Body}");
            }

            return Done(answer) ? answer.AccessToken : null;
        }
    }

    private bool Done(Answer answer)
    {
        if (answer.Status == 503)
        {
            _unavailable.Enqueue((Stopwatch.GetTimestamp(), answer.Body));
        }

        if (answer.Status is not (200 or 503)
            || (answer.Status == 503 && (answer.Error != "temporarily_unavailable" || answer.Response.Headers.RetryAfter is null)))
        {
            _faults.Enqueue($"{answer.Status}: {answer.Body}");
        }

        return answer.Status == 200;
    }

    private static async Task<bool> IsSigned(string token, JsonWebKeySet keys)
        => (await new JsonWebTokenHandler().ValidateTokenAsync(token, new TokenValidationParameters
        {
            IssuerSigningKeys = keys.GetSigningKeys(),
            ValidateIssuer = false,
            ValidateAudience = false,
            TryAllIssuerSigningKeys = false,
            ValidTypes = ["at+jwt"],
        })).IsValid;

    // A machine with other things to do refuses some for too much load: that is no answer to the question.
    private async Task<Answer> Ask(HttpClient http, string path, string form, string? basic = null)
    {
        var since = Stopwatch.GetTimestamp();
        while (true)
        {
            var answer = await Post(http, path, form, basic);
            if (!answer.IsTooBusy || Stopwatch.GetElapsedTime(since) > s_patience)
            {
                return answer;
            }

            await Task.Delay(100);
        }
    }

    private async Task<Answer> Post(HttpClient http, string path, string form, string? basic = null)
    {
        var since = Stopwatch.GetTimestamp();
        using var request = new HttpRequestMessage(HttpMethod.Post, new Uri(path, UriKind.Relative)) { Content = RunningService.Form(form) };
        if (basic is not null)
        {
            request.Headers.Authorization = new("Basic", Convert.ToBase64String(System.Text.Encoding.UTF8.GetBytes(basic)));
        }

        using var response = await http.SendAsync(request);
        var answer = await Answer.Of(response);
        var took = Stopwatch.GetElapsedTime(since).Ticks;
        for (var slowest = Interlocked.Read(ref _slowest); took > slowest; slowest = Interlocked.Read(ref _slowest))
        {
            Interlocked.CompareExchange(ref _slowest, took, slowest);
        }

        return answer;
    }

    private sealed class Notes<T>
    {
        private const int MostOld = 30;

        private readonly ConcurrentQueue<T> _notes = new();
        private int _checked;

        public int Count => _notes.Count;

        public void Add(T note) => _notes.Enqueue(note);

        public List<T> ToCheck(bool all)
        {
            var notes = _notes.ToArray();
            var old = notes[.._checked];
            var toCheck = notes[_checked..].Concat(all ? old : old.OrderBy(_ => Random.Shared.Next()).Take(MostOld)).ToList();
            _checked = notes.Length;
            return toCheck;
        }
    }
}
