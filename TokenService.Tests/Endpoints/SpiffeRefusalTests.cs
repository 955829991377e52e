using System;
using System.Linq;
using System.Threading.Tasks;
using FluentAssertions;
using Microsoft.Extensions.Time.Testing;
using TokenService.Tests.Support;
using Xunit;
using static TokenService.Tests.Endpoints.FederationTests;
using static TokenService.Tests.Endpoints.SpiffeTests;
using static TokenService.Tests.Support.AssertionClients;

namespace TokenService.Tests.Endpoints;

/// <summary>What is refused of a JWT-SVID, whatever else there is in the bundle. The service is one for all, since nothing of this changes it.</summary>
public sealed class SpiffeRefusalTests(SpiffeRefusalTests.Fixture fixture) : IClassFixture<SpiffeRefusalTests.Fixture>
{
    public static TheoryData<string> Attacks() => [.. ClientAssertionRefusalTests.AttackList.Keys.Except(
        ["exp 11 minutes ahead", "no jti", "an empty jti", "a jti of 257 characters", "a jti that is a number", "no iss", "another iss", "iss in other case", "an iss that is a number"])];

    [Theory]
    [MemberData(nameof(Attacks))]
    public async Task What_is_refused_of_a_client_is_refused_of_a_JWT_SVID(string attack)
    {
        var draft = () => new AssertionDraft(WorkloadTokens.SpiffeId, Issuer, Now);

        TokenEndpointRefusalTests.Refused(await Send(fixture.Service, ClientAssertionRefusalTests.AttackList[attack](draft())), 401, "invalid_client");
        (await Send(fixture.Service, draft().SignedBy(Rsa))).Status.Should().Be(200);
    }

    [Theory]
    [InlineData("spiffe://example.org")]
    [InlineData("spiffe://example.org/")]
    [InlineData("spiffe://example.org//ns")]
    [InlineData("spiffe://example.org/ns/shop/sa/indexer/")]
    [InlineData("spiffe://example.org/ns/../ns/shop/sa/indexer")]
    [InlineData("spiffe://EXAMPLE.org/ns/shop/sa/indexer")]
    [InlineData("SPIFFE://example.org/ns/shop/sa/indexer")]
    [InlineData("spiffe://example.org:443/ns/shop/sa/indexer")]
    [InlineData("spiffe://user@example.org/ns/shop/sa/indexer")]
    [InlineData("spiffe://example.org/ns/shop/sa/indexer?x")]
    [InlineData("spiffe://example.org/ns/shop/sa/%69ndexer")]
    [InlineData("https://example.org/ns/shop/sa/indexer")]
    [InlineData("indexer")]
    public async Task A_sub_that_is_no_SPIFFE_ID_of_a_workload_is_refused(string subject)
    {
        Refused(await Send(fixture.Service, Svid(subject)), "sub must be the SPIFFE ID of a workload");
    }

    [Theory]
    [InlineData("spiffe://example.org/ns/shop/sa/indexe")]
    [InlineData("spiffe://example.org/ns/shop/sa/indexer2")]
    [InlineData("spiffe://example.org/ns/shop/sa/indexer/x")]
    [InlineData("spiffe://example.org/ns/shop/sa")]
    [InlineData("spiffe://example.org/batch")]
    [InlineData("spiffe://example.org/batches/job")]
    [InlineData("spiffe://example.com/ns/shop/sa/indexer")]
    [InlineData("spiffe://example.org.evil.com/ns/shop/sa/indexer")]
    public async Task Another_SPIFFE_ID_than_the_registered_one_is_refused(string subject)
    {
        Unknown(await Send(fixture.Service, Svid(subject)));
    }

    public sealed class Fixture : IAsyncLifetime, IDisposable
    {
        private readonly TemporaryFolder _folder = new();

        internal RunningService Service { get; private set; } = null!;

        public async Task InitializeAsync() => Service = await StartWithFile(
            _folder, new FakeTimeProvider(Now), Bundle(Rsa.Jwk("1"), P256.Jwk("2"), P384.Jwk("3"), P521.Jwk("4")));

        public async Task DisposeAsync() => await Service.DisposeAsync();

        public void Dispose() => _folder.Dispose();
    }
}
