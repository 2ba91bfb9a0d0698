using Microsoft.Win32.SafeHandles;

namespace Legato.Runtime.Data;

/// <summary>Paths that users give needn't be files with an end: a device such as /dev/zero, or what comes through a pipe, has none.</summary>
public static class EndlessFile
{
    /// <summary>Opens a file that is read to its end.</summary>
    /// <exception cref="LegatoException">It is a device that has none.</exception>
    public static FileStream Open(string path)
    {
        FileStream file = File.OpenRead(path);
        try
        {
            Refuse(file.SafeFileHandle, path);
            return file;
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>All bytes of a file; null if there are more than so many, of which no more are kept.</summary>
    /// <exception cref="LegatoException">It is a device that has no end.</exception>
    public static byte[]? ReadWithin(string path, int most)
    {
        using FileStream file = Open(path);
        using var content = new MemoryStream(file.CanSeek ? (int)Math.Min(file.Length, most) : 0);
        byte[] piece = new byte[1 << 16];
        while (file.Read(piece) is > 0 and int count)
        {
            if (content.Length + count > most)
                return null;
            content.Write(piece, 0, count);
        }
        return content.ToArray();
    }

    // A pipe can't be asked: it ends when its writer does.
    /// <exception cref="LegatoException">Bytes come though there should be none.</exception>
    internal static void Refuse(SafeFileHandle file, string path)
    {
        Span<byte> first = stackalloc byte[1];
        if (CanSeek(file) && RandomAccess.GetLength(file) == 0 && RandomAccess.Read(file, first, 0) > 0)
            throw new LegatoException(
                "this is a device or the like, which doesn't say where it ends", path, "write what you want of it into a file, and give that");
    }

    private static bool CanSeek(SafeFileHandle file)
    {
        try
        {
            _ = RandomAccess.GetLength(file);
            return true;
        }
        catch (NotSupportedException)
        {
            return false;
        }
    }
}
