using System;
using System.Collections.Generic;
using System.Collections.Immutable;
using System.Linq;

namespace TokenService.Keys;

/// <summary>A signing key as the schedule sees it.</summary>
/// <param name="Kid">The key identifier.</param>
/// <param name="Algorithm">What it signs with.</param>
/// <param name="CreatedAt">When it was made, and so published.</param>
/// <param name="SignsFrom">When it begins to sign.</param>
public sealed record KeyTimes(string Kid, string Algorithm, DateTimeOffset CreatedAt, DateTimeOffset SignsFrom);

/// <summary>Where a signing key is in its life. In every state but the last it is in the JWKS.</summary>
public enum KeyState
{
    /// <summary>In the JWKS, so that verifiers know it before its first token comes.</summary>
    Published,

    /// <summary>The one key that signs.</summary>
    Signing,

    /// <summary>No longer signing; tokens that it signed may still be alive.</summary>
    Retiring,

    /// <summary>All that it signed has expired: the key is to be removed.</summary>
    Gone,
}

/// <summary>A key with its state at one moment.</summary>
/// <param name="Key">The key.</param>
/// <param name="State">Its state.</param>
/// <param name="GoneAt">When it is gone, or <see langword="null"/> as long as no key comes after it.</param>
public sealed record ScheduledKey(KeyTimes Key, KeyState State, DateTimeOffset? GoneAt);

/// <summary>What to do to the keys.</summary>
public sealed record KeyChange
{
    /// <summary>A new key is to be made that signs from here; <see langword="null"/> for none.</summary>
    public DateTimeOffset? NewKeySignsFrom { get; init; }

    /// <summary>A published key that is to sign earlier than it would, with its new times.</summary>
    public KeyTimes? Promoted { get; init; }

    /// <summary>The kids of keys to remove.</summary>
    public ImmutableArray<string> Removed { get; init; } = [];

    /// <summary>Whether there is nothing to do.</summary>
    public bool IsEmpty => NewKeySignsFrom is null && Promoted is null && Removed.IsEmpty;
}

/// <summary>
/// When which signing key does what: published, signing, retiring, gone. It knows no clock and no store; every decision on keys is
/// taken here, from the keys that there are and the time.
/// </summary>
public sealed class KeySchedule
{
    /// <summary>The longest that an access token may live.</summary>
    public static readonly TimeSpan LongestTokenLifetime = TimeSpan.FromHours(24);

    /// <summary>
    /// How long a key stays published beyond its last token: for services that hear of the next key a little later or whose clock is a
    /// little behind, and for verifiers that accept a token for some minutes more.
    /// </summary>
    public static readonly TimeSpan Margin = TimeSpan.FromMinutes(10);

    /// <summary>Makes the schedule.</summary>
    /// <param name="keys">All keys, in any order.</param>
    public KeySchedule(IEnumerable<KeyTimes> keys)
        => Keys = [.. keys.OrderBy(key => key.SignsFrom).ThenBy(key => key.CreatedAt).ThenBy(key => key.Kid, StringComparer.Ordinal)];

    /// <summary>All keys, in the order in which they sign.</summary>
    public ImmutableArray<KeyTimes> Keys { get; }

    /// <summary>
    /// The place in <see cref="Keys"/> of the key that signs: the last that was to begin. Where none was, because the clock was set back
    /// far, it is the first: there is always one that signs.
    /// </summary>
    public int SigningAt(DateTimeOffset now)
    {
        var signing = Keys.Length - 1;
        while (signing > 0 && Keys[signing].SignsFrom > now)
        {
            signing--;
        }

        return signing;
    }

    /// <summary>All keys with their states, in the order in which they sign.</summary>
    public ImmutableArray<ScheduledKey> At(DateTimeOffset now)
    {
        var signing = SigningAt(now);
        return
        [
            .. Keys.Select((key, place) => new ScheduledKey(
                key,
                place > signing ? KeyState.Published : place == signing ? KeyState.Signing : GoneAt(place) <= now ? KeyState.Gone : KeyState.Retiring,
                GoneAt(place))),
        ];
    }

    /// <summary>
    /// What time brings: the first key, which signs at once; the next key, made so long before the signing one is due that it can be published
    /// first; the removal of keys that are gone. A key that is overdue, by years even, has one successor.
    /// </summary>
    /// <param name="now">The time.</param>
    /// <param name="rotation">How old the signing key may become (<c>TokenService:KeyRotation</c>).</param>
    /// <param name="publishAhead">How long a key is published before it signs (<c>TokenService:KeyPublishAhead</c>).</param>
    public KeyChange Next(DateTimeOffset now, TimeSpan rotation, TimeSpan publishAhead)
    {
        if (Keys.IsEmpty)
        {
            return new KeyChange { NewKeySignsFrom = now };
        }

        var signing = SigningAt(now);
        var due = Keys[signing].SignsFrom + rotation;
        var successorFrom = Later(due, now + publishAhead);

        // A key that is to sign much later was made by a clock that was far ahead; waiting for it, the signing key could grow old.
        var hasSuccessor = signing + 1 < Keys.Length && Keys[signing + 1].SignsFrom <= successorFrom + rotation;
        return new KeyChange
        {
            NewKeySignsFrom = now >= due - publishAhead && !hasSuccessor ? successorFrom : null,
            Removed = [.. At(now).Where(key => key.State == KeyState.Gone).Select(key => key.Key.Kid)],
        };
    }

    /// <summary>A new key, out of turn.</summary>
    /// <param name="now">The time.</param>
    /// <param name="publishAhead">How long it is published before it signs: nothing where it is to sign at once. The very first signs at once.</param>
    public KeyChange Rotate(DateTimeOffset now, TimeSpan publishAhead)
        => new() { NewKeySignsFrom = Keys.IsEmpty ? now : now + publishAhead };

    /// <summary>
    /// Takes a key away at once, with all that it signed. Where it was the signing one, the next in turn signs from now, since more verifiers
    /// know it than would a new one; where there is none, a new one does. A key that no longer signed does not come back.
    /// </summary>
    /// <returns>What to do, or <see langword="null"/> where there is no such key.</returns>
    public KeyChange? Retire(string kid, DateTimeOffset now)
    {
        var place = Keys.IndexOf(Keys.FirstOrDefault(key => key.Kid == kid)!);
        if (place < 0)
        {
            return null;
        }

        var removed = new KeyChange { Removed = [kid] };
        return place != SigningAt(now) ? removed
            : place + 1 < Keys.Length ? removed with { Promoted = Keys[place + 1] with { SignsFrom = now } }
            : removed with { NewKeySignsFrom = now };
    }

    private static DateTimeOffset Later(DateTimeOffset one, DateTimeOffset other) => one > other ? one : other;

    // The last token of a key is signed when the next one begins, at the latest.
    private DateTimeOffset? GoneAt(int place) => place + 1 < Keys.Length ? Keys[place + 1].SignsFrom + LongestTokenLifetime + Margin : null;
}
