using System;
using System.Collections.Generic;
using System.Linq;
using System.Net.Http;
using System.Text;
using System.Threading.Tasks;
using FluentAssertions;
using TokenService.Tests.Support;
using Xunit;

namespace TokenService.Tests.Contracts;

/// <summary>A full run of the program with everything logged that can be, and its output searched.</summary>
public sealed class LogSecrecyTests
{
    [Fact]
    public async Task No_secret_token_or_Authorization_header_is_in_any_log_line_at_any_level()
    {
        using var folder = new TemporaryFolder();
        folder.Write("clients.json", Sample.File.Replace(
            "\"clients\": [",
            $$"""
            "clients": [
              { "client_id": "{{AssertionClients.MacJob}}", "token_endpoint_auth_method": "client_secret_jwt",
                "client_secret": "{{AssertionClients.MacSecret}}", "scope": "catalog.read" },
              { "client_id": "{{AssertionClients.KeyJob}}", "token_endpoint_auth_method": "private_key_jwt",
                "jwks": {{ClientKeyPair.Set(AssertionClients.Rsa.Jwk())}}, "scope": "catalog.read" },
            """,
            StringComparison.Ordinal));
        var port = RunningProgram.FreePort();
        var url = new Uri($"http://127.0.0.1:{port}");
        List<string> canaries = [Sample.JobSecret, Sample.FormSecret, Sample.WideSecret, Sample.IntrospectorSecret];
        await using var program = await new Cli(folder).Serve(
            port,
            "--TokenService:ApplyFile=clients.json",
            "--Logging:LogLevel:Default=Trace",
            "--Logging:Console:LogLevel:Default=Trace",
            "--Logging:Console:LogLevel:Microsoft.AspNetCore=Trace",
            "--Logging:Console:LogLevel:Microsoft.AspNetCore.Hosting.Diagnostics=Trace",
            "--Logging:Console:LogLevel:Microsoft.AspNetCore.Server.Kestrel.BadRequests=Trace");
        using var http = new HttpClient { BaseAddress = url };

        const string grant = "grant_type=client_credentials";
        await Send(grant, Sample.Job, Sample.JobSecret);
        await Send($"{grant}&client_id={Sample.FormJob}&client_secret={Sample.FormSecret}");
        await Send(grant, Sample.Job, "canary-wrong-secret");
        await Send(grant, Sample.FormJob, Sample.FormSecret);
        await Send(grant, "unknown", "canary-of-unknown");
        await Send($"{grant}&scope=nothing", Sample.Job, Sample.JobSecret);
        await Send($"{grant}&client_id=x&client_secret=canary-second-way", Sample.Job, Sample.JobSecret);
        await Send($"{grant}&client_assertion=canary.assertion.x");
        foreach (var secret in (string[])[AssertionClients.MacSecret, "another-secret-0123456789abcdef0123456789"])
        {
            var assertion = new AssertionDraft(AssertionClients.MacJob, url.ToString().TrimEnd('/'), DateTimeOffset.UtcNow).SignedWith(secret);
            canaries.AddRange([secret, .. assertion.Split('.')[1..]]);
            await Send(AssertionDraft.Form(assertion));
            await Send(AssertionDraft.Form(assertion));
            await Send(AssertionDraft.Form(assertion) + "&client_id=other");
        }

        foreach (var key in (ClientKeyPair[])[AssertionClients.Rsa, ClientKeyPair.OfRsa()])
        {
            var assertion = new AssertionDraft(AssertionClients.KeyJob, url.ToString().TrimEnd('/'), DateTimeOffset.UtcNow).SignedBy(key);
            canaries.AddRange(assertion.Split('.')[1..]);
            await Send(AssertionDraft.Form(assertion));
            await Send(AssertionDraft.Form(assertion));
        }

        await Send($"{grant}&client_secret=canary-%zz");
        await Send($"{grant}&username=u&password=canary-password");
        await Send($"client_secret=canary-no-grant");
        foreach (var path in (string[])["/oauth2/introspect", "/oauth2/revoke"])
        {
            await Send("token=canary-token-asked-about", Sample.Job, Sample.JobSecret, path);
            await Send("token=canary.token.asked-about", Sample.Job, "canary-wrong-secret-there", path);
            await Send("token=canary-twice&token=canary-twice", Sample.Job, Sample.JobSecret, path);
        }

        await Send(grant, path: "/oauth2/token?client_secret=canary-in-query&client_assertion=canary-assertion-in-query");
        await Send(grant, path: "/elsewhere?client_secret=canary-in-query");

        // Refused by the web server itself: a header with a control character, a line that is no header, a broken request line.
        foreach (var header in (string[])["Authorization: Basic canary-\u0001-control", "Authorization Basic canary-no-colon", "X: y\r\n canary-folded"])
        {
            await RawHttp.Send(url, $"POST /oauth2/token HTTP/1.1\r\nHost: x\r\n{header}\r\nConnection: close\r\n\r\n");
        }

        await RawHttp.Send(url, "POST /oauth2/token?client_secret=canary-line HTTP/9.9\r\n\r\n");

        canaries.Add("canary-");

        // The log is written in order: with this line all before it is there.
        await Send("grant_type=the-last-one", Sample.Job, Sample.JobSecret);
        await program.Prints("the-last-one");
        program.Printed.Should().Contain("sent a wrong secret").And.Contain("Token for client reporting-job", "the log must hold what it may hold")
            .And.Contain("that was used before").And.Contain("was not signed with its secret")
            .And.Contain("that its key did not sign").And.Contain("Token for client key-job");
        foreach (var canary in canaries.SelectMany(Forms))
        {
            program.Printed.Should().NotContain(canary);
        }

        async Task Send(string form, string? clientId = null, string? secret = null, string path = "/oauth2/token")
        {
            using var request = new HttpRequestMessage(HttpMethod.Post, path) { Content = RunningService.Form(form) };
            if (clientId is not null)
            {
                var credentials = Convert.ToBase64String(Encoding.UTF8.GetBytes($"{clientId}:{secret}"));
                canaries.Add(credentials);
                request.Headers.Authorization = new("Basic", credentials);
            }

            using var response = await http.SendAsync(request);
            var answer = await Answer.Of(response);
            if (answer.Status == 200 && answer.Body.Length > 0)
            {
                canaries.AddRange(answer.AccessToken.Split('.').Skip(1));
            }
        }

        static IEnumerable<string> Forms(string canary) => [canary, Convert.ToHexString(Encoding.UTF8.GetBytes(canary)), Uri.EscapeDataString(canary)];
    }

