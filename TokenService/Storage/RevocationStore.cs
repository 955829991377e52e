using System;
using System.Collections.Generic;
using System.Data.Common;
using System.Linq;
using System.Threading.Tasks;
using TokenService.Tokens;

namespace TokenService.Storage;

/// <summary>
/// Notes revoked tokens in the store, many in one transaction, and removes each note once its token would have expired, a minute late for
/// replicas whose clocks are behind.
/// </summary>
public sealed class RevocationStore : IDisposable
{
    // Together with what the note of an assertion may have taken before, less than 3 seconds.
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(0.9);
    private static readonly TimeSpan s_kept = TimeSpan.FromMinutes(1);
    private static readonly TimeSpan s_longestLifetime = TimeSpan.FromHours(24);

    private readonly RevokedTokens _revoked;
    private readonly TimeProvider _clock;
    private readonly GroupCommit<AccessToken> _notes;

    /// <summary>Starts the writer.</summary>
    /// <param name="dataSource">The store, its schema up to date.</param>
    /// <param name="revoked">Told of each revocation that is in the store.</param>
    /// <param name="clock">The clock.</param>
    /// <param name="tell">Told when the store begins not to take the notes, and why; and, with nothing, when it takes them again.</param>
    public RevocationStore(StoreDataSource dataSource, RevokedTokens revoked, TimeProvider clock, Action<StoreFault?> tell)
        => (_revoked, _clock, _notes) = (revoked, clock, new(dataSource, "revoked tokens", clock, s_patience, Turn.Revocations, Turn.Revocations, Insert, RemoveOld, Probe, tell));

    /// <summary>Revokes a token.</summary>
    /// <returns>Whether it is revoked, so that a crash does not undo it; where not, it is in doubt and may be tried again.</returns>
    public async ValueTask<bool> Revoke(AccessToken token)
    {
        var written = await _notes.Write(token);
        if (written)
        {
            _revoked.Add(token);
        }

        return written;
    }

    /// <summary>Writes what is waiting, and ends.</summary>
    public void Dispose() => _notes.Dispose();

    private static void Insert(DbConnection connection, IEnumerable<AccessToken> tokens)
    {
        // One statement: each costs a way to the server and back, and the other replicas wait for their turn.
        var all = tokens.ToList();
        connection.Execute(
            $"""
            INSERT INTO revoked_tokens (jti, expires_at) VALUES {string.Join(", ", all.Select((_, row) => $"(@jti{row}, @expiresAt{row})"))}
            ON CONFLICT (jti) DO NOTHING
            """,
            [.. all.SelectMany((token, row) => ((string, object?)[])[($"@jti{row}", token.TokenId), ($"@expiresAt{row}", token.ExpiresAt.ToUnixTimeMilliseconds())])]);
    }

    private static void Probe(DbConnection connection)
    {
        // Of no token.
        var tokenId = $"{Guid.NewGuid()}";
        connection.Execute("INSERT INTO revoked_tokens (jti, expires_at) VALUES (@jti, 0)", ("@jti", tokenId));
        connection.Execute("DELETE FROM revoked_tokens WHERE jti = @jti", ("@jti", tokenId));
    }

    private int RemoveOld(DbConnection connection, int most)
    {
        var until = (_clock.GetUtcNow() - s_kept).ToUnixTimeMilliseconds();
        var gone = connection.Query(
            """
            DELETE FROM revoked_tokens WHERE id IN (SELECT id FROM revoked_tokens WHERE expires_at < @until ORDER BY expires_at LIMIT @most)
            RETURNING expires_at
            """,
            row => row.GetInt64(0),
            ("@until", until),
            ("@most", most));
        if (gone.Count > 0)
        {
            connection.Execute("UPDATE revoked_tokens_horizon SET expires_at = @until WHERE expires_at < @until", ("@until", gone.Max()));
        }

        // Only a clock that ran far ahead leaves a horizon that far away: no token that was issued by the right one ends later.
        connection.Execute(
            "UPDATE revoked_tokens_horizon SET expires_at = @latest WHERE expires_at > @latest",
            ("@latest", (_clock.GetUtcNow() + s_longestLifetime).ToUnixTimeMilliseconds()));
        return gone.Count;
    }
}
