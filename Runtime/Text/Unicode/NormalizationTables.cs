namespace Legato.Runtime.Text.Unicode;

/// <summary>
/// Decompositions, compositions and combining classes (Unicode Standard Annex 15). The runtime library's own
/// normalization does nothing under invariant globalization, so Legato brings its tables.
/// </summary>
internal static partial class NormalizationTables
{
    private const int HangulBase = 0xAC00, LeadBase = 0x1100, VowelBase = 0x1161, TailBase = 0x11A7;
    private const int LeadCount = 19, VowelCount = 21, TailCount = 28, HangulCount = LeadCount * VowelCount * TailCount;

    private static readonly Dictionary<int, Decomposition> Decompositions = [];
    private static readonly Dictionary<long, int> Compositions = [];
    private static readonly Dictionary<int, byte> Classes = [];

    private readonly record struct Decomposition(bool IsCompatibility, int[] Parts);

    static NormalizationTables()
    {
        var numbers = new PackedNumbers(Packed);
        int codePoint = 0, part = 0;
        for (int i = numbers.Next(); i > 0; i--)
        {
            codePoint += numbers.Next();
            int flags = numbers.Next();
            var parts = new int[flags >> 2];
            for (int j = 0; j < parts.Length; j++)
                parts[j] = part += numbers.NextSigned();
            Decompositions[codePoint] = new Decomposition((flags & 1) != 0, parts);
            if ((flags & 3) == 0 && parts.Length == 2)
                Compositions[Key(parts[0], parts[1])] = codePoint;
        }
        int start = 0;
        for (int i = numbers.Next(); i > 0; i--)
        {
            start += numbers.Next();
            int length = numbers.Next();
            byte combiningClass = (byte)numbers.Next();
            for (int j = 0; j < length; j++)
                Classes[start + j] = combiningClass;
        }
    }

    /// <summary>The canonical combining class.</summary>
    public static byte ClassOf(int codePoint) =>
        codePoint >= 0x300 && Classes.TryGetValue(codePoint, out byte combiningClass) ? combiningClass : (byte)0;

    /// <summary>Appends the full decomposition of a character.</summary>
    public static void Decompose(int codePoint, bool compatibility, List<int> output)
    {
        int syllable = codePoint - HangulBase;
        if ((uint)syllable < HangulCount)
        {
            output.Add(LeadBase + syllable / (VowelCount * TailCount));
            output.Add(VowelBase + syllable % (VowelCount * TailCount) / TailCount);
            if (syllable % TailCount != 0)
                output.Add(TailBase + syllable % TailCount);
            return;
        }
        if (codePoint < 0xA0 || !Decompositions.TryGetValue(codePoint, out var found) || found.IsCompatibility && !compatibility)
        {
            output.Add(codePoint);
            return;
        }
        foreach (int part in found.Parts)
            Decompose(part, compatibility, output);
    }

    /// <summary>The character that two characters compose to, or -1.</summary>
    public static int Compose(int first, int second)
    {
        int lead = first - LeadBase, vowel = second - VowelBase;
        if ((uint)lead < LeadCount && (uint)vowel < VowelCount)
            return HangulBase + (lead * VowelCount + vowel) * TailCount;
        int syllable = first - HangulBase, tail = second - TailBase;
        if ((uint)syllable < HangulCount && syllable % TailCount == 0 && tail is > 0 and < TailCount)
            return first + tail;
        return Compositions.TryGetValue(Key(first, second), out int composed) ? composed : -1;
    }

    private static long Key(int first, int second) => (long)first << 32 | (uint)second;
}