    [Fact]
    public async Task Tokens_of_workloads_and_the_token_that_their_keys_are_fetched_with_are_not_logged()
    {
        using var folder = new TemporaryFolder();
        await using var host = await KeySetHost.Start(ClientKeyPair.Set(AssertionClients.Rsa.Jwk()));
        await using var broken = await KeySetHost.Start();
        broken.Fail(401);
        folder.Write("token", "canary-reader-token");
        folder.Write("clients.json", Endpoints.FederationTests.File(
            $$"""
            { "name": "platform", "issuer": "{{WorkloadTokens.ClusterIssuer}}", "jwks_uri": "{{host.Uri}}", "bearer_token_file": "{{folder.File("token")}}" },
            { "name": "away", "issuer": "https://away.example.com", "jwks_uri": "{{broken.Uri}}", "bearer_token_file": "{{folder.File("token")}}" }
            """,
            Endpoints.FederationTests.Client("indexer", "platform", """{ "sub": "system:serviceaccount:shop:indexer" }""")));
        var port = RunningProgram.FreePort();
        await using var program = await new Cli(folder).Serve(
            port,
            "--TokenService:ApplyFile=clients.json",
            $"--TokenService:Issuer={AssertionClients.Issuer}",
            "--Logging:LogLevel:Default=Trace",
            "--Logging:Console:LogLevel:Default=Trace");
        using var http = new HttpClient { BaseAddress = new Uri($"http://127.0.0.1:{port}") };
        var now = DateTimeOffset.UtcNow;
        List<string> canaries = ["canary-"];

        foreach (var token in (string[])
        [
            WorkloadTokens.Projected(now).SignedBy(AssertionClients.Rsa), WorkloadTokens.Projected(now).SignedBy(ClientKeyPair.OfRsa()),
            WorkloadTokens.Projected(now, serviceAccount: "other").SignedBy(AssertionClients.Rsa),
            WorkloadTokens.Projected(now, "https://away.example.com").SignedBy(AssertionClients.Rsa),
            WorkloadTokens.Projected(now, "https://unknown.example.com").SignedBy(AssertionClients.Rsa),
        ])
        {
            canaries.AddRange(token.Split('.')[1..]);
            foreach (var type in (string[])[AssertionDraft.JwtBearer, AssertionDraft.JwtSpiffe])
            {
                using var response = await http.PostAsync("/oauth2/token", RunningService.Form(AssertionDraft.Form(token, type)));
            }
        }

        using var last = await http.PostAsync("/oauth2/token", RunningService.Form("grant_type=client_credentials&client_id=the-last-one"));
        await program.Prints("the-last-one");
        program.Printed.Should().Contain("Token for client indexer").And.Contain("that its key did not sign").And.Contain("a token of issuer platform with sub")
            .And.Contain("The key set at").And.Contain("it answered 401");
        foreach (var canary in canaries)
        {
            program.Printed.Should().NotContain(canary);
        }
    }

