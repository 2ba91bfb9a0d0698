using System.Runtime.CompilerServices;
using Legato.Runtime.Text.Unicode;

namespace Legato.Runtime.Text.Scanners;

/// <summary>What tells the members of cl100k's family apart.</summary>
internal interface ICl100kVariant
{
    static abstract int DigitsInGroup { get; }

    static abstract bool WholeSpaceAtEnd { get; }
}

internal readonly struct Cl100kVariant : ICl100kVariant
{
    public static int DigitsInGroup => 3;

    public static bool WholeSpaceAtEnd => true;
}

internal readonly struct Llama3Variant : ICl100kVariant
{
    public static int DigitsInGroup => 3;

    public static bool WholeSpaceAtEnd => false;
}

internal readonly struct Qwen2Variant : ICl100kVariant
{
    public static int DigitsInGroup => 1;

    public static bool WholeSpaceAtEnd => false;
}

/// <summary>The patterns of cl100k, Llama 3 and Qwen 2: <see cref="SplitPatterns.Cl100k"/> and its kin.</summary>
internal readonly struct Cl100kScanner<TVariant> : IPieceScanner where TVariant : ICl100kVariant
{
    private const CharacterClass Named = CharacterClass.Letter | CharacterClass.Number | CharacterClass.Space;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int End(ReadOnlySpan<byte> buffer, int start)
    {
        int word = buffer[start] == ' ' ? start + 1 : start;
        if ((uint)((buffer[word] | 0x20) - 'a') < 26)
            return Runs.Letters(buffer, word + 1);
        return EndOfOther(buffer, start);
    }

    private static int EndOfOther(ReadOnlySpan<byte> buffer, int start)
    {
        if (buffer[start] == '\'' && Contractions.Length(buffer, start, true) is var contraction and > 0)
            return start + contraction;
        int end = buffer.Length - Runs.Padding;
        var flags = CharacterClasses.Of(buffer, start, out int length);
        if ((flags & CharacterClass.Letter) != 0)
            return Runs.Letters(buffer, start + length);
        if ((flags & CharacterClass.Number) != 0)
            return Digits(buffer, start + length, end);
        int next = start + length;
        if ((flags & CharacterClass.LineBreak) == 0 && next < end
            && (CharacterClasses.Of(buffer, next, out int nextLength) & CharacterClass.Letter) != 0)
            return Runs.Letters(buffer, next + nextLength);
        int signs = buffer[start] == ' ' ? next : start;
        if (signs < end && (CharacterClasses.Of(buffer, signs, out _) & Named) == 0)
            return LineBreaks(buffer, Runs.NotOfClass(buffer, signs, Named));
        return Whitespace.EndWithLineBreaks(buffer, start, TVariant.WholeSpaceAtEnd);
    }

    private static int Digits(ReadOnlySpan<byte> buffer, int at, int end)
    {
        for (int digits = 1; digits < TVariant.DigitsInGroup && at < end; digits++)
        {
            if ((CharacterClasses.Of(buffer, at, out int length) & CharacterClass.Number) == 0)
                break;
            at += length;
        }
        return at;
    }

    private static int LineBreaks(ReadOnlySpan<byte> buffer, int at)
    {
        while (buffer[at] is (byte)'\r' or (byte)'\n')
            at++;
        return at;
    }
}
