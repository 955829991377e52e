using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Net.Http;
using System.Security.Cryptography;
using System.Text;
using System.Threading.Tasks;
using FluentAssertions;
using TokenService.Storage;
using TokenService.Tests.Operations;
using TokenService.Tests.Support;
using Xunit;

namespace TokenService.Tests.Contracts;

/// <summary>
/// The program with everything logged that can be, with an audit log, metrics and traces; every kind of credential in its place, and nearly right, and in every wrong
/// place; commands, a change of the master key, a crash. Afterwards all that it wrote is searched for each secret, token and key.
/// </summary>
[Trait("Host", "OwnProgram")]
public sealed class CanaryTests : IAsyncLifetime, IDisposable
{
    private const string Grant = "grant_type=client_credentials";

    private static readonly string[] s_paths = ["/oauth2/token", "/oauth2/introspect", "/oauth2/revoke"];

    private readonly TemporaryFolder _folder = new();
    private readonly Canaries _canaries = new();
    private readonly HttpClient _http = new();
    private readonly HttpClient _console = new(new SocketsHttpHandler { AllowAutoRedirect = false, UseCookies = false });
    private readonly List<(string Place, string Text)> _written = [];
    private readonly List<string> _traces = [];
    private readonly List<string> _own = [];
    private readonly (int Port, int Management) _ports = (RunningProgram.FreePort(), RunningProgram.FreePort());
    private readonly ClientKeyPair _ec = ClientKeyPair.For("ES256");
    private OtlpReceiver _receiver = null!;
    private Cli _cli = null!;
    private RunningProgram _program = null!;
    private int _answers;
    private int _pages;
    private string _operator = "";

    private Uri Url => new($"http://127.0.0.1:{_ports.Port}");

    private string Issuer => Url.ToString().TrimEnd('/');

    public async Task InitializeAsync()
    {
        _receiver = await OtlpReceiver.Start();
        _http.BaseAddress = Url;
        _console.BaseAddress = new Uri($"http://127.0.0.1:{_ports.Management}");
        _cli = new Cli(_folder) { Variables = _receiver.Variables };
        Own("clients.json", DPoPClients.File.Replace(
            "\"clients\": [",
            $$"""
            "clients": [
              { "client_id": "operator", "client_secret": "{{ConsoleVisitor.Operator.Split(':')[1]}}", "scope": "{{ConsoleVisitor.Scope}}" },
              { "client_id": "{{AssertionClients.MacJob}}", "token_endpoint_auth_method": "client_secret_jwt",
                "client_secret": "{{AssertionClients.MacSecret}}", "scope": "catalog.read" },
              { "client_id": "{{AssertionClients.KeyJob}}", "token_endpoint_auth_method": "private_key_jwt",
                "jwks": {{ClientKeyPair.Set(AssertionClients.Rsa.Jwk("1"), _ec.Jwk("2"))}}, "scope": "catalog.read" },
              { "client_id": "self", "token_endpoint_auth_method": "self_signed_tls_client_auth", "jwks": {{ClientKeyPair.Set(_ec.Jwk())}}, "scope": "catalog.read" },
            """,
            StringComparison.Ordinal).Replace(
            "\"resources\": [",
            $$"""
            "resources": [
              { "resource": "{{ConsoleVisitor.Resource}}", "scopes": [ { "name": "{{ConsoleVisitor.Scope}}" } ] },
            """,
            StringComparison.Ordinal));
        foreach (var secret in (string[])
        [
            Sample.JobSecret, Sample.FormSecret, Sample.WideSecret, AssertionClients.MacSecret, DPoPClients.Bound.Split(':')[1], ConsoleVisitor.Operator.Split(':')[1],
        ])
        {
            _canaries.AddText("a registered secret", secret);
        }

        _canaries.AddKey("the RSA key of a client", AssertionClients.Rsa.Rsa);
        _canaries.AddKey("the EC key of a client", _ec.Ec);
        _program = await Serve();
    }

    public async Task DisposeAsync()
    {
        await _program.DisposeAsync();
        await _receiver.DisposeAsync();
    }

    public void Dispose()
    {
        _http.Dispose();
        _console.Dispose();
        _folder.Dispose();
    }

