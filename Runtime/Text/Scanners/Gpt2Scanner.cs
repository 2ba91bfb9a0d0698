using System.Runtime.CompilerServices;
using Legato.Runtime.Text.Unicode;

namespace Legato.Runtime.Text.Scanners;

/// <summary>The pattern of GPT-2 (Radford et al. 2019): <see cref="SplitPatterns.Gpt2"/>.</summary>
internal readonly struct Gpt2Scanner : IPieceScanner
{
    private const CharacterClass Named = CharacterClass.Letter | CharacterClass.Number | CharacterClass.Space;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int End(ReadOnlySpan<byte> buffer, int start)
    {
        int word = buffer[start] == ' ' ? start + 1 : start;
        byte first = buffer[word];
        if ((uint)((first | 0x20) - 'a') < 26)
            return Runs.Letters(buffer, word + 1);
        return EndOfOther(buffer, start, word);
    }

    private static int EndOfOther(ReadOnlySpan<byte> buffer, int start, int word)
    {
        if (buffer[start] == '\'' && Contractions.Length(buffer, start, false) is var contraction and > 0)
            return start + contraction;
        if (word < buffer.Length - Runs.Padding)
        {
            var flags = CharacterClasses.Of(buffer, word, out int length);
            if ((flags & CharacterClass.Letter) != 0)
                return Runs.Letters(buffer, word + length);
            if ((flags & CharacterClass.Number) != 0)
                return Runs.OfClass(buffer, word + length, CharacterClass.Number);
            if ((flags & CharacterClass.Space) == 0)
                return Runs.NotOfClass(buffer, word + length, Named);
        }
        return Whitespace.End(buffer, start);
    }
}
