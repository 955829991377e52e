using System;
using System.IO;
using System.Runtime.InteropServices;

namespace TokenService.Storage;

/// <summary>
/// Which file a path leads to, through links, and in what state: two that are equal are the same file with the same content. It is
/// found without opening the file, which for a pipe could wait for ever.
/// </summary>
/// <param name="Device">The file system; 0 where the system does not tell.</param>
/// <param name="Inode">The file in it; 0 where the system does not tell.</param>
/// <param name="Length">In bytes.</param>
/// <param name="ChangedAt">When content or attributes changed, in a unit of the system. No program can set it back.</param>
/// <param name="IsRegular">Whether it is a plain file: no pipe, device or folder.</param>
public sealed partial record FileIdentity(ulong Device, ulong Inode, ulong Length, Int128 ChangedAt, bool IsRegular)
{
    private const int CurrentFolder = -100;
    private const uint BasicStats = 0x7FF;

    /// <summary>Looks.</summary>
    /// <returns>What is there, or <see langword="null"/> where nothing is.</returns>
    public static FileIdentity? Of(string path)
    {
        if (!OperatingSystem.IsLinux())
        {
            var file = new FileInfo(path);
            return file.Exists ? new(0, 0, (ulong)file.Length, file.LastWriteTimeUtc.Ticks, true) : null;
        }

        // struct statx has the same layout on every processor, which struct stat has not (statx(2)).
        Span<byte> status = stackalloc byte[256];
        if (Status(CurrentFolder, path, 0, BasicStats, ref MemoryMarshal.GetReference(status)) != 0)
        {
            return null;
        }

        const int regular = 0x8000, typeMask = 0xF000;
        return new FileIdentity(
            MemoryMarshal.Read<ulong>(status[136..]),
            MemoryMarshal.Read<ulong>(status[32..]),
            MemoryMarshal.Read<ulong>(status[40..]),
            ((Int128)MemoryMarshal.Read<long>(status[96..]) * 1_000_000_000) + MemoryMarshal.Read<uint>(status[104..]),
            (MemoryMarshal.Read<ushort>(status[28..]) & typeMask) == regular);
    }

    [LibraryImport("libc", EntryPoint = "statx", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Status(int folder, string path, int flags, uint mask, ref byte status);
}
