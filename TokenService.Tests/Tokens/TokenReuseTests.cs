using System;
using System.Linq;
using System.Runtime.CompilerServices;
using System.Threading;
using System.Threading.Tasks;
using FluentAssertions;
using Microsoft.Extensions.Time.Testing;
using TokenService.Keys;
using TokenService.Tests.Support;
using TokenService.Tokens;
using Xunit;

namespace TokenService.Tests.Tokens;

/// <summary>What is kept to be given again, and for how long, without a service around it.</summary>
public sealed class TokenReuseTests : IDisposable
{
    private static readonly SigningKey s_key = SigningKey.Generate("ES256");

    private static readonly GrantedToken s_granted = new()
    {
        ClientId = "c",
        Scopes = ["a", "b"],
        Audience = ["urn:a", "urn:b"],
        Lifetime = TimeSpan.FromSeconds(600),
        Reuse = TimeSpan.FromSeconds(60),
    };

    private readonly FakeTimeProvider _clock = new(AssertionClients.Now);
    private readonly object _snapshot = new();
    private readonly TokenReuse _reuse;
    private Action _signing = () => { };
    private int _signatures;

    public TokenReuseTests() => _reuse = new(
        (granted, key, now) =>
        {
            Interlocked.Increment(ref _signatures);
            _signing();
            return AccessTokenIssuer.Issue(granted, AssertionClients.Issuer, key, now);
        },
        (_, _) => true,
        _clock);

    public void Dispose() => _reuse.Dispose();

    [Theory]
    [InlineData(0, 0, true)]
    [InlineData(59.999, 59.999, true)]
    [InlineData(60, 60, false)]
    [InlineData(60, 0, false)]
    [InlineData(0, 60, false)]
    [InlineData(0, -0.001, false)]
    [InlineData(0, 100_000, false)]
    public void A_token_is_young_by_both_clocks_or_not_at_all(double age, double wall, bool young)
        => TokenReuse.IsYoung(TimeSpan.FromSeconds(60), TimeSpan.FromSeconds(age), AssertionClients.Now, AssertionClients.Now.AddSeconds(wall)).Should().Be(young);

    [Fact]
    public void Grants_are_equal_where_every_member_is()
    {
        var same = s_granted with { Scopes = [.. s_granted.Scopes], Audience = [.. s_granted.Audience] };
        (same == s_granted, same.GetHashCode()).Should().Be((true, s_granted.GetHashCode()));
        Delegation Delegated(string subject = "s", string actor = "a", string from = "f") => new(subject, [actor], [from]);
        var delegated = s_granted with { Delegation = Delegated() };
        (delegated == s_granted with { Delegation = Delegated() }, Delegated().GetHashCode()).Should().Be((true, Delegated().GetHashCode()));
        foreach (var other in (Delegation?[])[null, Delegated(subject: "S"), Delegated(actor: "A"), Delegated(from: "F"), Delegated() with { Actors = [] }])
        {
            delegated.Should().NotBe(s_granted with { Delegation = other });
        }

        // Whoever adds a member adds it here, and to the comparison.
        var others = new (string Member, GrantedToken Token)[]
        {
            (nameof(GrantedToken.ClientId), s_granted with { ClientId = "C" }),
            (nameof(GrantedToken.Delegation), delegated),
            (nameof(GrantedToken.Scopes), s_granted with { Scopes = ["b", "a"] }),
            (nameof(GrantedToken.Scopes), s_granted with { Scopes = ["a"] }),
            (nameof(GrantedToken.Scopes), s_granted with { Scopes = ["a", "b", "c"] }),
            (nameof(GrantedToken.Audience), s_granted with { Audience = ["urn:a"] }),
            (nameof(GrantedToken.Lifetime), s_granted with { Lifetime = TimeSpan.FromSeconds(601) }),
            (nameof(GrantedToken.Reuse), s_granted with { Reuse = TimeSpan.FromSeconds(59) }),
            (nameof(GrantedToken.Confirmation), s_granted with { Confirmation = new() { Jkt = "k" } }),
            (nameof(GrantedToken.Confirmation), s_granted with { Confirmation = new() { X5tS256 = "k" } }),
        };
        var bound = s_granted with { Confirmation = new() { Jkt = "k", X5tS256 = "x" } };
        (bound == s_granted with { Confirmation = new() { Jkt = "k", X5tS256 = "x" } }).Should().BeTrue();
        foreach (var other in (Confirmation[])[new() { Jkt = "K", X5tS256 = "x" }, new() { Jkt = "k", X5tS256 = "X" }, new() { Jkt = "x", X5tS256 = "k" }])
        {
            bound.Should().NotBe(s_granted with { Confirmation = other });
        }

        others.Should().OnlyContain(other => other.Token != s_granted);
        others.Select(other => other.Member).Distinct().Should().BeEquivalentTo(typeof(GrantedToken).GetProperties().Select(property => property.Name));
    }

