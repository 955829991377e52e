using System;
using System.Collections.Generic;
using System.Collections.Immutable;
using System.Data.Common;
using System.IO;
using TokenService.Clients;
using TokenService.Keys;
using TokenService.Operations;
using TokenService.Protocol;

namespace TokenService.Storage;

/// <summary>What a change of the master key came to.</summary>
/// <param name="SigningKeys">How many signing keys it encrypted.</param>
/// <param name="ClientSecrets">How many kept secrets of clients.</param>
/// <param name="MasterKeyFile">The file that the master key belongs into.</param>
/// <param name="Previous">Where the key before is, or <see langword="null"/> where the operator is to put the new one into its place.</param>
public sealed record Rewrapped(int SigningKeys, int ClientSecrets, string MasterKeyFile, string? Previous);

/// <summary>The store, opened and brought up to date.</summary>
/// <remarks>This room is the only one that knows SQL, and the only one that touches the disk for good.</remarks>
public sealed class Store : IDisposable
{
    private readonly StoreDataSource _dataSource;
    private readonly MasterKey _masterKey;

    private Store(StoreDataSource dataSource, Settings settings)
    {
        _dataSource = dataSource;
        _masterKey = new MasterKey(settings.MasterKeyFile, dataSource);
        Registry = new RegistryStore(dataSource, _masterKey.For);
        Keys = new SigningKeyStore(dataSource, _masterKey.For);
    }

    /// <summary>Clients and resources.</summary>
    public RegistryStore Registry { get; }

    /// <summary>Signing keys.</summary>
    public SigningKeyStore Keys { get; }

    internal StoreDataSource DataSource => _dataSource;

    /// <summary>What encrypts under the master key as it was when the store was last read, for values that are handed out and not kept.</summary>
    public KeyProtector Protector => _masterKey.Current;

    /// <summary>Has each transaction told of from now on.</summary>
    /// <param name="used">Told <c>read</c> or <c>write</c>, how long it took, and the kind of its fault, from a closed set, if it had one.</param>
    public void Tell(Action<string, TimeSpan, string?> used) => _dataSource.Used = used;

    /// <summary>The refusals that are kept under a trace id, the oldest first.</summary>
    /// <exception cref="StoreUnavailableException">The store does not answer.</exception>
    public IReadOnlyList<Refusal> FindRefusals(string traceId) => RefusalStore.Find(_dataSource, traceId);

    /// <summary>The last refusals that are kept, the newest first; one is there about a second after its answer.</summary>
    /// <param name="most">How many, at most.</param>
    /// <exception cref="StoreUnavailableException">The store does not answer.</exception>
    public IReadOnlyList<Refusal> LastRefusals(int most) => RefusalStore.Last(_dataSource, most);

    /// <summary>Whether an assertion of a client is noted as used, or so old that nobody knows. It looks only.</summary>
    /// <param name="clientId">The client.</param>
    /// <param name="tokenId">The <c>jti</c> of the assertion.</param>
    /// <param name="keepUntil">From when on the assertion would be refused for its age.</param>
    /// <exception cref="StoreUnavailableException">The store does not answer.</exception>
    public bool WasUsed(string clientId, string tokenId, DateTimeOffset keepUntil) => ReplayStore.WasUsed(_dataSource, clientId, tokenId, keepUntil);

    /// <summary>The public parts of the signing keys, as the JWKS has them.</summary>
    /// <exception cref="StoreUnavailableException">The store does not answer.</exception>
    /// <exception cref="OperatorFaultException">The master key is missing, unreadable, or not the right one.</exception>
    public ImmutableArray<ClientKey> PublicKeys()
        => StoreTransaction.Read(_dataSource, Keys.ReadPublicKeys);

    /// <summary>Opens the store that the settings name, makes it where there is none, and applies what migrations it lacks.</summary>
    /// <exception cref="OperatorFaultException">It cannot be opened.</exception>
    public static Store Open(Settings settings)
    {
        StoreDataSource dataSource = settings.IsPostgreSql
            ? PostgreSqlDataSource.Open(settings.ConnectionString)
            : SqliteDataSource.Open(settings.ConnectionString, settings.ContentRoot);
        try
        {
            Migrations.Apply(dataSource);
        }
        catch (DbException fault)
        {
            dataSource.Dispose();
            throw new OperatorFaultException($"The store {dataSource.Name} cannot be brought up to date: {StoreTransaction.Reason(fault)}{StoreFault.Advice(fault)}", fault);
        }

        return new Store(dataSource, settings);
    }

    /// <summary>
    /// Encrypts everything in the store that is encrypted under a new master key, in one transaction, and puts that key into the place of the
    /// one before, unless a setting names the place. Killed at any moment, it leaves a store that opens.
    /// </summary>
    /// <param name="newMasterKeyFile">A file with 32 random bytes in base64, which stays as it is.</param>
    /// <exception cref="OperatorFaultException">A file cannot be read or written, holds no key, or the key that is in use; nothing is changed.</exception>
    /// <exception cref="StoreUnavailableException">The store does not take it.</exception>
    public Rewrapped Rewrap(string newMasterKeyFile)
    {
        var (keys, secrets) = (0, 0);
        StoreTransaction.Write(_dataSource, Turn.Registry, connection =>
        {
            // A change before this one may have been interrupted, or be about to settle: what it prepared is not to be overwritten.
            _masterKey.Settle(connection);
            if (_masterKey.IsOwn && File.Exists(_masterKey.Previous))
            {
                throw new OperatorFaultException(
                    $"The master key of an earlier change is still in {_masterKey.Previous}; move it to where the backups from before that change are.");
            }

            var sample = MasterKey.Sample(connection) ?? throw new OperatorFaultException(
                $"The store {_dataSource.Name} holds nothing encrypted yet; put the master key into {_masterKey.File} and start the service.");
            var before = _masterKey.For(connection);
            if (sample.Opens(MasterKeyFile.Read(newMasterKeyFile)))
            {
                throw new OperatorFaultException($"The key in {newMasterKeyFile} is the master key in use already.");
            }

            var after = _masterKey.Prepare(newMasterKeyFile);
            keys = SigningKeyStore.Rewrap(connection, before, after);
            secrets = RegistryStore.Rewrap(connection, before, after);
            StoreTransaction.CountVersion(_dataSource, connection);
        });
        SettleMasterKey();
        return new Rewrapped(keys, secrets, _masterKey.File, _masterKey.IsOwn ? _masterKey.Previous : null);
    }

    /// <summary>Brings a change of the master key to its end that was interrupted after the store was changed.</summary>
    /// <exception cref="OperatorFaultException">The files cannot be moved.</exception>
    /// <exception cref="StoreUnavailableException">The store does not answer.</exception>
    public void SettleMasterKey()
    {
        if (_masterKey.IsPrepared)
        {
            StoreTransaction.Write(_dataSource, Turn.Registry, _masterKey.Settle);
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _dataSource.Dispose();
}
