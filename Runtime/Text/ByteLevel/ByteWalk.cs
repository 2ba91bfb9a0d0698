using System.Text;

namespace Legato.Runtime.Text.ByteLevel;

/// <summary>Walks a UTF-16 text by the bytes of its UTF-8 form, and gives the characters that stretches of bytes touch.</summary>
internal ref struct ByteWalk(ReadOnlySpan<char> text, int sourceStart)
{
    private readonly ReadOnlySpan<char> text = text;

    // The character at hand: [start, end) in UTF-16, of which `taken` of `size` bytes are behind us.
    private int start;
    private int end;
    private int taken;
    private int size;

    /// <summary>The characters that the next <paramref name="bytes"/> bytes touch.</summary>
    public TextSpan Next(int bytes)
    {
        if (taken == size)
            Load();
        int from = start;
        while (bytes > size - taken)
        {
            bytes -= size - taken;
            taken = size;
            if (end == text.Length)
                break;
            Load();
        }
        taken = Math.Min(size, taken + bytes);
        return new TextSpan(sourceStart + from, sourceStart + end);
    }

    private void Load()
    {
        start = end;
        taken = 0;
        size = 0;
        if (start == text.Length)
            return;
        Rune.DecodeFromUtf16(text[start..], out var rune, out int length);
        end = start + length;
        size = rune.Utf8SequenceLength;
    }
}
