using System;
using System.Collections.Generic;
using System.Linq;
using FluentAssertions;
using TokenService.Keys;
using Xunit;

namespace TokenService.Tests.Keys;

/// <summary>The life of signing keys as a table: days since the first key began to sign.</summary>
public sealed class KeyScheduleTests
{
    private const double Hour = 1.0 / 24;

    private static readonly DateTimeOffset s_start = new(2030, 1, 1, 0, 0, 0, TimeSpan.Zero);
    private static readonly TimeSpan s_rotation = TimeSpan.FromDays(90);
    private static readonly TimeSpan s_ahead = TimeSpan.FromDays(1);
    private static readonly double s_kept = (KeySchedule.LongestTokenLifetime + KeySchedule.Margin).TotalDays;

    [Fact]
    public void The_very_first_key_signs_at_once()
        => Next([], 0).Should().BeEquivalentTo(new KeyChange { NewKeySignsFrom = Day(0) });

    [Theory]

    // The next key comes a day before the signing one is 90 days old, and signs when it is.
    [InlineData("0", 0, null)]
    [InlineData("0", 88.999, null)]
    [InlineData("0", 89, 90.0)]
    [InlineData("0", 89.5, 90.5)]

    // It is made once.
    [InlineData("0 90", 89, null)]
    [InlineData("0 90", 89.999, null)]
    [InlineData("0 90", 90, null)]
    [InlineData("0 90", 178.999, null)]
    [InlineData("0 90", 179, 180.0)]

    // Overdue by a year: one key, which is published for a day like every other; and no second one while it is.
    [InlineData("0", 490, 491.0)]
    [InlineData("0 491", 490, null)]
    [InlineData("0 491", 490.999, null)]
    [InlineData("0 491", 491, null)]

    // The clock an hour forth and back after that: still one.
    [InlineData("0", 89 + Hour, 90 + Hour)]
    [InlineData("0 91", 90, null)]
    [InlineData("0 91", 90 - Hour, null)]
    [InlineData("0 90", 89 - Hour, null)]
    [InlineData("0 491", 490 - Hour, null)]

    // The clock set back by 400 days: no key is due, and none is made.
    [InlineData("0", -400, null)]
    [InlineData("0 90", -400, null)]

    // It was far ahead, a key was made for that time, and it is right again: that key is no successor for now, and does not stop one.
    [InlineData("0 491", 50, null)]
    [InlineData("0 491", 89, 90.0)]
    [InlineData("0 90 491", 89, null)]
    [InlineData("0 90 491", 179, 180.0)]

    // Published out of turn: it is the successor.
    [InlineData("0 11", 10, null)]
    [InlineData("0 11 12", 100, null)]
    [InlineData("0 11 12", 101, 102.0)]
    [InlineData("0 89.5", 89.2, null)]
    public void A_new_key_is_made_when_it_is_time_and_signs_after_it_was_published(string keys, double now, double? signsFrom)
        => Next(Keys(keys), now).NewKeySignsFrom.Should().Be(signsFrom is { } day ? Day(day) : null);

    [Theory]
    [InlineData("0", 0, 0)]
    [InlineData("0", 10_000, 0)]
    [InlineData("0 90", 89.999, 0)]
    [InlineData("0 90", 90, 1)]
    [InlineData("0 90 180", 179.999, 1)]
    [InlineData("0 90 180", 5000, 2)]
    [InlineData("0 90", 90 - Hour, 0)]
    [InlineData("0", -400, 0)]
    [InlineData("0 90", -400, 0)]
    [InlineData("491 90 0", 100, 1)]
    public void The_key_that_signs_is_the_last_that_was_to_begin_and_the_first_where_none_was(string keys, double now, int place)
        => new KeySchedule(Keys(keys)).SigningAt(Day(now)).Should().Be(place);

    [Fact]
    public void A_key_goes_from_published_to_signing_to_retiring_and_is_gone_when_all_that_it_signed_has_expired()
    {
        States("0 90 180", 89).Should().Equal(KeyState.Signing, KeyState.Published, KeyState.Published);
        States("0 90 180", 90).Should().Equal(KeyState.Retiring, KeyState.Signing, KeyState.Published);
        States("0 90 180", 90 + s_kept - 0.0001).Should().Equal(KeyState.Retiring, KeyState.Signing, KeyState.Published);
        States("0 90 180", 90 + s_kept).Should().Equal(KeyState.Gone, KeyState.Signing, KeyState.Published);
        States("0 90 180", 180).Should().Equal(KeyState.Gone, KeyState.Retiring, KeyState.Signing);
        States("0 90", -400).Should().Equal(KeyState.Signing, KeyState.Published);

        KeySchedule.LongestTokenLifetime.Should().Be(TimeSpan.FromHours(24), "an access token lives for up to a day");
        new KeySchedule(Keys("0 90")).At(Day(50)).Select(key => key.GoneAt).Should().Equal(Day(90) + TimeSpan.FromHours(24) + KeySchedule.Margin, null);
    }

