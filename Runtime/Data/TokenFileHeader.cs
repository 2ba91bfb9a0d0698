using System.Buffers.Binary;

namespace Legato.Runtime.Data;

/// <summary>
/// The first 128 bytes of a token file, little-endian: magic (8 bytes), version, bytes a token (4 each), vocabulary size,
/// tokens (8 each), SHA-256 of the tokenizer and of the tokens, checksum of the text (32 each; zeros in older files). Tokens of two or
/// four bytes follow.
/// </summary>
internal readonly record struct TokenFileHeader(int Width, long Vocabulary, long Count, string TokenizerHash, string Checksum, string? TextChecksum)
{
    public const int Size = 128;

    private const int Version = 1;

    private static ReadOnlySpan<byte> Magic => "LEGATOTK"u8;

    public void Write(Span<byte> target)
    {
        target.Clear();
        Magic.CopyTo(target);
        BinaryPrimitives.WriteInt32LittleEndian(target[8..], Version);
        BinaryPrimitives.WriteInt32LittleEndian(target[12..], Width);
        BinaryPrimitives.WriteInt64LittleEndian(target[16..], Vocabulary);
        BinaryPrimitives.WriteInt64LittleEndian(target[24..], Count);
        Convert.FromHexString(TokenizerHash).CopyTo(target[32..]);
        Convert.FromHexString(Checksum).CopyTo(target[64..]);
        Convert.FromHexString(TextChecksum ?? "").CopyTo(target[96..]);
    }

    /// <exception cref="LegatoException">These are no token file's first bytes, or the file's length doesn't fit.</exception>
    public static TokenFileHeader Read(ReadOnlySpan<byte> bytes, long fileLength, string path)
    {
        if (bytes.Length < Size || !bytes.StartsWith(Magic))
            throw new LegatoException("this is no token file", path, "remove it: training makes the tokens of its text anew");
        int version = BinaryPrimitives.ReadInt32LittleEndian(bytes[8..]);
        if (version != Version)
            throw new LegatoException($"the token file has version {version}; this Legato reads version {Version}", path, "remove it: training makes the tokens of its text anew");
        var header = new TokenFileHeader(
            BinaryPrimitives.ReadInt32LittleEndian(bytes[12..]),
            BinaryPrimitives.ReadInt64LittleEndian(bytes[16..]),
            BinaryPrimitives.ReadInt64LittleEndian(bytes[24..]),
            Convert.ToHexStringLower(bytes.Slice(32, 32)),
            Convert.ToHexStringLower(bytes.Slice(64, 32)),
            bytes.Slice(96, 32).ContainsAnyExcept((byte)0) ? Convert.ToHexStringLower(bytes.Slice(96, 32)) : null);
        bool fits = header.Width is 2 or 4 && header.Count >= 0 && header.Count == (fileLength - Size) / header.Width
            && (fileLength - Size) % header.Width == 0;
        return fits ? header : throw new LegatoException(
            $"the token file is damaged: it should hold {header.Count} tokens of {header.Width} bytes and has {fileLength - Size} bytes of them",
            path, "remove it: training makes the tokens of its text anew");
    }
}
