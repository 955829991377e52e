using System.Security.Cryptography;
using TokenService.Keys;
using TokenService.Protocol;

namespace TokenService.Storage;

/// <summary>An encrypted value in the store, with the place that it is bound to.</summary>
/// <param name="Name">What it is, for a message: <c>The signing key …</c>.</param>
/// <param name="Value">As <see cref="KeyProtector.Protect"/> made it.</param>
/// <param name="Table">Its table.</param>
/// <param name="Row">Its row.</param>
/// <param name="Purpose">What it is for.</param>
internal sealed record SealedValue(string Name, byte[] Value, string Table, string Row, string Purpose)
{
    /// <summary>Whether it opens.</summary>
    public bool Opens(KeyProtector protector)
    {
        try
        {
            CryptographicOperations.ZeroMemory(protector.Unprotect(Value, Table, Row, Purpose));
            return true;
        }
        catch (CryptographicException)
        {
            return false;
        }
    }

    /// <summary>Opens it.</summary>
    /// <exception cref="OperatorFaultException">Another master key, or a changed row.</exception>
    public byte[] Open(KeyProtector protector)
    {
        try
        {
            return protector.Unprotect(Value, Table, Row, Purpose);
        }
        catch (CryptographicException fault)
        {
            throw DoesNotOpen(fault);
        }
    }

    /// <summary>The same value under another master key.</summary>
    /// <exception cref="OperatorFaultException">It does not open with the one before.</exception>
    public byte[] Rewrap(KeyProtector before, KeyProtector after)
    {
        var plain = Open(before);
        var rewrapped = after.Protect(plain, Table, Row, Purpose);
        CryptographicOperations.ZeroMemory(plain);
        return rewrapped;
    }

    /// <summary>What to tell where it does not open.</summary>
    public OperatorFaultException DoesNotOpen(CryptographicException? fault = null) => new(
        $"{Name} in the store does not open: the master key is not the one it was encrypted under, or the store was changed. " +
        "Nothing was written; start again with the right TokenService:MasterKeyFile.",
        fault);
}
