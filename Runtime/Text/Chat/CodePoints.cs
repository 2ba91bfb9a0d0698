namespace Legato.Runtime.Text.Chat;

/// <summary>Strings by code point, as Python indexes them.</summary>
internal static class CodePoints
{
    public static int Length(string value)
    {
        int count = value.Length;
        for (int i = 1; i < value.Length; i++)
            if (char.IsLowSurrogate(value[i]) && char.IsHighSurrogate(value[i - 1]))
                count--;
        return count;
    }

    /// <summary>The code-point index for a UTF-16 index; negative ones stay.</summary>
    public static int IndexFrom(string value, int utf16) => utf16 <= 0 ? utf16 : Length(value[..utf16]);

    /// <summary>The characters of a string, one string each.</summary>
    public static List<string> Split(string value) => [.. value.EnumerateRunes().Select(rune => rune.ToString())];
}
