using Microsoft.Win32.SafeHandles;

namespace Legato.Runtime.Cuda;

/// <summary>
/// Reads files that are about to be loaded as code into the system's file cache. What is loaded is read as it is touched, here and there and some
/// pages at a time, while all else waits: of a machine that has just been started that takes seconds, while disks give hundreds of megabytes in
/// the same time to who asks for large pieces, several at once.
/// </summary>
internal static class LibraryReading
{
    private const int PieceBytes = 4 << 20, Threads = 4;

    /// <summary>Begins to read files, the first ones first, on threads of its own. Tells no mistakes: who loads a file does.</summary>
    /// <returns>Done when all is read.</returns>
    public static Task Begin(IEnumerable<string> files)
    {
        IEnumerator<(string File, long Start)> pieces = files.SelectMany(Pieces).GetEnumerator();
        return Task.WhenAll(Enumerable.Range(0, Threads).Select(_ => Task.Factory.StartNew(
            () => Read(pieces), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default)));
    }

    private static IEnumerable<(string File, long Start)> Pieces(string file)
    {
        var info = new FileInfo(file);
        long bytes = info.Exists ? new FileInfo(info.ResolveLinkTarget(returnFinalTarget: true)?.FullName ?? file).Length : 0;
        for (long start = 0; start < bytes; start += PieceBytes)
            yield return (file, start);
    }

    private static void Read(IEnumerator<(string File, long Start)> pieces)
    {
        byte[] read = new byte[PieceBytes];
        while (true)
        {
            (string File, long Start) piece;
            lock (pieces)
            {
                if (!pieces.MoveNext())
                    return;
                piece = pieces.Current;
            }
            try
            {
                using SafeFileHandle file = File.OpenHandle(piece.File);
                _ = RandomAccess.Read(file, read, piece.Start);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // It will be told by the loader.
            }
        }
    }
}
