using System.Runtime.CompilerServices;

namespace Legato.Runtime.Text.Scanners;

/// <summary>English contractions: 's 't 're 've 'm 'll 'd.</summary>
internal static class Contractions
{
    /// <summary>The length in bytes of the contraction at an apostrophe, or 0.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    public static int Length(ReadOnlySpan<byte> buffer, int at, bool anyCase)
    {
        if (buffer[at] != '\'')
            return 0;
        // U+017F, the long s, is an s to patterns that ignore case.
        if (anyCase && buffer[at + 1] == 0xC5 && buffer[at + 2] == 0xBF)
            return 3;
        int first = Fold(buffer[at + 1], anyCase), second = Fold(buffer[at + 2], anyCase);
        return (first, second) switch
        {
            ('s' or 'd' or 'm' or 't', _) => 2,
            ('l', 'l') or ('v', 'e') or ('r', 'e') => 3,
            _ => 0,
        };
    }

    private static int Fold(byte value, bool anyCase) =>
        anyCase && value is >= (byte)'A' and <= (byte)'Z' ? value | 0x20 : value;
}
