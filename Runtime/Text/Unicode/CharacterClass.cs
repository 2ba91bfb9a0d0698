using System.Globalization;
using System.Runtime.CompilerServices;

namespace Legato.Runtime.Text.Unicode;

/// <summary>What split patterns ask of a character, as flags.</summary>
[Flags]
internal enum CharacterClass : byte
{
    None = 0,

    /// <summary>General category L.</summary>
    Letter = 1,

    /// <summary>General category N.</summary>
    Number = 2,

    /// <summary>The property White_Space.</summary>
    Space = 4,

    /// <summary>General category M.</summary>
    Mark = 8,

    /// <summary>Lu, Lt, Lm, Lo or M: what may open a word in o200k's pattern.</summary>
    UpperLike = 16,

    /// <summary>Ll, Lm, Lo or M: what may continue a word in o200k's pattern.</summary>
    LowerLike = 32,

    /// <summary>Carriage return or line feed.</summary>
    LineBreak = 64,
}

/// <summary>A table of <see cref="CharacterClass"/> for the Basic Multilingual Plane; other planes are computed.</summary>
internal static class CharacterClasses
{
    private static readonly CharacterClass[] Plane0 = MakePlane0();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static CharacterClass Of(int codePoint) =>
        (uint)codePoint < 0x10000 ? Plane0[codePoint] : Compute(codePoint);

    /// <summary>The class of the character that starts at <paramref name="at"/> in well-formed UTF-8.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static CharacterClass Of(ReadOnlySpan<byte> utf8, int at, out int length)
    {
        byte lead = utf8[at];
        if (lead < 0x80)
        {
            length = 1;
            return Plane0[lead];
        }
        return OfLong(utf8, at, out length);
    }

    private static CharacterClass OfLong(ReadOnlySpan<byte> utf8, int at, out int length)
    {
        int lead = utf8[at];
        if (lead < 0xE0)
        {
            length = 2;
            return Plane0[(lead & 0x1F) << 6 | utf8[at + 1] & 0x3F];
        }
        if (lead < 0xF0)
        {
            length = 3;
            return Plane0[(lead & 0x0F) << 12 | (utf8[at + 1] & 0x3F) << 6 | utf8[at + 2] & 0x3F];
        }
        length = 4;
        return Compute((lead & 0x07) << 18 | (utf8[at + 1] & 0x3F) << 12 | (utf8[at + 2] & 0x3F) << 6 | utf8[at + 3] & 0x3F);
    }

    private static CharacterClass[] MakePlane0()
    {
        var table = new CharacterClass[0x10000];
        for (int codePoint = 0; codePoint < table.Length; codePoint++)
            table[codePoint] = Compute(codePoint);
        return table;
    }

    private static CharacterClass Compute(int codePoint)
    {
        var flags = OfCategory(CharUnicodeInfo.GetUnicodeCategory(codePoint));
        if (codePoint < 0x10000 && char.IsWhiteSpace((char)codePoint))
            flags |= CharacterClass.Space;
        if (codePoint is '\r' or '\n')
            flags |= CharacterClass.LineBreak;
        return flags;
    }

    private static CharacterClass OfCategory(UnicodeCategory category) => category switch
    {
        UnicodeCategory.UppercaseLetter or UnicodeCategory.TitlecaseLetter =>
            CharacterClass.Letter | CharacterClass.UpperLike,
        UnicodeCategory.LowercaseLetter => CharacterClass.Letter | CharacterClass.LowerLike,
        UnicodeCategory.ModifierLetter or UnicodeCategory.OtherLetter =>
            CharacterClass.Letter | CharacterClass.UpperLike | CharacterClass.LowerLike,
        UnicodeCategory.NonSpacingMark or UnicodeCategory.SpacingCombiningMark or UnicodeCategory.EnclosingMark =>
            CharacterClass.Mark | CharacterClass.UpperLike | CharacterClass.LowerLike,
        UnicodeCategory.DecimalDigitNumber or UnicodeCategory.LetterNumber or UnicodeCategory.OtherNumber =>
            CharacterClass.Number,
        _ => CharacterClass.None,
    };
}
