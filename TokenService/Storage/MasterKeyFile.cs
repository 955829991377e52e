using System;
using System.Buffers;
using System.Buffers.Text;
using System.IO;
using System.Security.Cryptography;
using System.Text;
using TokenService.Keys;
using TokenService.Protocol;

namespace TokenService.Storage;

/// <summary>The file with the master key: 32 random bytes in base64, readable for its owner only.</summary>
internal static class MasterKeyFile
{
    private const int MaxBytes = 4096;

    /// <summary>Where the key is when no setting says so: beside the SQLite file.</summary>
    public static string Beside(string sqliteFile) => Path.ChangeExtension(sqliteFile, ".master-key");

    /// <summary>Reads the key.</summary>
    /// <exception cref="OperatorFaultException">The file cannot be read, or holds something else.</exception>
    public static KeyProtector Read(string file)
    {
        Span<byte> key = stackalloc byte[KeyProtector.MasterKeyBytes];
        byte[] text = [];
        try
        {
            text = ReadBounded(file);
            if (Base64.DecodeFromUtf8(text.AsSpan().Trim(" \t\r\n"u8), key, out _, out var written) == OperationStatus.Done
                && written == key.Length)
            {
                return new KeyProtector(key);
            }
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            throw new OperatorFaultException($"The master key file {file} cannot be read: {fault.Message}", fault);
        }
        finally
        {
            CryptographicOperations.ZeroMemory(key);
            CryptographicOperations.ZeroMemory(text);
        }

        throw new OperatorFaultException(
            $"The master key file {file} must hold {KeyProtector.MasterKeyBytes} random bytes in base64, as \"openssl rand -base64 32\" writes them.");
    }

    /// <summary>Copies a file with a key over another. The copy is on the disk when this returns.</summary>
    /// <exception cref="OperatorFaultException">It cannot be copied.</exception>
    public static void Copy(string from, string to)
    {
        byte[] text = [];
        try
        {
            text = ReadBounded(from);
            File.Delete(to);
            DurableFile.Create(to, text);
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            throw new OperatorFaultException($"The master key file {from} cannot be copied to {to}: {fault.Message}", fault);
        }
        finally
        {
            CryptographicOperations.ZeroMemory(text);
        }
    }

    /// <summary>Makes a new key, unless another process has just done so. It is on the disk when this returns.</summary>
    public static void Make(string file)
    {
        var text = Encoding.ASCII.GetBytes(Convert.ToBase64String(RandomNumberGenerator.GetBytes(KeyProtector.MasterKeyBytes)) + "\n");
        try
        {
            DurableFile.Create(file, text);
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            throw new OperatorFaultException($"The master key file {file} cannot be made: {fault.Message}", fault);
        }
        finally
        {
            CryptographicOperations.ZeroMemory(text);
        }
    }

    // A key has 44 characters; what is longer is none, and may have no end.
    private static byte[] ReadBounded(string file)
    {
        using var stream = new FileStream(file, FileMode.Open, FileAccess.Read);
        var buffer = new byte[MaxBytes];
        var text = buffer[..stream.ReadAtLeast(buffer, buffer.Length, throwOnEndOfStream: false)];
        CryptographicOperations.ZeroMemory(buffer);
        return text;
    }
}
