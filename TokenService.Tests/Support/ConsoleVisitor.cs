using System;
using System.Net.Http;
using System.Threading.Tasks;

namespace TokenService.Tests.Support;

/// <summary>A service with the console, and somebody who asks for its pages and follows no redirect.</summary>
internal sealed class ConsoleVisitor : IAsyncDisposable
{
    public const string Scope = "tokenservice.console";
    public const string Resource = "urn:tokenservice:console";
    public const string Operator = "operator:operator-secret-0123456789abcdef0123456";

    /// <summary>The scope of the console, and another.</summary>
    public const string Both = "both:both-secret-0123456789abcdef0123456789abcd";

    /// <summary>Its tokens are bound to a key.</summary>
    public const string Bound = "bound-operator:bound-secret-0123456789abcdef012345678";

    /// <summary>By this name nobody is on the machine of the console.</summary>
    public const string Away = "operators.example.com";

    /// <summary>The clients of <see cref="Sample"/>, and the ones above.</summary>
    public static string File { get; } = Sample.File.Replace("\"clients\": [", $$"""
        "clients": [
          { "client_id": "operator", "client_secret": "{{Secret(Operator)}}", "scope": "{{Scope}}" },
          { "client_id": "both", "client_secret": "{{Secret(Both)}}", "scope": "{{Scope}} catalog.read" },
          { "client_id": "bound-operator", "client_secret": "{{Secret(Bound)}}", "scope": "{{Scope}}", "dpop_bound_access_tokens": true },
        """, StringComparison.Ordinal).Replace("\"resources\": [", $$"""
        "resources": [ { "resource": "{{Resource}}", "scopes": [ { "name": "{{Scope}}" } ] },
        """, StringComparison.Ordinal);

    private readonly HttpClient _http;

    private ConsoleVisitor(RunningService service, int port)
    {
        Service = service;
        _http = new HttpClient(new SocketsHttpHandler { AllowAutoRedirect = false, UseCookies = false }) { BaseAddress = new Uri($"http://127.0.0.1:{port}") };
    }

    public RunningService Service { get; }

    public Uri Url => _http.BaseAddress!;

    public static Task<ConsoleVisitor> Start(params string[] settings) => With(null, File, settings);

    public static async Task<ConsoleVisitor> With(TimeProvider? clock, string file, params string[] settings)
    {
        var port = RunningProgram.FreePort();
        return new(await RunningService.Start(null, clock, file, [$"--TokenService:Management:Url=http://127.0.0.1:{port}", .. settings]), port);
    }

    /// <summary>Asks for a page, with these headers.</summary>
    public Task<Answer> Get(string path, params (string Name, string Value)[] headers) => Send(new HttpRequestMessage(HttpMethod.Get, path), headers);

    /// <summary>Asks for a page from another machine, as far as the console can tell.</summary>
    public Task<Answer> GetAway(string path, params (string Name, string Value)[] headers) => Get(path, [("Host", Away), .. headers]);

    /// <summary>Sends a form.</summary>
    public Task<Answer> Post(string path, string form, params (string Name, string Value)[] headers)
        => Send(new HttpRequestMessage(HttpMethod.Post, path) { Content = RunningService.Form(form) }, headers);

    public async Task<Answer> Send(HttpRequestMessage request, params (string Name, string Value)[] headers)
    {
        using (request)
        {
            foreach (var (name, value) in headers)
            {
                request.Headers.TryAddWithoutValidation(name, value);
            }

            await Service.Note(request);
            using var response = await _http.SendAsync(request);
            return await Answer.Of(response);
        }
    }

    public static (string Name, string Value) Bearer(string token) => ("Authorization", $"Bearer {token}");

    public static (string Name, string Value) Cookie(string token) => ("Cookie", $"tokenservice-console={token}");

    /// <summary>Runs a command on the store of the service, and waits until the service knows.</summary>
    public async Task Run(params string[] args)
    {
        var finished = await new Cli(Service.Folder, "Development").Run(args);
        if (finished.ExitCode != 0)
        {
            throw new InvalidOperationException(finished.Error);
        }

        await Service.Refresh();
    }

    public async ValueTask DisposeAsync()
    {
        _http.Dispose();
        await Service.DisposeAsync();
    }

    private static string Secret(string basic) => basic.Split(':')[1];
}