    [Fact]
    public async Task No_secret_assertion_token_or_key_is_in_anything_that_the_program_writes()
    {
        AddServiceKeys();
        var generated = await Generated("clients", "add", "--id", "generated", "--scope", "catalog.read");
        var rotated = await Generated("clients", "rotate-secret", "generated");
        while ((await Ask(Grant, $"generated:{rotated}")).Status != 200)
        {
            await Task.Delay(100);
        }

        var token = (await Ask(Grant, TokenQueries.Job)).AccessToken;
        var mine = (await Ask(Grant, TokenExchanges.Agent)).AccessToken;
        (await Ask(TokenExchanges.Form(mine) + "&scope=catalog.read", TokenExchanges.Agent)).Status.Should().Be(200, "an exchange");

        await SignIn();
        await SecretsInTheirPlace(generated, rotated);
        await Assertions();
        await Proofs();
        await Certificates();
        await Queries(token);
        foreach (var misplaced in (string[])
        [
            Sample.JobSecret, AssertionClients.MacSecret, generated, Near(generated), generated[..^1], token, token.Split('.')[2],
            AssertionClients.Rsa.PrivatePem, _ec.PrivatePem, Convert.ToBase64String(_ec.Ec.ExportPkcs8PrivateKey()), PrivateJwk(_ec),
            new AssertionDraft(AssertionClients.MacJob, Issuer, DateTimeOffset.UtcNow).SignedWith(AssertionClients.MacSecret),
        ])
        {
            await InWrongPlaces(misplaced);
        }

        // Refusals of the last second before the crash are not in the store.
        var toExplain = _traces.Chunk(Math.Max(1, _traces.Count / 4)).Select(some => some[0]).ToList();
        await Pages();
        await Commands();
        await Crash();

        // The log is written in order: with this line all before it is there.
        await Ask("grant_type=the-last-one", TokenQueries.Job);
        await _program.Prints("the-last-one");
        await StoreFile.Until(() => StoreFile.Texts(_folder, "SELECT came FROM refusals").Exists(came => came.Contains("the-last-one", StringComparison.Ordinal)));
        using (var metrics = await _http.GetAsync(new Uri($"http://127.0.0.1:{_ports.Management}/metrics")))
        {
            _written.Add(("the metrics", await metrics.Content.ReadAsStringAsync()));
        }

        foreach (var trace in toExplain)
        {
            var explained = await Run("explain", trace);
            (explained.ExitCode, explained.Output.Contains("check ", StringComparison.Ordinal)).Should().Be((0, true), explained.Error);
        }

        await SignIn();
        await Pages();
        await StoreFile.Until(() => _receiver.Spans.Count > 50);
        await _program.Stop();
        _written.Add(("what the second program printed", _program.Printed));
        (await Run("audit", "verify", _folder.File("audit.log"))).ExitCode.Should().Be(0);
        Search();
    }

    private Task<RunningProgram> Serve() => _cli.Serve(
        _ports.Port,
        "--TokenService:ApplyFile=clients.json", "--TokenService:Audit:File=audit.log", "--TokenService:Mtls:Enabled=true",
        "--TokenService:ForwardedHeaders:KnownProxies=127.0.0.1", $"--TokenService:Management:Url=http://127.0.0.1:{_ports.Management}",
        "--TokenService:RateLimit:FailuresPerMinute=400", "--Logging:LogLevel:Default=Trace", "--Logging:Console:LogLevel:Default=Trace",
        "--Logging:Console:LogLevel:Microsoft.AspNetCore=Trace", "--Logging:Console:LogLevel:Microsoft.AspNetCore.Hosting.Diagnostics=Trace",
        "--Logging:Console:LogLevel:Microsoft.AspNetCore.Server.Kestrel.BadRequests=Trace", "--Logging:Console:LogLevel:Microsoft.AspNetCore.Routing=Trace");

    // The right secret and one that nearly fits, by each method, at each endpoint.
    private async Task SecretsInTheirPlace(string generated, string rotated)
    {
        (await Ask(Grant, $"generated:{generated}")).Status.Should().Be(200);
        foreach (var (id, secret) in ((string, string)[])
        [
            (Sample.Job, Sample.JobSecret), (Sample.FormJob, Sample.FormSecret), ("generated", generated), (AssertionClients.MacJob, AssertionClients.MacSecret), ("unknown", rotated),
        ])
        {
            foreach (var path in s_paths)
            {
                foreach (var sent in (string[])[secret, Near(secret), secret + "x", secret[1..]])
                {
                    _canaries.AddText("a secret that nearly fits", sent);
                    await Ask(Grant + "&token=x", $"{id}:{sent}", path);
                    await Ask($"{Grant}&token=x&client_id={id}&client_secret={Uri.EscapeDataString(sent)}", null, path);
                    await Ask($"{Grant}&token=x&client_id={id}&client_secret={sent}", $"{id}:{sent}", path);
                }
            }
        }
    }

