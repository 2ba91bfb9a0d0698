using System.Runtime.InteropServices;

namespace Legato.Runtime.Checkpoints;

/// <summary>
/// Files and folders that appear whole or not at all: written beside their place, flushed to disk, then renamed.
/// What stood there before stays until the new one is complete.
/// </summary>
public static partial class AtomicWrite
{
    /// <summary>Temporary names start with this; a run that was killed may leave one behind.</summary>
    public const string TemporaryPrefix = ".partial-";

    /// <exception cref="LegatoException">The folder is missing, may not be written, or the disk is full.</exception>
    public static void File(string path, Action<FileStream> write)
    {
        string full = Path.GetFullPath(path);
        string folder = Path.GetDirectoryName(full)!;
        string temporary = Path.Combine(folder, TemporaryPrefix + Path.GetFileName(full));
        try
        {
            using (var stream = new FileStream(temporary, FileMode.Create, FileAccess.Write, FileShare.None, bufferSize: 1 << 16))
            {
                write(stream);
                stream.Flush(flushToDisk: true);
            }
            System.IO.File.Move(temporary, full, overwrite: true);
            FlushFolder(folder);
        }
        catch (Exception e)
        {
            TryRemove(() => System.IO.File.Delete(temporary));
            throw Translate(e, path);
        }
    }

    /// <summary>Writes text as UTF-8 without a byte order mark.</summary>
    /// <exception cref="LegatoException">As <see cref="File"/>.</exception>
    public static void Text(string path, string text) => File(path, stream => stream.Write(System.Text.Encoding.UTF8.GetBytes(text)));

    /// <summary>Makes a folder, where there is none, to write files in.</summary>
    /// <exception cref="LegatoException">It can't be made.</exception>
    public static void MakeFolder(string path)
    {
        try
        {
            Directory.CreateDirectory(path);
        }
        catch (Exception e)
        {
            throw Translate(e, path);
        }
    }

    /// <summary>
    /// Fills a folder through <paramref name="write"/>, which receives the temporary folder's path, and puts it in its
    /// place; a folder of that name is replaced.
    /// </summary>
    /// <exception cref="LegatoException">As <see cref="File"/>.</exception>
    public static void Folder(string path, Action<string> write)
    {
        string full = Path.GetFullPath(path);
        string parent = Path.GetDirectoryName(full)!;
        string temporary = Path.Combine(parent, TemporaryPrefix + Path.GetFileName(full));
        string replaced = Path.Combine(parent, TemporaryPrefix + "replaced-" + Path.GetFileName(full));
        try
        {
            Directory.CreateDirectory(parent);
            DeleteFolder(temporary);
            DeleteFolder(replaced);
            Directory.CreateDirectory(temporary);
            write(temporary);
            FlushFolder(temporary);
            if (Directory.Exists(full))
                Directory.Move(full, replaced);
            Directory.Move(temporary, full);
            FlushFolder(parent);
            DeleteFolder(replaced);
        }
        catch (Exception e)
        {
            TryRemove(() => DeleteFolder(temporary));
            throw Translate(e, path);
        }
    }

    private static void DeleteFolder(string path)
    {
        if (Directory.Exists(path))
            Directory.Delete(path, recursive: true);
    }

    // The first error is the one to report; what can't be removed is only litter.
    private static void TryRemove(Action delete)
    {
        try
        {
            delete();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
        }
    }

    private static Exception Translate(Exception e, string path) => e is IOException or UnauthorizedAccessException
        ? new LegatoException(
            $"can't write: {e.Message}", path,
            "free some disk space or choose a folder that you may write to; nothing that stood there was changed", e)
        : e;

    // A rename is on disk only once its folder is (POSIX); Windows has no such call and needs none.
    private static void FlushFolder(string folder)
    {
        if (OperatingSystem.IsWindows())
            return;
        int descriptor = Open(folder, 0);
        if (descriptor < 0)
            return;
        _ = Fsync(descriptor);
        _ = Close(descriptor);
    }

    [LibraryImport("libc", EntryPoint = "open", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Open(string path, int flags);

    [LibraryImport("libc", EntryPoint = "fsync")]
    private static partial int Fsync(int descriptor);

    [LibraryImport("libc", EntryPoint = "close")]
    private static partial int Close(int descriptor);
}
