using System;
using System.IO;
using System.Runtime.InteropServices;

namespace TokenService.Storage;

/// <summary>Makes files that are there as a whole or not at all, whatever happens in between, and that only their owner reads.</summary>
internal static partial class DurableFile
{
    /// <summary>Writes beside, syncs, and gives the file its name; one that is already there stays as it is.</summary>
    /// <returns>Whether this call made the file.</returns>
    public static bool Create(string file, ReadOnlySpan<byte> content)
    {
        var beside = Path.Combine(Path.GetDirectoryName(file)!, $".token-service-{Guid.NewGuid():N}");
        try
        {
            var options = new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write };
            if (!OperatingSystem.IsWindows())
            {
                options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
            }

            using (var stream = new FileStream(beside, options))
            {
                stream.Write(content);
                stream.Flush(flushToDisk: true);
            }

            GiveName(beside, file);
            SyncFolder(Path.GetDirectoryName(file)!);
            return true;
        }
        catch (IOException) when (File.Exists(file))
        {
            // Another process was first.
            return false;
        }
        finally
        {
            File.Delete(beside);
        }
    }

    /// <summary>Gives a file that is on the disk the name of another, which keeps a name of its own. At no moment is there no file.</summary>
    /// <param name="file">The name.</param>
    /// <param name="by">The file that takes it.</param>
    /// <param name="kept">The name for the other; where it is taken, a call before this one came that far.</param>
    public static void Replace(string file, string by, string kept)
    {
        if (OperatingSystem.IsWindows())
        {
            File.Replace(by, file, kept);
            return;
        }

        if (!File.Exists(kept))
        {
            GiveName(file, kept);
            SyncFolder(Path.GetDirectoryName(file)!);
        }

        File.Move(by, file, overwrite: true);
        SyncFolder(Path.GetDirectoryName(file)!);
    }

    /// <summary>Makes sure that a file that somebody else wrote is on the disk.</summary>
    public static void Sync(string file)
    {
        using (var handle = File.OpenHandle(file, FileMode.Open, FileAccess.ReadWrite))
        {
            RandomAccess.FlushToDisk(handle);
        }

        SyncFolder(Path.GetDirectoryName(Path.GetFullPath(file))!);
    }

    // By a link, which fails where the name is taken; what .NET calls a move without overwriting looks first and then overwrites.
    private static void GiveName(string beside, string file)
    {
        if (OperatingSystem.IsWindows())
        {
            File.Move(beside, file, overwrite: false);
        }
        else if (Link(beside, file) != 0)
        {
            throw new IOException(Marshal.GetPInvokeErrorMessage(Marshal.GetLastPInvokeError()));
        }
    }

    // A new name is durable only when its folder is; .NET has no call for that.
    private static void SyncFolder(string folder)
    {
        if (OperatingSystem.IsWindows())
        {
            return;
        }

        var descriptor = Open(folder, 0);
        if (descriptor >= 0)
        {
            _ = Sync(descriptor);
            _ = Close(descriptor);
        }
    }

    [LibraryImport("libc", EntryPoint = "link", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    private static partial int Link(string from, string to);

    [LibraryImport("libc", EntryPoint = "open", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Open(string path, int flags);

    [LibraryImport("libc", EntryPoint = "fsync")]
    private static partial int Sync(int descriptor);

    [LibraryImport("libc", EntryPoint = "close")]
    private static partial int Close(int descriptor);
}
