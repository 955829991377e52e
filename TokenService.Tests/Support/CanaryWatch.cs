using System;
using System.Collections.Generic;
using System.Globalization;
using System.IO;
using System.Linq;
using System.Net.Http;
using System.Net.Http.Headers;
using System.Text;
using System.Threading;
using System.Threading.Tasks;
using Microsoft.Extensions.Logging;

namespace TokenService.Tests.Support;

/// <summary>
/// Looks after one <see cref="RunningService"/>: what tests send to it as secrets and what they get as tokens must not stand in its log at any level, nor
/// in its store and its audit log. Of a test with very many requests it takes the first ones: <see cref="MostCanaries"/> forms, <see cref="MostLog"/> characters.
/// </summary>
[ProviderAlias("Canary")]
internal sealed class CanaryWatch(HttpMessageHandler inner) : DelegatingHandler(inner), ILoggerProvider
{
    /// <summary>How much of a log is kept, in characters.</summary>
    public const int MostLog = 4 << 20;

    private const int MostCanaries = 4000;

    // Shorter ones are words: "x", "wrong".
    private const int ShortestSecret = 16;

    private static readonly string[] s_secretParameters = ["client_secret", "client_assertion", "token", "subject_token", "actor_token"];

    private readonly Canaries _canaries = new();
    private readonly StringBuilder _log = new();
    private readonly Lock _lock = new();

    /// <summary>Its log at the lowest level. What the framework says below a warning, the program lets nobody have, and this neither (see LogOutput).</summary>
    public static string[] Settings =>
    [
        "--Logging:LogLevel:Default=None", "--Logging:Canary:LogLevel:Default=Warning", "--Logging:Canary:LogLevel:TokenService=Trace",
        "--Logging:Canary:LogLevel:Microsoft.AspNetCore.Hosting.Diagnostics=None", "--Logging:Canary:LogLevel:Microsoft.AspNetCore.Server.Kestrel=Critical",
        "--Logging:Canary:LogLevel:Microsoft.Extensions.Hosting.Internal.Host=Critical",
        "--Logging:Canary:LogLevel:Microsoft.Extensions.Diagnostics.HealthChecks=Critical",
    ];

    /// <summary>The same on the console of a program in a process of its own.</summary>
    public static string[] ConsoleSettings => ["--Logging:LogLevel:Default=None", "--Logging:LogLevel:TokenService=Trace"];

    /// <summary>What was logged until now.</summary>
    public string Logged
    {
        get
        {
            lock (_lock)
            {
                return _log.ToString();
            }
        }
    }

    public ILogger CreateLogger(string categoryName) => new Logger(this);

    /// <summary>Looks for them; once the service has ended, so that all is written.</summary>
    /// <param name="folder">Where it ran.</param>
    /// <param name="printed">What it printed, where it was a process.</param>
    public void Check(TemporaryFolder folder, string printed)
    {
        _canaries.MustNotBeIn("the log", Logged);
        _canaries.MustNotBeIn("the log", WithoutExample(printed));
        foreach (var file in Written(folder.Path))
        {
            using var stream = new FileStream(file, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
            using var content = new MemoryStream();
            stream.CopyTo(content);
            _canaries.MustNotBeIn(file, content.ToArray());
        }
    }

    /// <summary>What a service printed, without the command that shows how to get a token from it in Development: that has the secret of the sample.</summary>
    public static string WithoutExample(string printed)
        => string.Join('\n', printed.Split('\n').Where(line => !line.StartsWith("  curl ", StringComparison.Ordinal)));

    // A test may have taken the folder away, or put a pipe there, which has no length.
    private static IEnumerable<string> Written(string folder) => Directory.Exists(folder)
        ? new DirectoryInfo(folder).EnumerateFiles()
            .Where(file => (file.Name.StartsWith("token-service.db", StringComparison.Ordinal) || file.Name.StartsWith("audit", StringComparison.Ordinal)) && file.Length > 0)
            .Select(file => file.FullName)
        : [];

    protected override async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
    {
        if (_canaries.Count < MostCanaries)
        {
            await Note(request, cancellationToken);
            var response = await base.SendAsync(request, cancellationToken);
            await NoteAnswer(response, cancellationToken);
            return response;
        }

        return await base.SendAsync(request, cancellationToken);
    }

    /// <summary>Notes what is sent to the service by another client than this one.</summary>
    /// <param name="request">The request, before it is sent.</param>
    /// <param name="cancellation">Ends it.</param>
    public async Task Note(HttpRequestMessage request, CancellationToken cancellation = default)
    {
        if (request.Headers.Authorization is { Scheme: "Basic", Parameter: { Length: >= ShortestSecret } basic } && TryDecode(basic) is { } pair)
        {
            _canaries.AddText("Basic credentials", basic);
            Note("a secret by Basic", pair[(pair.IndexOf(':', StringComparison.Ordinal) + 1)..]);
        }

        foreach (var proof in request.Headers.NonValidated.TryGetValues("DPoP", out var proofs) ? [.. proofs] : (string[])[])
        {
            Note("a proof", proof);
        }

        if (request.Content?.Headers.ContentType is { MediaType: "application/x-www-form-urlencoded" })
        {
            foreach (var parameter in (await request.Content.ReadAsStringAsync(cancellation)).Split('&').Select(parameter => parameter.Split('=', 2)))
            {
                if (parameter.Length == 2 && s_secretParameters.Contains(parameter[0]))
                {
                    Note(parameter[0], Uri.UnescapeDataString(parameter[1].Replace('+', ' ')));
                }
            }
        }
    }

    private async Task NoteAnswer(HttpResponseMessage response, CancellationToken cancellation)
    {
        if (response.IsSuccessStatusCode && response.Content.Headers.ContentType is MediaTypeHeaderValue { MediaType: "application/json" })
        {
            var body = await response.Content.ReadAsStringAsync(cancellation);
            const string member = "\"access_token\":\"";
            if (body.IndexOf(member, StringComparison.Ordinal) is >= 0 and var at)
            {
                at += member.Length;
                Note("an access token", body[at..body.IndexOf('"', at)]);
            }
        }
    }

    private void Note(string name, string sent)
    {
        if (sent.StartsWith("eyJ", StringComparison.Ordinal) && sent.Contains('.', StringComparison.Ordinal))
        {
            _canaries.AddToken(name, sent);
        }
        else if (sent.Length is >= ShortestSecret and <= 2048)
        {
            _canaries.AddText(name, sent);
        }
    }

    private void Keep(string line)
    {
        lock (_lock)
        {
            if (_log.Length < MostLog)
            {
                _log.Append(line).Append('\n');
            }
        }
    }

    private static string? TryDecode(string basic)
    {
        Span<byte> bytes = stackalloc byte[Math.Min(basic.Length, 8192)];
        return Convert.TryFromBase64String(basic, bytes, out var written) ? Encoding.UTF8.GetString(bytes[..written]) : null;
    }

    private sealed class Logger(CanaryWatch watch) : ILogger
    {
        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull
            => null;

        public bool IsEnabled(LogLevel logLevel) => watch._log.Length < MostLog;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
        {
            var members = state is IReadOnlyList<KeyValuePair<string, object?>> values
                ? string.Join(' ', values.Select(member => string.Create(CultureInfo.InvariantCulture, $"{member.Key}={member.Value}")))
                : "";
            watch.Keep($"{formatter(state, exception)} {members} {exception}");
        }
    }
}
