using System;
using System.Threading;
using System.Threading.Tasks;
using FluentAssertions;
using ReportingJob;
using TokenService.Tests.Endpoints;
using TokenService.Tests.Support;
using Xunit;
using static TokenService.Tests.Support.AssertionClients;

namespace TokenService.Tests.Samples;

/// <summary>The sample job with the token of its platform.</summary>
public sealed class WorkloadTokenTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task The_job_gets_its_token_with_what_stands_in_the_file_now(bool isSpiffe)
    {
        var key = Rsa.Jwk();
        key["use"] = "jwt-svid";
        await using var service = await Start(_folder, file: FederationTests.File(
            $$"""
            {{FederationTests.Cluster("platform")}},
            { "name": "mesh", "trust_domain": "example.org", "spiffe_bundle_file": "{{_folder.Write("bundle.json", ClientKeyPair.Set(key))}}" }
            """,
            $$"""
            {{FederationTests.Client("pod", "platform", """{ "sub": "system:serviceaccount:shop:indexer" }""")}},
            { "client_id": "svid", "token_endpoint_auth_method": "spiffe_jwt", "scope": "catalog.read", "spiffe_id": "{{WorkloadTokens.SpiffeId}}" }
            """));
        using var tokens = new AccessTokenSource(
            new Uri(service.Url, "/oauth2/token"), new WorkloadToken(_folder.File("token"), isSpiffe), "catalog.read", TimeProvider.System);

        foreach (var by in (ClientKeyPair[])[Rsa, ClientKeyPair.OfRsa()])
        {
            var draft = isSpiffe ? WorkloadTokens.Svid(Now) : WorkloadTokens.Projected(Now);
            _folder.Write("token", draft.SignedBy(by) + "\n");
            var get = () => tokens.Get(CancellationToken.None);
            if (by == Rsa)
            {
                var token = await get();
                ((string?)TokenDraft.Of(token).Claims["client_id"]).Should().Be(isSpiffe ? "svid" : "pod");
                tokens.Forget(token);
            }
            else
            {
                (await get.Should().ThrowAsync<System.Net.Http.HttpRequestException>()).Which.Message.Should().StartWith("401 ");
            }
        }
    }
}
