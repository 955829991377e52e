using System;
using System.Threading.Tasks;

namespace TokenService.Authentication;

/// <summary>Remembers which assertions were used. It knows SQL, so it is made further out.</summary>
public interface IReplayStore
{
    /// <summary>
    /// Notes that a client uses an assertion. Called last, once all else about the assertion is right: nobody can use up a <c>jti</c> in
    /// another's name. When the answer comes, the note survives a crash.
    /// </summary>
    /// <param name="clientId">The client.</param>
    /// <param name="tokenId">The <c>jti</c> of the assertion.</param>
    /// <param name="keepUntil">From when on the assertion would be refused for its age.</param>
    ValueTask<ReplayVerdict> Use(string clientId, string tokenId, DateTimeOffset keepUntil);
}

/// <summary>What the store says of the use of an assertion.</summary>
public enum ReplayVerdict
{
    /// <summary>This is the first use; it is noted for good.</summary>
    FirstUse,

    /// <summary>It was used before, or is so old that nobody knows.</summary>
    UsedBefore,

    /// <summary>
    /// The store does not answer, or it is in doubt whether the note was written. The assertion must not be accepted, and not be tried
    /// again: a second try could find the note of the first.
    /// </summary>
    Unknown,
}
