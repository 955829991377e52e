using System;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Threading;

namespace TokenService.Keys;

/// <summary>
/// Encrypts what the store may not hold in clear: AES-256-GCM under the master key, with a fresh nonce for each value. A value is
/// bound to its place (table, row, purpose): moved to another row, it does not open.
/// </summary>
public sealed class KeyProtector : IDisposable
{
    /// <summary>The length of a master key in bytes.</summary>
    public const int MasterKeyBytes = 32;

    private const byte Version = 1;
    private const int NonceBytes = 12;
    private const int TagBytes = 16;
    private const int HeaderBytes = 1 + NonceBytes + TagBytes;

    // It keeps nonce and direction between two calls to the library, so only one thread may use it at a time.
    private readonly AesGcm _aes;
    private readonly Lock _lock = new();

    /// <summary>A protector under this master key, which may be wiped afterwards.</summary>
    /// <param name="masterKey">32 random bytes.</param>
    /// <exception cref="ArgumentException">The key has another length.</exception>
    public KeyProtector(ReadOnlySpan<byte> masterKey)
    {
        if (masterKey.Length != MasterKeyBytes)
        {
            throw new ArgumentException($"A master key has {MasterKeyBytes} bytes.", nameof(masterKey));
        }

        _aes = new AesGcm(masterKey, TagBytes);
    }

    /// <summary>Encrypts a value for its place.</summary>
    /// <returns>Version (1 byte), nonce (12), tag (16), ciphertext.</returns>
    public byte[] Protect(ReadOnlySpan<byte> plain, string table, string row, string purpose)
    {
        var sealedValue = new byte[HeaderBytes + plain.Length];
        sealedValue[0] = Version;
        var nonce = sealedValue.AsSpan(1, NonceBytes);
        RandomNumberGenerator.Fill(nonce);
        lock (_lock)
        {
            _aes.Encrypt(
                nonce, plain, sealedValue.AsSpan(HeaderBytes), sealedValue.AsSpan(1 + NonceBytes, TagBytes), Place(table, row, purpose));
        }

        return sealedValue;
    }

    /// <summary>Decrypts a value at its place.</summary>
    /// <exception cref="CryptographicException">Another master key, another place, or a changed value.</exception>
    public byte[] Unprotect(ReadOnlySpan<byte> sealedValue, string table, string row, string purpose)
    {
        if (sealedValue.Length < HeaderBytes || sealedValue[0] != Version)
        {
            throw new CryptographicException("Not a value that this version protects.");
        }

        var plain = new byte[sealedValue.Length - HeaderBytes];
        lock (_lock)
        {
            _aes.Decrypt(
                sealedValue.Slice(1, NonceBytes),
                sealedValue[HeaderBytes..],
                sealedValue.Slice(1 + NonceBytes, TagBytes),
                plain,
                Place(table, row, purpose));
        }

        return plain;
    }

    /// <inheritdoc/>
    public void Dispose() => _aes.Dispose();

    // Each part with its length before it, so that no two places read the same.
    private static byte[] Place(string table, string row, string purpose) => Encoding.UTF8.GetBytes(string.Create(
        CultureInfo.InvariantCulture,
        $"{table.Length}:{table}|{row.Length}:{row}|{purpose.Length}:{purpose}|v{Version}"));
}
