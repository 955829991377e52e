using System;
using System.Collections.Generic;
using System.Collections.Immutable;
using System.Data.Common;
using System.Linq;
using System.Security.Cryptography;
using TokenService.Clients;
using TokenService.Keys;
using TokenService.Protocol;

namespace TokenService.Storage;

/// <summary>What a change of the signing keys came to.</summary>
/// <param name="Keys">The keys afterwards.</param>
/// <param name="Made">The key that was made, if one was.</param>
/// <param name="Removed">The kids of the keys that were removed.</param>
public sealed record KeysChanged(KeySchedule Keys, KeyTimes? Made, ImmutableArray<string> Removed);

/// <summary>The signing keys in the store, their private parts encrypted.</summary>
/// <param name="dataSource">The store, its schema up to date.</param>
/// <param name="protector">Gives what encrypts the private keys, for a transaction.</param>
public sealed class SigningKeyStore(StoreDataSource dataSource, Func<DbConnection, KeyProtector> protector)
{
    private const string Table = "signing_keys";

    // With the algorithm: a key that signs PS256 cannot be made to sign RS256 by a change to its row.
    private const string Purpose = "private_key:";

    /// <summary>The keys and their times; no private key is opened.</summary>
    /// <exception cref="StoreUnavailableException">The store does not answer.</exception>
    public KeySchedule Read() => StoreTransaction.Read(dataSource, ReadSchedule);

    /// <summary>
    /// Changes the keys. Several processes that decide the same at once end with one change, as it is decided again on the state that it is
    /// written to, with no other writer in between. Once this returns, the change survives a crash.
    /// </summary>
    /// <param name="algorithm">What a new key signs with.</param>
    /// <param name="clock">The clock: the time is taken when nothing is waited for any more.</param>
    /// <param name="decide">
    /// Gives the change for the keys and the time, or throws to leave everything as it is. Called again where it gives one.
    /// </param>
    /// <exception cref="StoreUnavailableException">The store does not take it.</exception>
    /// <exception cref="OperatorFaultException">The master key is missing, unreadable, or not the right one.</exception>
    public KeysChanged Change(string algorithm, TimeProvider clock, Func<KeySchedule, DateTimeOffset, KeyChange> decide)
    {
        var before = Read();
        var planned = decide(before, clock.GetUtcNow());
        if (planned.IsEmpty)
        {
            return new KeysChanged(before, null, []);
        }

        // Made first: it takes its time, and nobody else can write meanwhile once the transaction is open.
        var key = planned.NewKeySignsFrom is null ? null : Generate(algorithm);
        KeysChanged? changed = null;
        StoreTransaction.Write(dataSource, Turn.Registry, connection =>
        {
            var now = clock.GetUtcNow();
            var change = decide(ReadSchedule(connection), now);
            foreach (var kid in change.Removed)
            {
                connection.Execute("DELETE FROM signing_keys WHERE kid = @kid", ("@kid", kid));
            }

            if (change.Promoted is { } promoted)
            {
                connection.Execute(
                    "UPDATE signing_keys SET signs_from = @signsFrom WHERE kid = @kid",
                    ("@signsFrom", promoted.SignsFrom.ToUnixTimeMilliseconds()),
                    ("@kid", promoted.Kid));
            }

            if (change.NewKeySignsFrom is { } signsFrom)
            {
                Insert(connection, key ??= Generate(algorithm), now, signsFrom);
            }

            if (!change.IsEmpty)
            {
                StoreTransaction.CountVersion(dataSource, connection);
            }

            var after = ReadSchedule(connection);
            changed = new KeysChanged(
                after, change.NewKeySignsFrom is null ? null : after.Keys.Single(row => row.Kid == key!.Kid), change.Removed);
        });
        return changed!;
    }

