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

    /// <summary>And those of folders that are about to be replaced with this.</summary>
    private const string ReplacedPrefix = TemporaryPrefix + "replaced-";

    private const int MostTries = 5;
    private const int MillisecondsBetweenTries = 10;

    /// <exception cref="LegatoException">The folder is missing, may not be written, or the disk is full.</exception>
    public static void File(string path, Action<FileStream> write) => File(path, write, isNew: false);

    /// <summary>As <see cref="File(string, Action{FileStream})"/>, but a file of that name stays.</summary>
    /// <exception cref="LegatoException">As there; or something stands there, be it that it was put there meanwhile.</exception>
    public static void NewFile(string path, Action<FileStream> write) => File(path, write, isNew: true);

    private static void File(string path, Action<FileStream> write, bool isNew)
    {
        string full = Path.GetFullPath(path);
        if (Path.EndsInDirectorySeparator(full))
            throw new LegatoException("can't write the file: the name is a folder's", path, "name the file, without a slash at the end");
        string folder = Path.GetDirectoryName(full)!;
        string temporary = Temporary(folder, full);
        if (Directory.Exists(full))
            throw new LegatoException("can't write the file: a folder stands there", path, "choose another name");
        bool isOurs = false;
        void Undo()
        {
            if (isOurs)
                TryRemove(() => System.IO.File.Delete(temporary));
        }
        using IDisposable unfinished = Unfinished.Register(Undo);
        try
        {
            using (var stream = new FileStream(temporary, FileMode.Create, FileAccess.Write, FileShare.None, bufferSize: 1 << 16))
            {
                isOurs = true;
                write(stream);
                stream.Flush(flushToDisk: true);
            }
            System.IO.File.Move(temporary, full, overwrite: !isNew);
            FlushFolder(folder);
        }
        catch (Exception e)
        {
            Undo();
            throw isNew && e is IOException && System.IO.File.Exists(full) ? Taken(path, e) : Translate(e, path);
        }
    }

    /// <summary>Writes text as UTF-8 without a byte order mark.</summary>
    /// <exception cref="LegatoException">As <see cref="File"/>.</exception>
    public static void Text(string path, string text) => File(path, stream => stream.Write(System.Text.Encoding.UTF8.GetBytes(text)));

    /// <summary>Makes a folder, where there is none, to write files in.</summary>
    /// <exception cref="LegatoException">It can't be made.</exception>
    public static void MakeFolder(string path) => MakeFolder(path, path);

    /// <summary>Tells whether a folder can be made, and a file written in it; leaves nothing of it.</summary>
    /// <exception cref="LegatoException">As <see cref="File"/>.</exception>
    public static void TryFolder(string path)
    {
        IReadOnlyList<string> missing = Missing(path);
        void Undo() => RemoveEmpty(missing);
        using IDisposable unfinished = Unfinished.Register(Undo);
        try
        {
            MakeFolder(path);
            using var file = new FileStream(Temporary(path, "probe"), FileMode.Create, FileAccess.Write, FileShare.None, bufferSize: 0, FileOptions.DeleteOnClose);
        }
        catch (Exception e)
        {
            throw Translate(e, path);
        }
        finally
        {
            Undo();
        }
    }

    /// <summary>Of a path, the folders that aren't there, the innermost first.</summary>
    public static IReadOnlyList<string> Missing(string path)
    {
        List<string> missing = [];
        for (string? folder = Path.TrimEndingDirectorySeparator(Path.GetFullPath(path)); folder is not null && !Directory.Exists(folder); folder = Path.GetDirectoryName(folder))
            missing.Add(folder);
        return missing;
    }

    /// <summary>Removes folders in that order, as far as nothing lies in them: one that another process has begun to write in stays.</summary>
    public static void RemoveEmpty(IReadOnlyList<string> folders)
    {
        foreach (string folder in folders)
            TryRemove(() => Directory.Delete(folder));
    }

    private static void MakeFolder(string folder, string place)
    {
        try
        {
            Directory.CreateDirectory(folder);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw NoFolder(Obstacle(e, folder), place, e);
        }
    }

    private static LegatoException NoFolder(string obstacle, string place, Exception? inner = null) =>
        new($"can't make the folder: {obstacle}", place, "choose a folder that you may write to", inner);

    // .NET says of a file in the way that a part of the path is missing, or that the file exists already.
    private static string Obstacle(Exception e, string folder)
    {
        for (string? above = Path.GetFullPath(folder); above is not null; above = Path.GetDirectoryName(above))
            if (System.IO.File.Exists(above))
                return $"{above} is a file";
        return e is FileNotFoundException or DirectoryNotFoundException ? "the file system takes none there" : Hindrance(e);
    }

    private static string Hindrance(Exception e) =>
        e is UnauthorizedAccessException ? "you may not write there" : FileHindrance.Of(e);

    /// <summary>
    /// Fills a folder through <paramref name="write"/>, which receives the temporary folder's path, and puts it in its
    /// place; a folder of that name is replaced.
    /// </summary>
    /// <exception cref="LegatoException">As <see cref="File"/>.</exception>
    public static void Folder(string path, Action<string> write) => Folder(path, write, isNew: false);

    /// <summary>As <see cref="Folder(string, Action{string})"/>, but a folder of that name stays unless it is empty.</summary>
    /// <exception cref="LegatoException">As <see cref="File"/>; or something stands there, be it that it was put there meanwhile.</exception>
    public static void NewFolder(string path, Action<string> write) => Folder(path, write, isNew: true);

    /// <summary>Writes files into a folder. One that isn't there appears whole; in one that is, each file does by itself.</summary>
    /// <exception cref="LegatoException">As <see cref="File"/>.</exception>
    public static void Into(string path, Action<string> write)
    {
        if (Directory.Exists(path))
            write(path);
        else
            NewFolder(path, write);
    }

    private static void Folder(string path, Action<string> write, bool isNew)
    {
        string full = Path.TrimEndingDirectorySeparator(Path.GetFullPath(path));
        string parent = Path.GetDirectoryName(full) ?? throw new LegatoException("can't write: this is the root of all folders", path, "choose a folder in it");
        if (System.IO.File.Exists(full))
            throw NoFolder($"{full} is a file", path);
        string temporary = Temporary(parent, full);
        string replaced = Path.Combine(parent, $"{ReplacedPrefix}{Environment.ProcessId}-{Path.GetFileName(full)}");
        IReadOnlyList<string> missing = Missing(parent);
        void Undo()
        {
            TryRemoveFolder(temporary);
            TryRemove(() => PutBack(replaced, full));
            RemoveEmpty(missing);
        }
        using IDisposable unfinished = Unfinished.Register(Undo);
        try
        {
            MakeFolder(parent);
            if (System.IO.File.Exists(temporary))
                System.IO.File.Delete(temporary);
            DeleteFolder(temporary);
            DeleteFolder(replaced);
            MakeFolder(temporary, path);
            write(temporary);
            FlushFolder(temporary);
            if (isNew)
                RefuseFilled(full, path);
            else if (Directory.Exists(full))
                Directory.Move(full, replaced);
            Directory.Move(temporary, full);
            FlushFolder(parent);
            DeleteFolder(replaced);
        }
        catch (Exception e)
        {
            Undo();
            throw Translate(e is LegatoException mistake ? InPlace(mistake, temporary, full) : e, path);
        }
    }

    // An empty folder makes way; one that something is put into just then doesn't go.
    private static void RefuseFilled(string full, string path)
    {
        if (!Path.Exists(full))
            return;
        try
        {
            Directory.Delete(full);
        }
        catch (IOException e)
        {
            throw Taken(path, e);
        }
    }

    private static LegatoException Taken(string path, Exception inner) => new("there is something already", path, "choose a name that is free", inner);

    /// <summary>
    /// Clears a folder of what processes that were killed had begun to write there; one that was killed while it replaced a folder
    /// leaves that folder beside its place, where it goes back. Nobody may write there meanwhile.
    /// </summary>
    public static void RemoveUnfinished(string parent)
    {
        foreach (string folder in Directory.GetDirectories(parent, TemporaryPrefix + "*"))
        {
            string name = Path.GetFileName(folder);
            TryRemove(() =>
            {
                if (name.StartsWith(ReplacedPrefix, StringComparison.Ordinal))
                    PutBack(folder, Path.Combine(parent, name[(name.IndexOf('-', ReplacedPrefix.Length) + 1)..]));
                DeleteFolder(folder);
            });
        }
    }

    /// <summary>Removes what processes that were killed had begun to write for a file. Nobody may be writing it meanwhile.</summary>
    public static void RemoveUnfinishedFile(string path)
    {
        string full = Path.GetFullPath(path);
        foreach (string file in Directory.GetFiles(Path.GetDirectoryName(full)!, $"{TemporaryPrefix}*-{Path.GetFileName(full)}"))
            TryRemove(() => System.IO.File.Delete(file));
    }

    private static void PutBack(string replaced, string place)
    {
        if (Directory.Exists(replaced) && !Directory.Exists(place))
            Directory.Move(replaced, place);
    }

    // Another process may be writing the same.
    private static string Temporary(string parent, string full) =>
        Path.Combine(parent, $"{TemporaryPrefix}{Environment.ProcessId}-{Path.GetFileName(full)}");

    private static void DeleteFolder(string path)
    {
        if (Directory.Exists(path))
            Directory.Delete(path, recursive: true);
    }

    /// <summary>Removes what a piece of work leaves behind: its error is the one to report, and what can't be removed is only litter.</summary>
    public static void TryRemove(Action delete)
    {
        try
        {
            delete();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
        }
    }

    /// <summary>
    /// The same of a folder with all that is in it. Where a process is told to end, work that is under way may still write there, or
    /// remove it too.
    /// </summary>
    public static void TryRemoveFolder(string path)
    {
        for (int tries = 0; tries < MostTries && Directory.Exists(path); tries++)
        {
            if (tries > 0)
                Thread.Sleep(MillisecondsBetweenTries);
            TryRemove(() => DeleteFolder(path));
        }
    }

    // A file that couldn't be written is told by the name that it would have had.
    private static LegatoException InPlace(LegatoException e, string temporary, string full) =>
        e.Where?.StartsWith(temporary, StringComparison.Ordinal) == true
            ? new LegatoException(e.What.Replace(temporary, full, StringComparison.Ordinal), full + e.Where[temporary.Length..], e.Remedy, e)
            : e;

    private static Exception Translate(Exception e, string path) => e switch
    {
        DirectoryNotFoundException when !Directory.Exists(Path.GetDirectoryName(Path.GetFullPath(path))) =>
            new LegatoException("can't write: there is no such folder", path, "make the folder, or choose another", e),
        IOException or UnauthorizedAccessException => new LegatoException(
            $"can't write: {Hindrance(e)}", path,
            $"{(FileHindrance.IsFull(e) ? "free some disk space" : "choose a folder that you may write to")}; nothing that stood there was changed", e),
        _ => e,
    };

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