    [Fact]
    public async Task Who_asks_while_it_is_signed_waits_without_a_thread_and_gets_the_same()
    {
        using var go = new ManualResetEventSlim();
        using var begun = new ManualResetEventSlim();
        _signing = () =>
        {
            begun.Set();
            go.Wait();
        };
        var first = Task.Run(async () => await Take());
        begun.Wait();

        // This very thread comes back from each.
        var waiting = Enumerable.Range(0, 50).Select(_ => Take().AsTask()).ToList();
        waiting.Should().OnlyContain(task => !task.IsCompleted);
        go.Set();

        var token = await first;
        token!.IsReused.Should().BeFalse();
        (await Task.WhenAll(waiting)).Should().OnlyContain(other => other!.IsReused && other.Response == token.Response);
        (_signatures, _reuse.Reused).Should().Be((1, 50L));
    }

    [Fact]
    public async Task A_signature_that_fails_is_nobody_elses_failure_and_is_not_kept()
    {
        using var go = new ManualResetEventSlim();
        using var begun = new ManualResetEventSlim();
        _signing = () =>
        {
            begun.Set();
            go.Wait();
            throw new InvalidOperationException("No signature.");
        };
        var first = Task.Run(async () => await Take());
        begun.Wait();
        var waiting = Take();
        go.Set();

        await ((Func<Task>)(() => first)).Should().ThrowAsync<InvalidOperationException>();
        (await waiting).Should().BeNull("it is to sign for itself");
        _reuse.Count.Should().Be(0);

        _signing = () => { };
        (await Take())!.IsReused.Should().BeFalse();
        (await Take())!.IsReused.Should().BeTrue();
    }

    [Fact]
    public async Task Another_snapshot_or_another_key_is_another_token()
    {
        var first = (await Take())!.Response.AccessToken;
        (await Take())!.Response.AccessToken.Should().Be(first);

        var byKey = (await Take(key: SigningKey.Generate("ES256")))!;
        byKey.IsReused.Should().BeFalse();
        var next = new object();
        var afterChange = (await Take(snapshot: next))!;
        afterChange.IsReused.Should().BeFalse();

        // A late request of before the change.
        (await Take())!.IsReused.Should().BeFalse();
        (await Take(snapshot: next))!.IsReused.Should().BeFalse();
        _reuse.Count.Should().Be(1);
    }

    [Fact]
    public void What_the_store_held_before_a_change_is_not_held_by_what_was_signed_then()
    {
        var before = SignUnderASnapshotOfItsOwn();
        GC.Collect();
        GC.WaitForPendingFinalizers();
        GC.Collect();

        before.IsAlive.Should().BeFalse("it is all clients, and nobody may ever ask again");
        _reuse.Count.Should().Be(1);
    }

    [Fact]
    public async Task A_client_fills_its_own_share_only_and_what_is_old_makes_room()
    {
        var kept = 0;
        while (await Take(s_granted with { Scopes = [$"{kept}"] }) is not null)
        {
            kept++;
        }

        kept.Should().BeInRange(100, 1000).And.Be(_reuse.Count);
        (await Take(s_granted with { Scopes = ["0"] }))!.IsReused.Should().BeTrue("what is kept goes on being given");
        (await Take(s_granted with { ClientId = "other" }))!.IsReused.Should().BeFalse();
        (await Take(s_granted with { ClientId = "other" }))!.IsReused.Should().BeTrue();

        _clock.Advance(TimeSpan.FromSeconds(60));
        _reuse.Count.Should().Be(0);
        (await Take(s_granted with { Scopes = ["new"] }))!.IsReused.Should().BeFalse();
        _reuse.Count.Should().Be(1);
    }

    [Fact]
    public async Task All_clients_together_have_their_bounds_and_replacing_takes_no_more_room()
    {
        // Each takes an eighth of what a client may have.
        var wide = new string('s', 16_000);
        var (clients, kept) = (0, 0);
        for (var full = false; !full; clients++)
        {
            for (var i = 0; i < 7 && !full; i++, kept++)
            {
                full = await Take(s_granted with { ClientId = $"{clients}", Scopes = [$"{wide}{i}"] }) is null;
            }
        }

        kept.Should().BeInRange(400, 600);
        for (var i = 0; i < 1000; i++)
        {
            _clock.AdjustTime(_clock.GetUtcNow().AddSeconds(-1));
            (await Take(s_granted with { ClientId = "0", Scopes = [$"{wide}0"] }))!.IsReused.Should().BeFalse("it is not issued yet by the clock as it is now");
        }

        _reuse.Count.Should().BeLessThanOrEqualTo(kept);

        // The timers of this clock go by its wall time.
        _clock.Advance(TimeSpan.FromSeconds(1120));
        _reuse.Count.Should().Be(0);
    }

    // Not inlined, so that nothing of it stays on the stack.
    [MethodImpl(MethodImplOptions.NoInlining)]
    private WeakReference SignUnderASnapshotOfItsOwn()
    {
        var snapshot = new object();
        Take(snapshot: snapshot).AsTask().IsCompletedSuccessfully.Should().BeTrue();
        return new WeakReference(snapshot);
    }

    private ValueTask<ReusableToken?> Take(GrantedToken? granted = null, object? snapshot = null, SigningKey? key = null)
        => _reuse.Take(granted ?? s_granted, snapshot ?? _snapshot, key ?? s_key, _clock.GetUtcNow());
}
