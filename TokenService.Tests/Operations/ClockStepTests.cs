using System;
using System.Threading.Tasks;
using FluentAssertions;
using Microsoft.Extensions.Time.Testing;
using Microsoft.IdentityModel.JsonWebTokens;
using TokenService.Tests.Endpoints;
using TokenService.Tests.Support;
using Xunit;

namespace TokenService.Tests.Operations;

/// <summary>The clock of a running service is set, and set back: no wrong answer, one new key where one is due, and nothing runs more often.</summary>
public sealed class ClockStepTests : IDisposable
{
    private const string Basic = $"{AssertionClients.BasicJob}:{AssertionClients.BasicSecret}";

    private readonly TemporaryFolder _folder = new();
    private readonly FakeTimeProvider _clock = new(AssertionClients.Now);

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData(30, true, 0)]
    [InlineData(-30, true, 0)]
    [InlineData(-3600, false, 0)]
    [InlineData(400 * 86_400, false, 1)]
    [InlineData(-400 * 86_400, false, 0)]
    public async Task A_step_and_the_step_back(int seconds, bool alive, int newKeys)
    {
        // The clients are a day old. By a clock that is further behind there were none of them yet, and no token of theirs is live.
        await using (await AssertionClients.Start(_folder, new FakeTimeProvider(AssertionClients.Now.AddDays(-1)), Ledger.File))
        {
        }

        await using var service = await AssertionClients.Start(_folder, _clock, Ledger.File);
        var (token, revoked) = (await service.GetToken(Basic), await service.GetToken(Basic));
        await service.Revoke(revoked, Basic);
        var used = Assertion();
        (await service.Send(used)).Status.Should().Be(200);
        var version = Version();

        // Wall time alone: what is measured in monotonic time does not notice.
        _clock.AdjustTime(AssertionClients.Now.AddSeconds(seconds));
        await Holds();
        (await service.IsActive(token, Ledger.Asker)).Should().Be(alive);

        _clock.AdjustTime(AssertionClients.Now.AddSeconds(1));
        await Holds();
        (await service.IsActive(token, Ledger.Asker)).Should().BeTrue();
        IntrospectionTests.IsInactive(await service.Introspect(revoked, Ledger.Asker));

        async Task Holds()
        {
            for (var i = 0; i < 3; i++)
            {
                service.KeyRotation.Step().Should().BeTrue();
            }

            service.Store.Refresh();
            service.Store.Current.Keys.Keys.Should().HaveCount(1 + newKeys);
            (Version() - version).Should().Be(newKeys, "nothing else is to be changed");
            var fresh = new JsonWebToken(await service.GetToken(Basic));
            fresh.IssuedAt.Should().Be(_clock.GetUtcNow().UtcDateTime);
            (await service.Http.GetStringAsync(new Uri("/.well-known/jwks.json", UriKind.Relative))).Should().Contain(fresh.Kid);
            (await service.IsActive(fresh.EncodedToken, Ledger.Asker)).Should().Be(_clock.GetUtcNow() > AssertionClients.Now.AddDays(-1));
            IntrospectionTests.IsInactive(await service.Introspect(revoked, Ledger.Asker));
            ClientAssertionRefusalTests.Refused(await service.Send(used));
            var assertion = Assertion();
            (await service.Send(assertion)).Status.Should().Be(200);
            ClientAssertionRefusalTests.Refused(await service.Send(assertion));
        }
    }

    private string Assertion()
        => new AssertionDraft(AssertionClients.KeyJob, AssertionClients.Issuer, _clock.GetUtcNow()).SignedBy(AssertionClients.Rsa);

    private long Version() => (long)StoreFile.Scalar(_folder, "SELECT version FROM store_version")!;
}