    private async Task Assertions()
    {
        foreach (var sign in (Func<AssertionDraft, string>[])
        [
            draft => draft.SignedBy(AssertionClients.Rsa), draft => draft.WithHeader("kid", "2").SignedBy(_ec, "ES256"), draft => draft.SignedBy(ClientKeyPair.OfRsa()),
            draft => draft.SignedWith(AssertionClients.MacSecret), draft => draft.SignedWith(Near(AssertionClients.MacSecret)),
        ])
        {
            foreach (var id in (string[])[AssertionClients.KeyJob, AssertionClients.MacJob, Sample.Job, "unknown"])
            {
                var right = sign(new AssertionDraft(id, Issuer, DateTimeOffset.UtcNow));
                _canaries.AddToken("an assertion", right);
                await Ask(AssertionDraft.Form(right));
                await Ask(AssertionDraft.Form(right));
                await Ask($"client_assertion={right}&{Grant}");
                await Ask(AssertionDraft.Form(right) + "&client_id=other");
                await Ask(AssertionDraft.Form(right) + $"&client_secret={Sample.JobSecret}");
                var elsewhere = sign(new AssertionDraft(id, "https://elsewhere.example.com", DateTimeOffset.UtcNow));
                _canaries.AddToken("an assertion", elsewhere);
                await Ask(AssertionDraft.Form(elsewhere));
                await Ask(AssertionDraft.Form(elsewhere[..^4]));
            }
        }
    }

    private async Task Proofs()
    {
        var key = ClientKeyPair.For("ES256");
        _canaries.AddKey("the key of a proof", key.Ec);
        string? nonce = null;
        foreach (var method in (string[])["POST", "GET"])
        {
            var proof = DPoPClients.Draft(key, "ES256", $"{Issuer}/oauth2/token", DateTimeOffset.UtcNow, nonce).With("htm", method).SignedBy(key);
            _canaries.AddToken("a proof", proof);
            var answer = await Ask(Grant, DPoPClients.Bound, headers: ("DPoP", proof));
            nonce ??= DPoPClients.Nonce(answer);
            var withNonce = DPoPClients.Draft(key, "ES256", $"{Issuer}/oauth2/token", DateTimeOffset.UtcNow, nonce).With("htm", method).SignedBy(key);
            _canaries.AddToken("a proof", withNonce);
            (await Ask(Grant, DPoPClients.Bound, headers: ("DPoP", withNonce))).Status.Should().Be(method == "POST" ? 200 : 400);
            await Ask(Grant, DPoPClients.Bound, headers: ("DPoP", withNonce));
            await Ask(Grant, DPoPClients.Bound, headers: ("DPoP", withNonce[..^3]));
        }
    }

    private async Task Certificates()
    {
        var request = new System.Security.Cryptography.X509Certificates.CertificateRequest("CN=self", _ec.Ec, HashAlgorithmName.SHA256);
        using var certificate = request.CreateSelfSigned(DateTimeOffset.UtcNow.AddHours(-1), DateTimeOffset.UtcNow.AddHours(1));
        (await Ask($"{Grant}&client_id=self", headers: ("Client-Cert", $":{Convert.ToBase64String(certificate.RawData)}:"))).Status.Should().Be(200);
        await Ask($"{Grant}&client_id=self", headers: ("Client-Cert", $":{Convert.ToBase64String(_ec.Ec.ExportPkcs8PrivateKey())}:"));
        await Ask($"{Grant}&client_id={AssertionClients.KeyJob}", headers: ("Client-Cert", $":{Convert.ToBase64String(certificate.RawData)}:"));
    }