    /// <summary>The encrypted private keys.</summary>
    internal static IEnumerable<SealedValue> Sealed(DbConnection connection) => connection.Query(
        "SELECT kid, algorithm, private_key FROM signing_keys",
        row => new SealedValue($"The signing key {row.GetString(0)}", row.GetFieldValue<byte[]>(2), Table, row.GetString(0), Purpose + row.GetString(1)));

    /// <summary>Encrypts the private keys under another master key.</summary>
    /// <returns>How many there are.</returns>
    /// <exception cref="OperatorFaultException">A key does not open.</exception>
    internal static int Rewrap(DbConnection connection, KeyProtector before, KeyProtector after)
    {
        var keys = Sealed(connection).ToList();
        foreach (var key in keys)
        {
            connection.Execute(
                "UPDATE signing_keys SET private_key = @privateKey WHERE kid = @kid", ("@privateKey", key.Rewrap(before, after)), ("@kid", key.Row));
        }

        return keys.Count;
    }

    /// <summary>Keeps a new key, its private part encrypted.</summary>
    internal void Insert(DbConnection connection, SigningKey key, DateTimeOffset createdAt, DateTimeOffset signsFrom)
    {
        var encryption = protector(connection);
        var privateKey = key.ExportPrivateKey();
        connection.Execute(
            """
            INSERT INTO signing_keys (kid, algorithm, created_at, signs_from, private_key)
            VALUES (@kid, @algorithm, @createdAt, @signsFrom, @privateKey)
            """,
            ("@kid", key.Kid),
            ("@algorithm", key.Algorithm),
            ("@createdAt", createdAt.ToUnixTimeMilliseconds()),
            ("@signsFrom", signsFrom.ToUnixTimeMilliseconds()),
            ("@privateKey", encryption.Protect(privateKey, Table, key.Kid, Purpose + key.Algorithm)));
        CryptographicOperations.ZeroMemory(privateKey);
    }

    /// <summary>All keys, opened; at least one.</summary>
    /// <exception cref="OperatorFaultException">A key does not open: another master key, or a changed row.</exception>
    internal SigningKeyRing ReadRing(DbConnection connection)
    {
        var key = protector(connection);
        var schedule = ReadSchedule(connection);
        var algorithms = schedule.Keys.ToDictionary(row => row.Kid, row => row.Algorithm, StringComparer.Ordinal);
        return new SigningKeyRing(
            schedule, Sealed(connection).ToDictionary(row => row.Row, row => Open(row, algorithms[row.Row], key), StringComparer.Ordinal));
    }

    /// <summary>The public parts of the keys; none where there is no key yet.</summary>
    internal ImmutableArray<ClientKey> ReadPublicKeys(DbConnection connection)
        => ReadSchedule(connection).Keys.IsEmpty ? [] : [.. ReadRing(connection).Keys.Select(key => new ClientKey(key.PublicKey))];

    private static KeySchedule ReadSchedule(DbConnection connection) => new(connection.Query(
        "SELECT kid, algorithm, created_at, COALESCE(signs_from, created_at) FROM signing_keys",
        row => new KeyTimes(row.GetString(0), row.GetString(1), Time(row.GetInt64(2)), Time(row.GetInt64(3)))));

    private static DateTimeOffset Time(long milliseconds) => DateTimeOffset.FromUnixTimeMilliseconds(milliseconds);

    private static SigningKey Open(SealedValue row, string algorithm, KeyProtector protector)
    {
        var privateKey = row.Open(protector);
        try
        {
            return SigningKey.Import(algorithm, privateKey);
        }
        catch (CryptographicException fault)
        {
            throw row.DoesNotOpen(fault);
        }
        finally
        {
            CryptographicOperations.ZeroMemory(privateKey);
        }
    }

    // "keys retire -x" would be read as an option.
    private static SigningKey Generate(string algorithm)
    {
        while (true)
        {
            var key = SigningKey.Generate(algorithm);
            if (!key.Kid.StartsWith('-'))
            {
                return key;
            }
        }
    }
}