    [Fact]
    public async Task Proofs_of_keys_and_tokens_that_are_exchanged_are_not_logged()
    {
        using var folder = new TemporaryFolder();
        folder.Write("clients.json", DPoPClients.File);
        var port = RunningProgram.FreePort();
        await using var program = await new Cli(folder).Serve(
            port,
            "--TokenService:ApplyFile=clients.json",
            "--Logging:LogLevel:Default=Trace",
            "--Logging:Console:LogLevel:Default=Trace");
        using var http = new HttpClient { BaseAddress = new Uri($"http://127.0.0.1:{port}") };
        var (key, shown) = (ClientKeyPair.For("ES256"), ClientKeyPair.For("ES256"));
        var jwk = shown.Jwk(null);
        jwk["d"] = "canary-private";
        List<string> canaries = ["canary-"];

        const string grant = "grant_type=client_credentials";
        var (_, nonce) = await Send(grant, DPoPClients.Bound, Draft(key, null).SignedBy(key));
        var proof = Draft(key, nonce).SignedBy(key);
        var (bound, _) = await Send(grant, DPoPClients.Bound, proof);
        await Send(grant, DPoPClients.Bound, proof);
        await Send(grant, DPoPClients.Bound, Draft(key, nonce).WithHeader("jwk", jwk).SignedBy(shown));
        await Send(grant, DPoPClients.Bound, Draft(key, nonce).SignedBy(shown));
        await Send(grant, DPoPClients.Bound, Draft(key, nonce).With("htu", "https://other.example.com/").SignedBy(key));
        await Send(grant, DPoPClients.Bound, "canary.no.proof");
        var (wide, _) = await Send(grant, TokenQueries.Wide);
        await Send(TokenExchanges.Form(wide) + "&scope=orders.read", TokenExchanges.Agent);
        await Send(TokenExchanges.Form(wide) + "&scope=nothing", TokenExchanges.Agent);
        await Send(TokenExchanges.Form(wide + "x"), TokenExchanges.Agent);
        await Send(TokenExchanges.Form(bound), TokenExchanges.Agent);
        await Send(TokenExchanges.Form(wide) + "&actor_token=canary-actor&actor_token_type=x", TokenExchanges.Agent);

        await Send("grant_type=the-last-one", TokenQueries.Wide);
        await program.Prints("the-last-one");
        program.Printed.Should().Contain("Token for client bound").And.Contain("Token for client agent").And.Contain("a proof that was used before")
            .And.Contain("holds a private or secret key").And.Contain("another signature").And.Contain("one that is none of this service").And.Contain("an actor");
        foreach (var canary in canaries)
        {
            program.Printed.Should().NotContain(canary);
        }

        AssertionDraft Draft(ClientKeyPair by, string? with)
            => DPoPClients.Draft(by, "ES256", http.BaseAddress + "oauth2/token", DateTimeOffset.UtcNow, with);

        async Task<(string Token, string Nonce)> Send(string form, string basic, string? sent = null)
        {
            using var request = new HttpRequestMessage(HttpMethod.Post, "/oauth2/token") { Content = RunningService.Form(form) };
            request.Headers.Authorization = new("Basic", Convert.ToBase64String(Encoding.UTF8.GetBytes(basic)));
            if (sent is not null)
            {
                canaries.AddRange(sent.Split('.').Where(part => part.Length > 20));
                request.Headers.TryAddWithoutValidation("DPoP", sent);
            }

            using var response = await http.SendAsync(request);
            var answer = await Answer.Of(response);
            canaries.AddRange(answer.Status == 200 ? answer.AccessToken.Split('.')[1..] : []);
            return (answer.Status == 200 ? answer.AccessToken : "", response.Headers.TryGetValues("DPoP-Nonce", out var nonces) ? nonces.Single() : "");
        }
    }

