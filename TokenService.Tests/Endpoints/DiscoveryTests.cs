using System;
using System.IO;
using System.Linq;
using System.Net;
using System.Net.Http;
using System.Text.Json;
using System.Threading.Tasks;
using FluentAssertions;
using TokenService.Tests.Support;
using Xunit;

namespace TokenService.Tests.Endpoints;

public sealed class DiscoveryTests
{
    [Fact]
    public async Task Both_well_known_addresses_have_the_same_document()
    {
        await using var service = await RunningService.Start("--TokenService:Issuer=http://localhost:7");

        var oauth = await service.Send(new HttpRequestMessage(HttpMethod.Get, "/.well-known/oauth-authorization-server"));
        var openid = await service.Send(new HttpRequestMessage(HttpMethod.Get, "/.well-known/openid-configuration"));

        oauth.Status.Should().Be(200);
        oauth.Response.Content.Headers.ContentType!.ToString().Should().Be("application/json");
        openid.Body.Should().Be(oauth.Body);
        JsonSerializer.Serialize(oauth.Json, s_indented).Should().Be((await Golden("metadata.json")).Trim());
    }

    [Theory]
    [InlineData("RS256")]
    [InlineData("PS256")]
    [InlineData("ES256")]
    public async Task The_JWKS_has_public_members_only(string algorithm)
    {
        await using var service = await RunningService.Start($"--TokenService:SigningAlgorithm={algorithm}");

        var jwks = await service.Send(new HttpRequestMessage(HttpMethod.Get, "/.well-known/jwks.json"));

        var key = jwks.Json.GetProperty("keys").EnumerateArray().Should().ContainSingle().Subject;
        var shape = string.Join('\n', key.EnumerateObject().Select(member => member.Name switch
        {
            "kty" or "use" or "alg" or "crv" or "e" => $"{member.Name}: {member.Value}",
            _ => $"{member.Name}: {member.Value.GetString()!.Length} characters",
        }));
        shape.Should().Be((await Golden($"jwk-{algorithm}.txt")).Trim());
    }

    [Fact]
    public async Task The_JWKS_may_be_kept_for_an_hour_and_is_not_sent_again_to_who_has_it()
    {
        await using var service = await RunningService.Start();

        var first = await service.Send(new HttpRequestMessage(HttpMethod.Get, "/.well-known/jwks.json"));
        first.Response.Headers.CacheControl!.ToString().Should().Be("public, max-age=3600");
        var tag = first.Response.Headers.ETag!;

        (await Ask(tag.ToString())).Status.Should().Be(304);
        (await Ask($"\"other\", W/{tag}")).Status.Should().Be(304);
        (await Ask("*")).Status.Should().Be(304);
        var other = await Ask("\"other\"");
        (other.Status, other.Body).Should().Be((200, first.Body));

        Task<Answer> Ask(string tags)
        {
            var request = new HttpRequestMessage(HttpMethod.Get, "/.well-known/jwks.json");
            request.Headers.TryAddWithoutValidation("If-None-Match", tags);
            return service.Send(request);
        }
    }

    [Fact]
    public async Task Every_URL_comes_from_the_issuer_and_never_from_the_Host_header()
    {
        await using var service = await RunningService.Start("--TokenService:Issuer=https://auth.example.com/tenant");
        foreach (var path in (string[])
        [
            "/.well-known/oauth-authorization-server/tenant",
            "/tenant/.well-known/oauth-authorization-server",
            "/.well-known/openid-configuration/tenant",
            "/tenant/.well-known/openid-configuration",
        ])
        {
            var request = new HttpRequestMessage(HttpMethod.Get, path);
            request.Headers.Host = "evil.example.com";
            var metadata = (await service.Send(request)).Json;

            metadata.GetProperty("issuer").GetString().Should().Be("https://auth.example.com/tenant");
            metadata.GetProperty("token_endpoint").GetString().Should().Be("https://auth.example.com/tenant/oauth2/token");
            metadata.GetProperty("jwks_uri").GetString().Should().Be("https://auth.example.com/tenant/.well-known/jwks.json");
        }

        (await service.Http.GetAsync(new Uri("/tenant/.well-known/jwks.json", UriKind.Relative))).StatusCode.Should().Be(HttpStatusCode.OK);
        (await service.Http.GetAsync(new Uri("/.well-known/jwks.json", UriKind.Relative))).StatusCode.Should().Be(HttpStatusCode.NotFound);
        (await service.Http.GetAsync(new Uri("/health/live", UriKind.Relative))).StatusCode.Should().Be(HttpStatusCode.OK);
    }

    [Theory]
    [InlineData("/.well-known/oauth-authorization-server")]
    [InlineData("/.well-known/jwks.json")]
    public async Task Documents_answer_HEAD_and_refuse_other_methods(string path)
    {
        await using var service = await RunningService.Start();

        (await service.Send(new HttpRequestMessage(HttpMethod.Head, path))).Status.Should().Be(200);
        var post = await service.Send(new HttpRequestMessage(HttpMethod.Post, path));
        post.Status.Should().Be(405);
        post.Response.Content.Headers.Allow.Should().BeEquivalentTo("GET", "HEAD");
    }

    [Theory]
    [InlineData("/health/live")]
    [InlineData("/health/ready")]
    public async Task Says_that_it_is_well(string path)
    {
        await using var service = await RunningService.Start();

        (await service.Send(new HttpRequestMessage(HttpMethod.Get, path))).Status.Should().Be(200);
    }

    private static readonly JsonSerializerOptions s_indented = new() { WriteIndented = true };

    private static Task<string> Golden(string name) => File.ReadAllTextAsync(Repository.File("TokenService.Tests", "Contracts", "Golden", name));
}