    private async Task Queries(string token)
    {
        foreach (var (path, caller) in ((string, string)[])
        [
            (TokenQueries.Introspection, TokenQueries.CatalogApi), (TokenQueries.Introspection, TokenQueries.OrdersApi), (TokenQueries.Introspection, TokenQueries.Nobody),
            (TokenQueries.Introspection, TokenQueries.Job), (TokenQueries.Revocation, TokenQueries.Wide), (TokenQueries.Revocation, TokenQueries.Job),
            (TokenQueries.Introspection, TokenQueries.CatalogApi),
        ])
        {
            await Ask($"token={token}", caller, path);
            await Ask($"token={token[..^5]}&token_type_hint=refresh_token", caller, path);
            await Ask($"token={token}&token={token}", caller, path);
        }
    }

    private async Task InWrongPlaces(string misplaced)
    {
        var sent = Uri.EscapeDataString(misplaced);
        var line = misplaced.ReplaceLineEndings(" ");
        if (misplaced.StartsWith("eyJ", StringComparison.Ordinal))
        {
            _canaries.AddToken("a misplaced token", misplaced);
        }
        else
        {
            _canaries.AddText("a misplaced secret", misplaced);
            _canaries.AddText("a misplaced secret", line);
        }

        foreach (var form in (string[])
        [
            $"{Grant}&client_id={sent}", $"{Grant}&client_id={sent}&client_secret=x", $"{Grant}&client_id={sent}&client_secret={Sample.Job}", $"{Grant}&client_secret={sent}",
            $"{Grant}&client_id={sent}&client_secret={sent}", $"{Grant}&{sent}=x", $"{Grant}&{sent}", $"{Grant}&client_secret={sent}%zz", $"{Grant}&password={sent}",
            $"{Grant}&client_assertion={sent}", $"{Grant}&client_assertion={sent}&client_assertion_type={sent}", $"grant_type={sent}", $"client_secret={sent}",
            $"{Grant}&client_secret={sent}&client_secret={sent}", $"{Grant}&client_id={Sample.FormJob}&client_secret={sent}",
            AssertionDraft.Form(sent, AssertionDraft.JwtSpiffe), $"{AssertionDraft.Form(sent)}&client_id={sent}",
        ])
        {
            await Ask(form);
        }

        foreach (var form in (string[])
        [
            $"{Grant}&scope={sent}", $"{Grant}&scope=catalog.read%20{sent}", $"{Grant}&resource={sent}", $"{Grant}&resource=https://x.example.com/?key={sent}", $"grant_type={sent}",
            $"{Grant}&client_id={sent}", $"{Grant}&audience={sent}", TokenExchanges.Form(misplaced), $"{TokenExchanges.Form("x")}&requested_token_type={sent}",
            $"{TokenExchanges.Form("x")}&audience={sent}", $"grant_type={TokenExchanges.Grant}&subject_token=x&subject_token_type={sent}",
            $"{TokenExchanges.Form("x")}&actor_token={sent}&actor_token_type={sent}",
        ])
        {
            await Ask(form, TokenExchanges.Agent);
            await Ask(form, TokenQueries.Job);
        }

        foreach (var path in (string[])[TokenQueries.Introspection, TokenQueries.Revocation])
        {
            await Ask($"token={sent}", TokenQueries.CatalogApi, path);
            await Ask($"token=x&token_type_hint={sent}", TokenQueries.CatalogApi, path);
            await Ask($"{sent}={sent}", TokenQueries.CatalogApi, path);
        }

        foreach (var pair in (string[])[misplaced, $":{misplaced}", $"{misplaced}:", $"{misplaced}:{Sample.Job}", $"{Sample.Job}:{sent}", $"{sent}:{sent}"])
        {
            await Ask(Grant, pair);
        }

        foreach (var header in (string[])[line, $"Basic {line}", $"Bearer {line}", $"Basic {Sample.Job}:{line}", $"DPoP {line}", $"Basic {Convert.ToBase64String(Encoding.UTF8.GetBytes(misplaced))}=="])
        {
            await Ask(Grant, headers: ("Authorization", header));
        }

        foreach (var name in (string[])["X-Api-Key", "Cookie", "User-Agent", "DPoP", "Client-Cert", "X-Forwarded-For", "traceparent", "tracestate", "baggage"])
        {
            await Ask(Grant, TokenQueries.Job, headers: (name, line));
        }

        foreach (var path in (string[])[$"/oauth2/token?client_secret={sent}", $"/oauth2/token?{sent}", $"/oauth2/token/{sent}", $"/{sent}", $"/.well-known/jwks.json?access_token={sent}"])
        {
            await Ask(Grant, null, path);
        }

        foreach (var raw in (string[])
        [
            $"POST /oauth2/token HTTP/1.1\r\nHost: x\r\nAuthorization {line}\r\nConnection: close\r\n\r\n",
            $"POST /oauth2/token HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {line}\u0001\r\nConnection: close\r\n\r\n",
            $"POST /oauth2/token HTTP/1.1\r\nHost: x\r\nX: y\r\n {line}\r\nConnection: close\r\n\r\n",
            $"POST /oauth2/token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded; charset={line}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            $"POST /oauth2/token HTTP/1.1\r\nHost: x\r\nContent-Type: {line}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            $"{line.Replace(' ', '-')} /oauth2/token HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            $"POST /oauth2/token?client_secret={sent} HTTP/9.9\r\n\r\n", $"POST /oauth2/token HTTP/1.1\r\nHost: {line}\r\nConnection: close\r\n\r\n",
        ])
        {
            _written.Add(("an answer to a malformed request", await RawHttp.Send(Url, raw)));
        }

        await InWrongPlacesOfTheConsole(sent, line);
    }

