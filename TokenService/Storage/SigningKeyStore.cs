using System;
using System.Collections.Immutable;
using System.Data.Common;
using System.Security.Cryptography;
using TokenService.Keys;
using TokenService.Protocol;

namespace TokenService.Storage;

/// <summary>The signing keys in the store, their private parts encrypted.</summary>
/// <param name="dataSource">The store, its schema up to date.</param>
/// <param name="protector">Encrypts the private keys.</param>
public sealed class SigningKeyStore(DbDataSource dataSource, KeyProtector protector)
{
    private const string Table = "signing_keys";

    // With the algorithm: a key that signs PS256 cannot be made to sign RS256 by a change to its row.
    private const string Purpose = "private_key:";

    /// <summary>Whether the store has any signing key.</summary>
    /// <exception cref="StoreUnavailableException">The store does not answer.</exception>
    public static bool Any(DbDataSource dataSource) => StoreTransaction.Read(dataSource, Any);

    /// <summary>Makes the first key, where there is none. Several processes that do so at once end with one key.</summary>
    /// <param name="algorithm">What it signs with.</param>
    /// <param name="now">The time of making.</param>
    /// <exception cref="StoreUnavailableException">The store does not take it.</exception>
    public void MakeFirst(string algorithm, DateTimeOffset now)
    {
        if (Any(dataSource))
        {
            return;
        }

        var key = SigningKey.Generate(algorithm);
        var privateKey = key.ExportPrivateKey();
        var encrypted = protector.Protect(privateKey, Table, key.Kid, Purpose + algorithm);
        CryptographicOperations.ZeroMemory(privateKey);
        StoreTransaction.Write(dataSource, connection =>
        {
            if (!Any(connection))
            {
                connection.Execute(
                    "INSERT INTO signing_keys (kid, algorithm, created_at, private_key) VALUES (@kid, @algorithm, @createdAt, @privateKey)",
                    ("@kid", key.Kid),
                    ("@algorithm", key.Algorithm),
                    ("@createdAt", now.ToUnixTimeMilliseconds()),
                    ("@privateKey", encrypted));
                StoreTransaction.CountVersion(connection);
            }
        });
    }

    /// <summary>All keys, oldest first.</summary>
    /// <exception cref="OperatorFaultException">A key does not open: another master key, or a changed row.</exception>
    internal ImmutableArray<SigningKey> Read(DbConnection connection)
        =>
        [
            .. connection.Query("SELECT kid, algorithm, private_key FROM signing_keys ORDER BY created_at, kid", row => Open(
                row.GetString(0),
                row.GetString(1),
                row.GetFieldValue<byte[]>(2))),
        ];

    private SigningKey Open(string kid, string algorithm, byte[] encrypted)
    {
        try
        {
            var privateKey = protector.Unprotect(encrypted, Table, kid, Purpose + algorithm);
            var key = SigningKey.Import(algorithm, privateKey);
            CryptographicOperations.ZeroMemory(privateKey);
            return key;
        }
        catch (CryptographicException fault)
        {
            throw new OperatorFaultException(
                $"The signing key {kid} in the store does not open: the master key is not the one it was encrypted under, or the store " +
                "was changed. Nothing was written; start again with the right TokenService:MasterKeyFile.",
                fault);
        }
    }

    private static bool Any(DbConnection connection) => connection.QuerySingle<long>("SELECT COUNT(*) FROM signing_keys") > 0;
}
