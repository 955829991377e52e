using System;
using System.Linq;
using System.Threading;
using System.Threading.Tasks;
using FluentAssertions;
using Microsoft.Extensions.Time.Testing;
using TokenService.Operations;
using Xunit;

namespace TokenService.Tests.Operations;

public sealed class AdmissionTests : IDisposable
{
    private readonly FakeTimeProvider _time = new();
    private readonly Admission _admission;
    private long _told;

    public AdmissionTests() => _admission = new Admission(1, _time, count => _told += count);

    public void Dispose() => _admission.Dispose();

    [Fact]
    public async Task Lets_one_compute_on_each_core_and_the_others_in_the_order_they_came()
    {
        var first = await Enter();
        var (second, third) = (Enter(), Enter());
        second.IsCompleted.Should().BeFalse();

        first!.Dispose();
        var turn = await second;
        turn.Should().NotBeNull();
        third.IsCompleted.Should().BeFalse();

        turn!.Dispose();
        (await third)!.Dispose();
    }

    [Fact]
    public async Task Refuses_at_once_what_the_queue_has_no_place_for()
    {
        var first = await Enter();
        var waiting = Enumerable.Range(0, Admission.WaitingPerCore).Select(_ => Enter()).ToList();

        _admission.IsFull.Should().BeTrue();
        var refused = Enter();
        refused.IsCompleted.Should().BeTrue();
        (await refused).Should().BeNull();

        first!.Dispose();
        foreach (var turn in waiting)
        {
            (await turn)!.Dispose();
        }

        _admission.IsFull.Should().BeFalse();
        (await Enter()).Should().NotBeNull();
    }

    [Fact]
    public async Task Refuses_what_waited_too_long_and_what_nobody_waits_for_any_more()
    {
        using var gone = new CancellationTokenSource();
        var first = await Enter();
        var late = Enter();
        _time.Advance(TimeSpan.FromMilliseconds(1001));
        var left = Enter(gone.Token);
        var good = Enter();
        await gone.CancelAsync();

        first!.Dispose();
        (await late).Should().BeNull();
        (await left).Should().BeNull();
        (await good).Should().NotBeNull();
    }

    [Fact]
    public async Task Waits_a_second_in_a_burst_and_a_fifth_of_one_where_others_are_refused()
    {
        var first = await Enter();
        var burst = Enter();
        _time.Advance(TimeSpan.FromMilliseconds(900));
        first!.Dispose();
        first = await burst;
        first.Should().NotBeNull();

        var late = Enter();
        _ = _admission.PaceRefusal(default);
        _time.Advance(TimeSpan.FromMilliseconds(201));
        first!.Dispose();
        (await late).Should().BeNull();
    }

    [Fact]
    public async Task A_request_that_waits_for_the_store_lets_others_compute_and_is_not_refused_after_it()
    {
        var first = await Enter();
        var store = new TaskCompletionSource<int>();
        var working = first!.While(new ValueTask<int>(store.Task));

        var second = await Enter();
        var waiting = Enumerable.Range(0, Admission.WaitingPerCore).Select(_ => Enter()).ToList();
        _admission.IsFull.Should().BeTrue();

        store.SetResult(7);
        (await working).Should().Be(7);
        first.Dispose();
        second!.Dispose();
        foreach (var turn in waiting)
        {
            (await turn)!.Dispose();
        }
    }

    [Fact]
    public async Task Work_that_waits_for_nothing_keeps_its_turn()
    {
        var first = await Enter();
        var second = Enter();

        (await first!.While(new ValueTask<int>(7))).Should().Be(7);
        second.IsCompleted.Should().BeFalse();

        first.Dispose();
        (await second).Should().NotBeNull();
    }

    [Fact]
    public async Task Refusals_beyond_their_pace_wait_and_at_most_a_second()
    {
        for (var i = 0; i < Admission.RefusalsPerCore; i++)
        {
            _admission.PaceRefusal(default).IsCompleted.Should().BeTrue("one a millisecond is within the pace");
            _time.Advance(TimeSpan.FromMilliseconds(1));
        }

        // A heap of them: what the pace allows in a tenth of a second.
        var heap = Enumerable.Range(0, Admission.RefusalsPerCore / 10).Select(_ => _admission.PaceRefusal(default)).ToList();
        heap.Should().OnlyContain(refusal => refusal.IsCompleted);

        var paced = Enumerable.Range(0, 100).Select(_ => _admission.PaceRefusal(default)).ToList();
        paced.Count(refusal => !refusal.IsCompleted).Should().BeInRange(97, 99);
        _time.Advance(TimeSpan.FromMilliseconds(110));
        await Task.WhenAll(paced).WaitAsync(TimeSpan.FromSeconds(10));

        var many = Enumerable.Range(0, 10 * Admission.RefusalsPerCore).Select(_ => _admission.PaceRefusal(default)).ToList();
        _time.Advance(TimeSpan.FromSeconds(1.01));
        await Task.WhenAll(many).WaitAsync(TimeSpan.FromSeconds(10));
    }

    [Fact]
    public async Task The_pace_of_refusals_goes_by_what_was_computed_in_the_second_before()
    {
        for (var i = 0; i < 5_000; i++)
        {
            (await Enter())!.Dispose();
        }

        _time.Advance(TimeSpan.FromSeconds(1));
        foreach (var _ in Enumerable.Range(0, 1_000))
        {
            _admission.PaceRefusal(default).IsCompleted.Should().BeTrue("some may be refused for each that was computed");
            _time.Advance(TimeSpan.FromSeconds(1.0 / (Admission.RefusalsPerTurn * 5_000)));
        }
    }

    [Fact]
    public void How_many_were_refused_is_told_every_ten_seconds()
    {
        _ = _admission.PaceRefusal(default);
        _ = _admission.PaceRefusal(default);
        _told.Should().Be(0);

        for (var second = 0; second < 10; second++)
        {
            _told.Should().Be(0);
            _time.Advance(TimeSpan.FromSeconds(1));
        }

        _told.Should().Be(2);
        _time.Advance(TimeSpan.FromSeconds(10));
        _told.Should().Be(2);
    }

    [Fact]
    public async Task Callers_that_hang_up_while_they_wait_are_no_sign_of_too_much_load()
    {
        using var gone = new CancellationTokenSource();
        var first = await Enter();
        var left = Enter(gone.Token);
        await gone.CancelAsync();
        var waiting = Enter();

        first!.Dispose();
        (await left).Should().BeNull();
        for (var i = 0; i < 2 * Admission.RefusalsPerCore; i++)
        {
            _admission.PaceRefusal(gone.Token).IsCompleted.Should().BeTrue();
        }

        // Whoever is really refused next finds the pace unused, and whoever waits may wait as long as in a burst.
        var turn = await waiting;
        var patient = Enter();
        _time.Advance(TimeSpan.FromMilliseconds(999));
        turn!.Dispose();
        (await patient).Should().NotBeNull();
        _admission.PaceRefusal(default).IsCompleted.Should().BeTrue();

        _time.Advance(TimeSpan.FromSeconds(10));
        _told.Should().Be(1);
    }

    private Task<Admission.Turn?> Enter(CancellationToken cancellation = default) => _admission.Enter(cancellation).AsTask();
}
