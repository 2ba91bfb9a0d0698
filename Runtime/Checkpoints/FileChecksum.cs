using System.Security.Cryptography;
using System.Text;

namespace Legato.Runtime.Checkpoints;

/// <summary>
/// The checksum of a file that may be large: in hexadecimal the SHA-256 of the SHA-256s of its chunks, which several threads compute.
/// </summary>
internal static class FileChecksum
{
    private const int ChunkBytes = 4 << 20;

    /// <exception cref="LegatoException">The file is missing or can't be read.</exception>
    public static string Of(string path)
    {
        using var file = new MappedFile(path);
        int chunks = (int)((file.Length + ChunkBytes - 1) / ChunkBytes);
        var hashes = new byte[chunks * SHA256.HashSizeInBytes];
        Parallel.For(0, chunks, i =>
        {
            long start = (long)i * ChunkBytes;
            ReadOnlySpan<byte> chunk = file.Span(start, (int)Math.Min(ChunkBytes, file.Length - start));
            _ = SHA256.HashData(chunk, hashes.AsSpan(i * SHA256.HashSizeInBytes));
        });
        return Convert.ToHexStringLower(SHA256.HashData(hashes));
    }

    /// <summary>Of several files in their order, wherever they lie.</summary>
    /// <exception cref="LegatoException">A file is missing or can't be read.</exception>
    public static string Of(IEnumerable<string> paths) =>
        Convert.ToHexStringLower(SHA256.HashData(Encoding.ASCII.GetBytes(string.Concat(paths.Select(path => Of(path))))));
}
