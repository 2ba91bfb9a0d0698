using System.IO.MemoryMappedFiles;
using Legato.Runtime.Data;
using Microsoft.Win32.SafeHandles;

namespace Legato.Runtime.Checkpoints;

/// <summary>A file in memory, read only, paged in by the operating system as it is touched.</summary>
public sealed unsafe class MappedFile : IDisposable
{
    private readonly MemoryMappedFile? map;
    private readonly MemoryMappedViewAccessor? view;
    private readonly byte* start;

    /// <exception cref="LegatoException">The file is missing, can't be read, or is a pipe or a device.</exception>
    public MappedFile(string path)
    {
        Path = path;
        try
        {
            using SafeFileHandle handle = File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete);
            Length = RandomAccess.GetLength(handle);
            EndlessFile.Refuse(handle, path);
            if (Length == 0)
                return;
            map = MemoryMappedFile.CreateFromFile(handle, null, 0, MemoryMappedFileAccess.Read, HandleInheritability.None, leaveOpen: true);
            view = map.CreateViewAccessor(0, Length, MemoryMappedFileAccess.Read);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new LegatoException("there is no such file", path, "check the path", e);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new LegatoException($"the file can't be read: {FileHindrance.Of(e, path)}", path, "check that it is a file and that you may read it", e);
        }
        catch (NotSupportedException e)
        {
            throw new LegatoException("this is a stream, which can be read only once", path, "write it into a file, and give that", e);
        }
        view.SafeMemoryMappedViewHandle.AcquirePointer(ref start);
        start += view.PointerOffset;
    }

    public string Path { get; }

    /// <summary>Bytes.</summary>
    public long Length { get; private set; }

    /// <summary>A stretch of the file; valid until disposal.</summary>
    public ReadOnlySpan<byte> Span(long offset, int length)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(offset, Length - length);
        return new ReadOnlySpan<byte>(start + offset, length);
    }

    public void Dispose()
    {
        // From here on every span is out of range.
        Length = 0;
        if (view is { SafeMemoryMappedViewHandle.IsClosed: false })
        {
            view.SafeMemoryMappedViewHandle.ReleasePointer();
            view.Dispose();
        }
        map?.Dispose();
    }
}