    [Fact]
    public void Only_keys_that_are_gone_are_removed()
    {
        Next(Keys("0 90"), 90 + s_kept - 0.0001).Removed.Should().BeEmpty();
        Next(Keys("0 90"), 90 + s_kept).Removed.Should().Equal("key-0");
        Next(Keys("0 90 180 270"), 270.5).Removed.Should().Equal("key-0", "key-90");
        Next(Keys("0"), 10_000).Removed.Should().BeEmpty("a key that signs is never gone");
        Next(Keys("0 90"), -400).Removed.Should().BeEmpty();

        // Overdue by a year with a key that is gone: both at once.
        Next(Keys("0 90"), 490).Should().BeEquivalentTo(new KeyChange { NewKeySignsFrom = Day(491), Removed = ["key-0"] });
    }

    [Theory]
    [InlineData(0)]
    [InlineData(-400)]
    [InlineData(400)]
    [InlineData(5000)]
    public void Wherever_the_clock_jumps_steps_come_to_an_end_at_once(double jump)
    {
        var keys = Keys("0 90");
        var taken = 0;
        for (; Next(keys, 100 + jump) is { IsEmpty: false } change; taken++)
        {
            taken.Should().BeLessThan(2);
            keys = Applied(keys, change, 100 + jump);
        }

        keys.Count(key => key.CreatedAt == Day(100 + jump)).Should().Be(jump > 0 ? 1 : 0);
    }

    [Fact]
    public void Through_years_there_is_one_key_for_each_rotation_and_each_was_published_before_it_signed()
    {
        List<KeyTimes> keys = [];
        List<KeyTimes> made = [];
        for (double day = 0; day < 2000; day += 0.05)
        {
            var change = Next(keys, day);
            keys = Applied(keys, change, day);
            made.AddRange(keys.Except(made));
            keys.Count.Should().BeInRange(1, 3);
        }

        made.Should().HaveCount(23);
        made.Zip(made.Skip(1), (one, next) => (next.SignsFrom - one.SignsFrom).TotalDays).Should().OnlyContain(days => days >= 90 && days < 90.1);
        made.Skip(1).Should().OnlyContain(key => key.SignsFrom - key.CreatedAt >= s_ahead - TimeSpan.FromDays(0.051));
    }

    [Fact]
    public void A_key_out_of_turn_is_published_first_or_signs_at_once()
    {
        var schedule = new KeySchedule(Keys("0"));

        schedule.Rotate(Day(10), s_ahead).Should().BeEquivalentTo(new KeyChange { NewKeySignsFrom = Day(11) });
        schedule.Rotate(Day(10), TimeSpan.Zero).Should().BeEquivalentTo(new KeyChange { NewKeySignsFrom = Day(10) });
        new KeySchedule([]).Rotate(Day(10), s_ahead).Should().BeEquivalentTo(new KeyChange { NewKeySignsFrom = Day(10) }, "the very first signs at once");
        States("0 10", 10).Should().Equal(KeyState.Retiring, KeyState.Signing);
    }

    [Fact]
    public void For_a_retired_key_that_signed_the_next_in_turn_takes_over_or_else_a_new_one()
    {
        var waiting = new KeySchedule(Keys("0 90 95")).Retire("key-0", Day(50))!;
        waiting.Removed.Should().Equal("key-0");
        waiting.Promoted.Should().Be(Key(90) with { SignsFrom = Day(50) });
        waiting.NewKeySignsFrom.Should().BeNull();

        var alone = new KeySchedule(Keys("0")).Retire("key-0", Day(50));
        alone.Should().BeEquivalentTo(new KeyChange { Removed = ["key-0"], NewKeySignsFrom = Day(50) });

        // Not the one that signed before: it had its time, and is to go soon.
        new KeySchedule(Keys("0 90")).Retire("key-90", Day(90.5)).Should().BeEquivalentTo(new KeyChange { Removed = ["key-90"], NewKeySignsFrom = Day(90.5) });

        // The clock far back: the first signs, and retiring it leaves one that signs.
        new KeySchedule(Keys("0 90")).Retire("key-0", Day(-400))!.Promoted.Should().Be(Key(90) with { SignsFrom = Day(-400) });
    }

    [Fact]
    public void A_retired_key_that_did_not_sign_just_goes()
    {
        foreach (var kid in (string[])["key-0", "key-180"])
        {
            new KeySchedule(Keys("0 90 180")).Retire(kid, Day(90.5)).Should().BeEquivalentTo(new KeyChange { Removed = [kid] });
        }

        new KeySchedule(Keys("0 90 180")).Retire("key-1", Day(90.5)).Should().BeNull("there is no such key");
    }

    private static DateTimeOffset Day(double day) => s_start + TimeSpan.FromDays(day);

    private static KeyTimes Key(double day) => new($"key-{day}", "ES256", Day(day) - s_ahead, Day(day));

    private static List<KeyTimes> Keys(string days)
        => [.. days.Split(' ').Select(day => Key(double.Parse(day, System.Globalization.CultureInfo.InvariantCulture)))];

    private static KeyChange Next(IEnumerable<KeyTimes> keys, double now) => new KeySchedule(keys).Next(Day(now), s_rotation, s_ahead);

    private static IEnumerable<KeyState> States(string keys, double now) => new KeySchedule(Keys(keys)).At(Day(now)).Select(key => key.State);

    private static List<KeyTimes> Applied(List<KeyTimes> keys, KeyChange change, double now)
    {
        var rest = keys.Where(key => !change.Removed.Contains(key.Kid));
        return [.. change.NewKeySignsFrom is { } from ? rest.Append(new KeyTimes($"made-{now}", "ES256", Day(now), from)) : rest];
    }
}
