using System;
using System.Linq;
using System.Threading;
using System.Threading.Tasks;
using FluentAssertions;
using Microsoft.Extensions.Time.Testing;
using ReportingJob;
using TokenService.Tests.Support;
using Xunit;

namespace TokenService.Tests.Samples;

/// <summary>How the sample job keeps its token.</summary>
public sealed class AccessTokenSourceTests
{
    [Fact]
    public async Task A_token_is_kept_until_30_seconds_before_it_expires()
    {
        await using var service = await RunningService.Start();
        var time = new FakeTimeProvider();
        using var tokens = new AccessTokenSource(new Uri(service.Url, "/oauth2/token"), Sample.Job, Sample.JobSecret, "catalog.read", time);

        var first = await tokens.Get(CancellationToken.None);
        time.Advance(TimeSpan.FromSeconds(569.9));
        (await tokens.Get(CancellationToken.None)).Should().Be(first);
        time.Advance(TimeSpan.FromSeconds(0.1));
        (await tokens.Get(CancellationToken.None)).Should().NotBe(first);
        tokens.Fetched.Should().Be(2);
    }

    [Fact]
    public async Task A_refused_token_is_dropped_and_a_newer_one_is_not()
    {
        await using var service = await RunningService.Start();
        using var tokens = new AccessTokenSource(
            new Uri(service.Url, "/oauth2/token"), Sample.Job, Sample.JobSecret, "catalog.read", TimeProvider.System);

        var first = await tokens.Get(CancellationToken.None);
        tokens.Forget(first);
        var second = await tokens.Get(CancellationToken.None);
        second.Should().NotBe(first);
        tokens.Forget(first);
        (await tokens.Get(CancellationToken.None)).Should().Be(second);
    }

    [Fact]
    public async Task Calls_at_once_share_one_fetch()
    {
        await using var service = await RunningService.Start();
        using var tokens = new AccessTokenSource(
            new Uri(service.Url, "/oauth2/token"), Sample.Job, Sample.JobSecret, "catalog.read", TimeProvider.System);

        var got = await Task.WhenAll(Enumerable.Range(0, 20).Select(_ => tokens.Get(CancellationToken.None)));

        got.Should().OnlyContain(token => token == got[0]);
        tokens.Fetched.Should().Be(1);
    }

    [Fact]
    public async Task A_refusal_says_what_the_service_said()
    {
        await using var service = await RunningService.Start();
        using var tokens = new AccessTokenSource(new Uri(service.Url, "/oauth2/token"), Sample.Job, "wrong", "catalog.read", TimeProvider.System);

        var get = () => tokens.Get(CancellationToken.None);

        (await get.Should().ThrowAsync<System.Net.Http.HttpRequestException>()).WithMessage("401 *invalid_client*");
    }
}
