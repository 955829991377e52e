using System;
using System.Net;
using System.Net.Http;
using System.Net.Sockets;
using System.Threading.Tasks;
using FluentAssertions;
using TokenService.Protocol;
using TokenService.Tests.Support;
using Xunit;

namespace TokenService.Tests.Endpoints;

public sealed class ManagementListenerTests
{
    [Theory]
    [InlineData("/metrics")]
    [InlineData("/metrics/")]
    [InlineData("/METRICS")]
    [InlineData("//metrics")]
    public async Task What_it_answers_is_not_found_where_clients_are_whatever_Host_they_send(string path)
    {
        var port = RunningProgram.FreePort();
        await using var service = await RunningService.Start($"--TokenService:Management:Url=http://127.0.0.1:{port}");

        foreach (var host in (string[])[service.Url.Authority, $"127.0.0.1:{port}", $"localhost:{port}", "management"])
        {
            var answer = await RawHttp.Send(service.Url, $"GET {path} HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-Host: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n");
            answer.Should().StartWith("HTTP/1.1 404 ");
        }
    }

    [Fact]
    public async Task What_clients_ask_for_is_not_found_there()
    {
        var port = RunningProgram.FreePort();
        await using var service = await RunningService.Start($"--TokenService:Management:Url=http://127.0.0.1:{port}");
        using var http = new HttpClient { BaseAddress = new Uri($"http://127.0.0.1:{port}") };

        foreach (var path in (string[])["/oauth2/token", "/oauth2/introspect", "/.well-known/jwks.json", "/health/ready", "/"])
        {
            using var answer = await http.PostAsync(path, RunningService.Form("grant_type=client_credentials"));
            answer.StatusCode.Should().Be(HttpStatusCode.NotFound);
        }

        using var metrics = await http.GetAsync("/metrics");
        metrics.StatusCode.Should().Be(HttpStatusCode.OK);
        metrics.Headers.Server.Should().BeEmpty();
    }

    [Fact]
    public async Task Without_the_setting_there_is_none()
    {
        await using var service = await RunningService.Start();

        using var answer = await service.Http.GetAsync("/metrics");
        answer.StatusCode.Should().Be(HttpStatusCode.NotFound);
    }

    [Fact]
    [Trait("Host", "InProcess")]
    public async Task A_port_that_is_taken_stops_the_start_and_names_the_setting()
    {
        using var taken = new TcpListener(IPAddress.Loopback, 0);
        taken.Start();
        var start = () => RunningService.Start($"--TokenService:Management:Url=http://127.0.0.1:{((IPEndPoint)taken.LocalEndpoint).Port}");

        (await start.Should().ThrowAsync<OperatorFaultException>()).Which.Message
            .Should().StartWith("The service cannot listen where the setting TokenService:Management:Url says: ");
    }
}
