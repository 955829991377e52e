using System;
using System.IO;
using TokenService.Protocol;

namespace TokenService.Commands;

/// <summary>Reads small files that a command line names: keys and key sets. A pipe will do, an endless one ends in a refusal.</summary>
internal static class InputFile
{
    private const int MaxBytes = 64 * 1024;

    /// <summary>Reads all of a file.</summary>
    /// <exception cref="OperatorFaultException">It cannot be read, or is larger than 64 KiB.</exception>
    public static byte[] Read(string file)
    {
        try
        {
            using var stream = new FileStream(file, FileMode.Open, FileAccess.Read);
            var buffer = new byte[MaxBytes + 1];
            var length = stream.ReadAtLeast(buffer, buffer.Length, throwOnEndOfStream: false);
            return length <= MaxBytes ? buffer[..length] : throw new OperatorFaultException($"The file {file} is larger than {MaxBytes} bytes.");
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException or ArgumentException)
        {
            throw new OperatorFaultException($"The file {file} cannot be read: {fault.Message}", fault);
        }
    }
}
