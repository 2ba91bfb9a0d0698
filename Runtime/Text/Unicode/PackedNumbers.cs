using System.IO.Compression;

namespace Legato.Runtime.Text.Unicode;

/// <summary>Reads the packed tables: deflated LEB128 numbers in base 64.</summary>
internal ref struct PackedNumbers
{
    private readonly ReadOnlySpan<byte> bytes;
    private int at;

    public PackedNumbers(string packed)
    {
        using var inflated = new MemoryStream();
        using (var deflate = new DeflateStream(new MemoryStream(Convert.FromBase64String(packed)), CompressionMode.Decompress))
            deflate.CopyTo(inflated);
        bytes = inflated.ToArray();
    }

    public int Next()
    {
        int value = 0, shift = 0;
        while (true)
        {
            byte part = bytes[at++];
            value |= (part & 0x7F) << shift;
            if (part < 0x80)
                return value;
            shift += 7;
        }
    }

    /// <summary>A signed number, zigzag-coded.</summary>
    public int NextSigned()
    {
        int value = Next();
        return value >> 1 ^ -(value & 1);
    }
}