    // By an operator, and by somebody who is none.
    private async Task InWrongPlacesOfTheConsole(string sent, string line)
    {
        foreach (var isOperator in (bool[])[true, false])
        {
            foreach (var path in (string[])["/console/login", "/console/token"])
            {
                foreach (var form in (string[])[$"token={sent}", $"token={sent}&token={sent}", $"{sent}={sent}", $"token={sent}%zz"])
                {
                    (await Visit(path, isOperator, form)).Status.Should().BeInRange(200, 403).And.NotBe(303);
                }
            }

            (await Visit($"/console/client?id={sent}", isOperator)).Status.Should().Be(isOperator ? 404 : 401);
            (await Visit($"/console/{sent}", isOperator)).Status.Should().Be(isOperator ? 404 : 401);

            // Who searches sees in the field what he has typed; who may not search does not.
            foreach (var path in (string[])["/console/clients?q=", "/console/refusals?trace_id="])
            {
                (await Visit(path + sent, isOperator, echoes: isOperator)).Status.Should().Be(isOperator ? 200 : 401);
            }
        }

        foreach (var header in ((string, string)[])[("Authorization", $"Bearer {line}"), ("Authorization", line), ("Cookie", $"tokenservice-console={line}"), ("Cookie", line)])
        {
            (await Visit("/console/clients", false, null, false, header)).Status.Should().BeInRange(401, 403);
        }
    }

    // With a token that opens it, which goes into the cookie and nowhere else.
    private async Task SignIn()
    {
        _operator = (await Ask(Grant, ConsoleVisitor.Operator)).AccessToken;
        (await Visit("/console/login", false, $"token={_operator}")).Status.Should().Be(303);
        (await Visit("/console/clients", false, null, false, ConsoleVisitor.Cookie(_operator))).Status.Should().Be(200);
        (await Visit("/console/token", true, $"token={_operator}")).Status.Should().Be(200);
    }

    private async Task Pages()
    {
        foreach (var path in (string[])
        [
            "", "/clients", "/keys", "/refusals", "/token", "/activity.json", "/client?id=generated", $"/client?id={AssertionClients.MacJob}", $"/client?id={AssertionClients.KeyJob}",
            .. _traces.Where((_, i) => i % 20 == 0).Select(trace => $"/refusals?trace_id={trace}"),
        ])
        {
            (await Visit("/console" + path, true)).Status.Should().Be(200, path);
        }
    }