    [Fact]
    public async Task Connections_that_are_reset_in_the_middle_of_a_request_leave_no_trace_of_a_fault()
    {
        using var folder = new TemporaryFolder();
        var port = RunningProgram.FreePort();
        await using var program = await new Cli(folder).Serve(port, "--TokenService:RateLimit:FailuresPerMinute=0");

        for (var i = 0; i < 100; i++)
        {
            using var socket = new System.Net.Sockets.Socket(System.Net.Sockets.SocketType.Stream, System.Net.Sockets.ProtocolType.Tcp);
            await socket.ConnectAsync("127.0.0.1", port);
            await socket.SendAsync(Encoding.ASCII.GetBytes(
                "POST /oauth2/token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n" +
                (i % 2 == 0 ? "Content-Length: 100\r\n\r\ngrant" : "Transfer-Encoding: chunked\r\n\r\n20\r\ngrant")));
            await Task.Delay(i % 5);
            socket.LingerState = new System.Net.Sockets.LingerOption(true, 0);
        }

        using var http = new HttpClient();
        using var last = await http.PostAsync(new Uri($"http://127.0.0.1:{port}/oauth2/token"), RunningService.Form("client_id=the-last-one&grant_type=x"));
        await program.Prints("the-last-one");
        program.Printed.Should().NotContain("\"LogLevel\":\"Error\"").And.NotContain("\"LogLevel\":\"Warning\"").And.NotContain("   at ");
    }

    [Theory]
    [InlineData("Microsoft.AspNetCore.Routing")]
    [InlineData("microsoft.aspnetcore.routing.matching.DfaMatcher")]
    [InlineData("Microsoft.*.Routing.Matching.DfaMatcher")]
    public async Task No_setting_for_a_narrower_category_has_the_framework_log_the_path(string category)
    {
        using var folder = new TemporaryFolder();
        var port = RunningProgram.FreePort();
        await using var program = await new Cli(folder).Serve(port, $"--Logging:Console:LogLevel:{category}=Trace");

        using var http = new HttpClient { BaseAddress = new Uri($"http://127.0.0.1:{port}") };
        using var lost = await http.PostAsync("/oauth2/token/canary-in-path", RunningService.Form("grant_type=client_credentials"));
        using var last = await http.PostAsync("/oauth2/token", RunningService.Form("client_id=the-last-one&grant_type=x"));
        lost.StatusCode.Should().Be(System.Net.HttpStatusCode.NotFound);
        await program.Prints("the-last-one");
        program.Printed.Should().NotContain("canary-in-path");
    }

    [Fact]
    public async Task What_a_caller_sent_cannot_forge_a_log_line()
    {
        using var folder = new TemporaryFolder();
        var port = RunningProgram.FreePort();
        await using var program = await new Cli(folder, "Development").Serve(port);

        using var http = new HttpClient();
        using var response = await http.PostAsync(
            new Uri($"http://127.0.0.1:{port}/oauth2/token"),
            RunningService.Form("grant_type=client_credentials&client_id=%0Ainfo:+forged%1B%5B31m&client_secret=x"));
        await program.Prints("\\u000Ainfo: forged\\u001B[31m");
        program.Printed.Should().NotContain("\ninfo: forged").And.NotContain("\u001b[31m");
    }
}
