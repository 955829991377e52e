using System;
using System.Linq;
using System.Threading.Tasks;
using FluentAssertions;
using Microsoft.Extensions.Time.Testing;
using TokenService.Operations;
using Xunit;

namespace TokenService.Tests.Operations;

public sealed class TokenActivityTests
{
    private readonly FakeTimeProvider _clock = new();

    [Fact]
    public void Each_count_is_in_the_period_that_it_came_in_and_is_forgotten_after_six_hours()
    {
        var activity = new TokenActivity(_clock);
        activity.Read().Should().HaveCount(72).And.OnlyContain(period => period == default);

        activity.CountIssued();
        activity.CountIssued();
        _clock.Advance(TokenActivity.Period);
        activity.CountRefused();
        activity.Read()[^2..].Should().Equal(new ActivityPeriod(2, 0), new ActivityPeriod(0, 1));

        _clock.Advance(70 * TokenActivity.Period);
        activity.Read()[0].Should().Be(new ActivityPeriod(2, 0));
        _clock.Advance(TokenActivity.Period);
        activity.Read()[0].Should().Be(new ActivityPeriod(0, 1));

        activity.CountIssued();
        activity.Read()[^1].Should().Be(new ActivityPeriod(1, 0), "the place of the oldest is begun anew");
        _clock.Advance(TimeSpan.FromDays(400));
        activity.Read().Should().OnlyContain(period => period == default);
    }

    [Fact]
    public async Task None_is_lost_where_many_count_at_once_while_periods_begin()
    {
        var activity = new TokenActivity(_clock);

        await Task.WhenAll(Enumerable.Range(0, 4).Select(worker => Task.Run(() =>
        {
            for (var i = 0; i < 50_000; i++)
            {
                activity.CountIssued();
                if (worker == 0 && i % 1_000 == 0)
                {
                    _clock.Advance(TokenActivity.Period);
                }
            }
        })));

        activity.Read().Sum(period => period.Issued).Should().Be(200_000);
    }
}
