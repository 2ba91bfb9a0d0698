using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using Legato.Runtime.Text.Unicode;

namespace Legato.Runtime.Text.Scanners;

/// <summary>Finds where runs of characters end in well-formed UTF-8. Buffers have <see cref="Padding"/> bytes to spare.</summary>
internal static class Runs
{
    /// <summary>Zero bytes that must follow the text in its buffer, so that vectors can be read past its end.</summary>
    public const int Padding = 32;

    /// <summary>The end of the run of letters from <paramref name="at"/>.</summary>
    /// <param name="buffer">The text and its padding.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int Letters(ReadOnlySpan<byte> buffer, int at)
    {
        int ascii = AsciiLetters(buffer, at);
        return buffer[ascii] < 0x80 ? ascii : OfClass(buffer, ascii, CharacterClass.Letter);
    }

    /// <summary>The end of the run of characters that have any of the flags.</summary>
    public static int OfClass(ReadOnlySpan<byte> buffer, int at, CharacterClass flags)
    {
        while (at < buffer.Length - Padding && (CharacterClasses.Of(buffer, at, out int length) & flags) != 0)
            at += length;
        return at;
    }

    /// <summary>The end of the run of characters that have none of the flags.</summary>
    public static int NotOfClass(ReadOnlySpan<byte> buffer, int at, CharacterClass flags)
    {
        while (at < buffer.Length - Padding && (CharacterClasses.Of(buffer, at, out int length) & flags) == 0)
            at += length;
        return at;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static int AsciiLetters(ReadOnlySpan<byte> buffer, int at)
    {
        ref byte start = ref MemoryMarshal.GetReference(buffer);
        while (true)
        {
            var bytes = Vector256.LoadUnsafe(ref start, (nuint)at);
            var folded = (bytes | Vector256.Create((byte)0x20)) - Vector256.Create((byte)'a');
            uint others = ~Vector256.LessThan(folded, Vector256.Create((byte)26)).ExtractMostSignificantBits();
            if (others != 0)
                return at + BitOperations.TrailingZeroCount(others);
            at += Vector256<byte>.Count;
        }
    }
}
