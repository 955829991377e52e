using System;
using System.Data.Common;
using System.IO;
using System.Linq;
using System.Threading;
using TokenService.Keys;
using TokenService.Protocol;

namespace TokenService.Storage;

/// <summary>
/// The master key in use. It is the one that opens what the store holds: another process may change it (<c>keys rewrap</c>), and a
/// running service then goes on with the new one.
/// </summary>
/// <remarks>
/// Store and file cannot change in one step. So the new key is on the disk beside the file before the store changes, and takes the
/// file's name after that. In between, and after a crash there, whichever of the two opens the store is the right one. The files move
/// only under the write lock of the store.
/// </remarks>
/// <param name="setting"><c>TokenService:MasterKeyFile</c>, or <see langword="null"/> for the file beside the store.</param>
/// <param name="store">The store that it is for.</param>
internal sealed class MasterKey(string? setting, StoreDataSource store)
{
    private readonly Lock _gate = new();

    private KeyProtector? _current;

    /// <summary>The file with the key.</summary>
    public string File { get; } = setting ?? store.OwnMasterKeyFile ?? throw new ArgumentNullException(nameof(setting));

    /// <summary>Whether the file is the service's own, made beside the store, and not one that a setting names.</summary>
    public bool IsOwn => setting is null;

    /// <summary>Where the key before the last change is kept, for backups of the store from before.</summary>
    public string Previous => $"{File}.previous";

    /// <summary>Whether a prepared key is there: a change is under way, or was interrupted.</summary>
    public bool IsPrepared => IsOwn && System.IO.File.Exists(Next);

    private string Next => $"{File}.next";

    /// <summary>What encrypts and decrypts in the state of the store that was last asked for; once <see cref="For"/> was called.</summary>
    public KeyProtector Current => Volatile.Read(ref _current)!;

    /// <summary>What encrypts and decrypts in this state of the store. Made where neither store nor file has any key yet.</summary>
    /// <param name="connection">In a transaction, so that the state stays.</param>
    /// <exception cref="OperatorFaultException">The file is missing or malformed, or the key in it is not the right one.</exception>
    public KeyProtector For(DbConnection connection)
    {
        var sample = Sample(connection);
        lock (_gate)
        {
            return _current is not null && sample?.Opens(_current) is true ? _current : _current = Open(sample);
        }
    }

    /// <summary>Puts a new key onto the disk, for the change of the store that follows in this transaction.</summary>
    /// <param name="file">The file that the operator made.</param>
    /// <exception cref="OperatorFaultException">It cannot be read or copied, or holds no key.</exception>
    public KeyProtector Prepare(string file)
    {
        var key = MasterKeyFile.Read(file);
        if (!IsOwn)
        {
            // The store will need it from its commit on, and that survives a loss of power.
            DurableFile.Sync(file);
            return key;
        }

        MasterKeyFile.Copy(file, Next);
        return MasterKeyFile.Read(Next);
    }

    /// <summary>Gives a prepared key the name of the file, where it is the one that opens the store; where it is not, it is of no use and goes.</summary>
    /// <param name="connection">In a transaction that holds the write lock.</param>
    /// <exception cref="OperatorFaultException">The files cannot be moved.</exception>
    public void Settle(DbConnection connection)
    {
        if (!IsPrepared)
        {
            return;
        }

        try
        {
            var sample = Sample(connection);
            if (sample?.Opens(MasterKeyFile.Read(File)) is not false)
            {
                System.IO.File.Delete(Next);
            }
            else if (sample.Opens(MasterKeyFile.Read(Next)))
            {
                DurableFile.Replace(File, Next, Previous);
            }
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            throw new OperatorFaultException($"The new master key in {Next} cannot take the place of {File}: {fault.Message}", fault);
        }
    }

    /// <summary>Any value that only the right master key opens, or <see langword="null"/> where the store has none.</summary>
    public static SealedValue? Sample(DbConnection connection)
        => SigningKeyStore.Sealed(connection).FirstOrDefault() ?? RegistryStore.Sealed(connection).FirstOrDefault();

    private KeyProtector Open(SealedValue? sample)
    {
        if (!System.IO.File.Exists(File))
        {
            if (!IsOwn)
            {
                throw new OperatorFaultException(
                    $"TokenService:MasterKeyFile is {File}, and there is no such file; make one with \"openssl rand -base64 32\", mode 0600.");
            }

            // Whoever encrypted something made the file before: that nothing was encrypted was known before the file was looked for.
            if (sample is not null)
            {
                throw new OperatorFaultException(
                    $"The master key file {File} is missing, and the keys and secrets in the store {store.Name} do not open without it; put it back.");
            }

            MasterKeyFile.Make(File);
        }

        // The file twice: another process may be giving it the prepared key at this moment.
        foreach (var file in IsOwn ? (string[])[File, Next, File] : [File])
        {
            if (System.IO.File.Exists(file) && MasterKeyFile.Read(file) is var key && sample?.Opens(key) is not false)
            {
                return key;
            }
        }

        throw sample!.DoesNotOpen();
    }
}
