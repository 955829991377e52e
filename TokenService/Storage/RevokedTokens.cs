using System;
using System.Collections.Concurrent;
using System.Data.Common;
using System.Linq;
using System.Threading;
using TokenService.Tokens;

namespace TokenService.Storage;

/// <summary>Which tokens were revoked, in memory: those of them that would not have expired yet, and no others.</summary>
/// <remarks>
/// <see cref="StoreWatch"/> has it read, once a second, the rows that are new since the last time, whichever process wrote them; the rest is
/// not read again. A revocation of this process is here the moment that it is written.
/// </remarks>
public sealed class RevokedTokens
{
    // By jti; the value is the end of the token in milliseconds since 1970.
    private readonly ConcurrentDictionary<string, long> _live = new(StringComparer.Ordinal);
    private readonly Lock _reading = new();

    private long _lastId;
    private long _horizon;

    /// <summary>How many there are.</summary>
    public int Count => _live.Count;

    /// <summary>
    /// Whether a token was revoked, or ends so early that nobody knows: a clock that ran ahead and was set back cannot bring a
    /// revoked one back to life.
    /// </summary>
    /// <param name="tokenId">The <c>jti</c> of the token.</param>
    /// <param name="expiresAt">Its end.</param>
    public bool Contains(string tokenId, DateTimeOffset expiresAt)

        // In this order: what is forgotten in between is behind the horizon by then.
        => _live.ContainsKey(tokenId) || expiresAt.ToUnixTimeMilliseconds() <= Volatile.Read(ref _horizon);

    /// <summary>Adds one that is in the store.</summary>
    internal void Add(AccessToken token) => _live[token.TokenId] = token.ExpiresAt.ToUnixTimeMilliseconds();

    /// <summary>Reads what is new in the store.</summary>
    /// <param name="connection">In a transaction, so that all is of one moment.</param>
    /// <param name="again">Whether it is another store than the last time; then all is read.</param>
    internal void Read(DbConnection connection, bool again)
    {
        lock (_reading)
        {
            var rows = connection.Query(
                "SELECT id, jti, expires_at FROM revoked_tokens WHERE id > @last ORDER BY id",
                row => (Id: row.GetInt64(0), TokenId: row.GetString(1), ExpiresAt: row.GetInt64(2)),
                ("@last", again ? 0 : _lastId));
            var horizon = connection.QuerySingle<long>("SELECT expires_at FROM revoked_tokens_horizon");
            foreach (var row in rows)
            {
                _live[row.TokenId] = row.ExpiresAt;
            }

            _lastId = rows.Count > 0 ? rows[^1].Id : again ? 0 : _lastId;
            horizon = again ? Math.Max(horizon, _horizon) : horizon;
            if (horizon != _horizon)
            {
                // What the store has forgotten goes here too.
                Volatile.Write(ref _horizon, horizon);
                foreach (var old in _live.Where(revoked => revoked.Value <= horizon))
                {
                    _live.TryRemove(old);
                }
            }
        }
    }
}