    private async Task Commands()
    {
        (await Run("keys", "rotate", "--now")).ExitCode.Should().Be(0);
        (await Run("keys", "list", "--json")).ExitCode.Should().Be(0);
        (await Run("clients", "list", "--json")).ExitCode.Should().Be(0);
        foreach (var id in (string[])["generated", AssertionClients.MacJob, AssertionClients.KeyJob])
        {
            (await Run("clients", "show", id, "--json")).ExitCode.Should().Be(0);
        }

        var assertion = new AssertionDraft(AssertionClients.KeyJob, Issuer, DateTimeOffset.UtcNow).With("exp", 5).SignedBy(AssertionClients.Rsa);
        _canaries.AddToken("an assertion to explain", assertion);
        (await Run("explain", "--client", AssertionClients.KeyJob, "--assertion", Own("assertion.jwt", assertion))).ExitCode.Should().Be(1);

        // Files that say a secret where it is wrong: too short, of a wrong type, broken behind it.
        foreach (var client in (string[])
        [
            $"\"client_id\": \"x\", \"client_secret\": \"{Short}\"", $"\"client_id\": \"x\", \"client_secret\": [[\"{Sample.WideSecret}\"]]",
            $"\"client_id\": \"x\", \"client_secret\": \"{Sample.WideSecret}\", }}", $"\"client_id\": \"x\", \"client_secret_hash\": \"{Sample.WideSecret}\"",
            $"\"client_id\": \"x\", \"client_secret\": \"{Sample.WideSecret}\", \"token_endpoint_auth_method\": \"private_key_jwt\"",
            $"\"client_id\": \"x\", \"token_endpoint_auth_method\": \"private_key_jwt\", \"jwks\": {{ \"keys\": [ {PrivateJwk(_ec)} ] }}",
        ])
        {
            (await Run("apply", Own("wrong.json", AssertionClients.Resources($"{{ {client} }}")))).ExitCode.Should().Be(1, client);
        }

        var password = "password-" + Guid.NewGuid().ToString("N");
        _canaries.AddText("the password of the database", password);
        foreach (var more in (string[])["Port=1", "Port=none", "Nonsense=1"])
        {
            var refused = await Run(
                "clients", "list", "--TokenService:Storage=PostgreSql", $"--TokenService:MasterKeyFile={Own("a.master-key", Convert.ToBase64String(RandomNumberGenerator.GetBytes(32)))}",
                $"--ConnectionStrings:TokenService=Host=127.0.0.1;Username=u;Database=d;Password={password};{more}");
            (refused.ExitCode, refused.Output).Should().Be((1, ""));
        }

        // A change of the master key, under the running service.
        AddServiceKeys();
        AddMasterKey("token-service.master-key");
        var fresh = Own("fresh.master-key", Convert.ToBase64String(RandomNumberGenerator.GetBytes(32)));
        AddMasterKey(fresh);
        (await Run("keys", "rewrap", "--new-master-key", fresh)).ExitCode.Should().Be(0);
        if (_folder.Database is not null)
        {
            File.Copy(fresh, _folder.File("token-service.master-key"), overwrite: true);
        }

        (await Ask(Grant, TokenQueries.Job)).Status.Should().Be(200);
    }

    // In the middle of everything. What lies on the disk then is searched too.
    private async Task Crash()
    {
        var load = Task.WhenAll(Enumerable.Range(0, 4).Select(async _ =>
        {
            try
            {
                for (var i = 0; i < 1000; i++)
                {
                    await Ask(AssertionDraft.Form(new AssertionDraft(AssertionClients.MacJob, Issuer, DateTimeOffset.UtcNow).SignedWith(AssertionClients.MacSecret)));
                    await Ask(Grant, $"{Sample.Job}:{Near(Sample.JobSecret)}");
                }
            }
            catch (HttpRequestException)
            {
                // Killed.
            }
        }));
        await Task.Delay(300);
        await _program.Kill();
        await load;
        _written.Add(("what the program printed until it was killed", _program.Printed));
        Search();
        await _program.DisposeAsync();
        _program = await Serve();
        AddServiceKeys();
    }

    private void Search()
    {
        foreach (var (place, text) in _written)
        {
            _canaries.MustNotBeIn(place, text);
        }

        foreach (var body in _receiver.Bodies)
        {
            _canaries.MustNotBeIn("what was sent by OTLP", body);
        }

        // All files but those that this test wrote, and those with the master key, are the program's.
        var files = Directory.GetFiles(_folder.Path, "*", SearchOption.AllDirectories)
            .Where(file => !_own.Contains(file) && !Path.GetFileName(file).StartsWith("token-service.master-key", StringComparison.Ordinal) && Path.GetFileName(file) != "appsettings.json")
            .ToList();
        files.Select(Path.GetFileName).Should().Contain("audit.log");
        foreach (var file in files)
        {
            _canaries.MustNotBeIn(file, File.ReadAllBytes(file));
        }

        if (_folder.Database is not null)
        {
            foreach (var table in StoreFile.Texts(_folder, "SELECT tablename::TEXT FROM pg_tables WHERE schemaname = 'public'"))
            {
                _canaries.MustNotBeIn($"the table {table}", string.Join('\n', StoreFile.Texts(_folder, $"SELECT one::TEXT FROM {table} AS one")));
            }
        }
        else
        {
            files.Select(Path.GetFileName).Should().Contain("token-service.db");
        }

        _answers.Should().BeGreaterThan(1000);
        _pages.Should().BeGreaterThan(300);
        _written.Should().Contain(written => written.Text.Contains("sent a wrong secret", StringComparison.Ordinal), "what may be written is");
    }

