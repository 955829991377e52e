using System;
using System.Collections.Generic;
using System.Data.Common;
using System.IO;
using TokenService.Keys;
using TokenService.Operations;
using TokenService.Protocol;

namespace TokenService.Storage;

/// <summary>The store, opened and brought up to date.</summary>
/// <remarks>This room is the only one that knows SQL, and the only one that touches the disk for good.</remarks>
public sealed class Store : IDisposable
{
    private readonly SqliteDataSource _dataSource;
    private readonly Settings _settings;
    private readonly Lazy<KeyProtector> _protector;

    private Store(SqliteDataSource dataSource, Settings settings)
    {
        (_dataSource, _settings) = (dataSource, settings);
        _protector = new Lazy<KeyProtector>(OpenMasterKey);
        Registry = new RegistryStore(dataSource, () => _protector.Value);
    }

    /// <summary>Clients and resources.</summary>
    public RegistryStore Registry { get; }

    internal SqliteDataSource DataSource => _dataSource;

    /// <summary>The refusals that are kept under a trace id, the oldest first.</summary>
    /// <exception cref="StoreUnavailableException">The store does not answer.</exception>
    public IReadOnlyList<Refusal> FindRefusals(string traceId) => RefusalStore.Find(_dataSource, traceId);

    /// <summary>Whether an assertion of a client is noted as used, or so old that nobody knows. It looks only.</summary>
    /// <param name="clientId">The client.</param>
    /// <param name="tokenId">The <c>jti</c> of the assertion.</param>
    /// <param name="keepUntil">From when on the assertion would be refused for its age.</param>
    /// <exception cref="StoreUnavailableException">The store does not answer.</exception>
    public bool WasUsed(string clientId, string tokenId, DateTimeOffset keepUntil) => ReplayStore.WasUsed(_dataSource, clientId, tokenId, keepUntil);

    /// <summary>Opens the store that the settings name, makes it where there is none, and applies what migrations it lacks.</summary>
    /// <exception cref="OperatorFaultException">It cannot be opened.</exception>
    public static Store Open(Settings settings)
    {
        var dataSource = SqliteDataSource.Open(settings.ConnectionString, settings.ContentRoot);
        try
        {
            Migrations.Apply(dataSource);
        }
        catch (DbException fault)
        {
            throw new OperatorFaultException($"The store {dataSource.File} cannot be brought up to date: {fault.Message}", fault);
        }

        return new Store(dataSource, settings);
    }

    /// <summary>Opens the signing keys, and makes the master key and the first signing key where the store has none.</summary>
    /// <exception cref="OperatorFaultException">The master key is missing, unreadable, or the wrong one.</exception>
    public SigningKeyStore OpenKeys(DateTimeOffset now)
    {
        var keys = new SigningKeyStore(_dataSource, _protector.Value);
        keys.MakeFirst(_settings.SigningAlgorithm, now);
        return keys;
    }

    /// <inheritdoc/>
    public void Dispose() => _dataSource.Dispose();

    private KeyProtector OpenMasterKey()
    {
        var file = _settings.MasterKeyFile ?? MasterKeyFile.Beside(_dataSource.File);
        if (!File.Exists(file))
        {
            if (_settings.MasterKeyFile is not null)
            {
                throw new OperatorFaultException(
                    $"TokenService:MasterKeyFile is {file}, and there is no such file; make one with \"openssl rand -base64 32\", mode 0600.");
            }

            // Looked for once more: another process that starts for the first time makes the file before the key.
            if ((SigningKeyStore.Any(_dataSource) || Registry.AnyEncrypted()) && !File.Exists(file))
            {
                throw new OperatorFaultException(
                    $"The master key file {file} is missing, and the keys and secrets in the store {_dataSource.File} do not open without it; put it back.");
            }

            MasterKeyFile.Make(file);
        }

        return MasterKeyFile.Read(file);
    }
}