    private async Task<Answer> Ask(string form, string? basic = null, string path = "/oauth2/token", params (string Name, string Value)[] headers)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, path) { Content = RunningService.Form(form) };
        if (basic is not null)
        {
            request.Headers.Authorization = new("Basic", Convert.ToBase64String(Encoding.UTF8.GetBytes(basic)));
        }

        foreach (var (name, value) in headers)
        {
            request.Headers.TryAddWithoutValidation(name, value);
        }

        using var response = await _http.SendAsync(request);
        var answer = await Answer.Of(response);
        lock (_written)
        {
            _answers++;
            if (answer.Status == 200 && path == "/oauth2/token")
            {
                _canaries.AddToken("an access token", answer.AccessToken);
            }
            else
            {
                _written.Add(("an answer", $"{response.Headers}\n{answer.Body}"));
                if (answer.Status is 400 or 401 && answer.Body.Length > 0)
                {
                    _traces.Add(answer.Json.GetProperty("trace_id").GetString()!);
                }
            }
        }

        return answer;
    }

    private async Task<Answer> Visit(string path, bool isOperator, string? form = null, bool echoes = false, params (string Name, string Value)[] headers)
    {
        using var request = new HttpRequestMessage(form is null ? HttpMethod.Get : HttpMethod.Post, path) { Content = form is null ? null : RunningService.Form(form) };
        foreach (var (name, value) in isOperator ? [ConsoleVisitor.Bearer(_operator), .. headers] : headers)
        {
            request.Headers.TryAddWithoutValidation(name, value);
        }

        using var response = await _console.SendAsync(request);
        var answer = await Answer.Of(response);
        _pages++;
        if (!echoes)
        {
            // The cookie of a sign-in has the token.
            var others = response.Headers.Where(header => answer.Status != 303 || header.Key != "Set-Cookie").Select(header => $"{header.Key}: {string.Join(", ", header.Value)}");
            _written.Add(("an answer of the console", $"{string.Join('\n', others)}\n{answer.Body}"));
        }

        return answer;
    }

    private async Task<Finished> Run(params string[] args)
    {
        var finished = await _cli.Run(args);
        _written.Add((string.Join(' ', args[..2]), $"{finished.Output}\n{finished.Error}"));
        return finished;
    }

    // The one place where a secret is printed: alone, on the standard output of the command that makes it.
    private async Task<string> Generated(params string[] args)
    {
        var finished = await _cli.Run(args);
        finished.ExitCode.Should().Be(0, finished.Error);
        var secret = finished.Output.Trim();
        secret.Should().MatchRegex("^[A-Za-z0-9_-]{43}$");
        _canaries.AddText("a generated secret", secret);
        _written.Add((string.Join(' ', args), finished.Error));
        return secret;
    }

    private void AddServiceKeys()
    {
        using var store = Store.Open(SettingsTests.Read(_folder.Path));
        foreach (var key in StoreTransaction.Read(store.DataSource, store.Keys.ReadRing).Keys)
        {
            _canaries.AddKey("a signing key", key);
        }
    }

    private void AddMasterKey(string file)
    {
        var text = File.ReadAllText(_folder.File(file)).Trim();
        _canaries.AddText("the master key", text);
        _canaries.AddBytes("the master key", Convert.FromBase64String(text));
    }

    private string Own(string name, string content)
    {
        _own.Add(_folder.File(name));
        return _folder.Write(name, content);
    }

    private string Short
    {
        get
        {
            const string few = "few-characters-4711";
            _canaries.AddText("a short secret", few);
            return few;
        }
    }

    // One character is another one.
    private static string Near(string secret) => secret[..^1] + (secret[^1] == 'x' ? 'y' : 'x');

    private static string PrivateJwk(ClientKeyPair key)
    {
        var jwk = key.Jwk();
        jwk["d"] = System.Buffers.Text.Base64Url.EncodeToString(key.Ec.ExportParameters(true).D);
        return jwk.ToJsonString();
    }
}
