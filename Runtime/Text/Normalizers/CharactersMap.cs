using System.Buffers.Binary;
using System.Text;

namespace Legato.Runtime.Text.Normalizers;

/// <summary>
/// SentencePiece's precompiled normalization rules: a double-array trie (Yata's darts-clone) over UTF-8 strings,
/// whose values point to their replacements.
/// </summary>
internal sealed class CharactersMap
{
    private readonly uint[] units;
    private readonly byte[] replacements;

    public CharactersMap(byte[] blob, string where)
    {
        Blob = blob;
        if (blob.Length < 4)
            throw Damaged(where);
        uint size = BinaryPrimitives.ReadUInt32LittleEndian(blob);
        if (size % 4 != 0 || size > blob.Length - 4)
            throw Damaged(where);
        units = new uint[size / 4];
        for (int i = 0; i < units.Length; i++)
            units[i] = BinaryPrimitives.ReadUInt32LittleEndian(blob.AsSpan(4 + i * 4));
        replacements = blob[(int)(4 + size)..];
    }

    /// <summary>The rules as they are stored.</summary>
    public byte[] Blob { get; }

    /// <summary>The rule for the shortest or the longest prefix of a text that has one.</summary>
    /// <param name="length">How many bytes of the text the rule replaces.</param>
    /// <param name="replacement">UTF-8 to put in their place.</param>
    public bool TryMatch(ReadOnlySpan<byte> utf8, bool longest, out int length, out ReadOnlySpan<byte> replacement)
    {
        length = 0;
        replacement = [];
        if (units.Length == 0)
            return false;
        uint node = OffsetOf(units[0]);
        for (int i = 0; i < utf8.Length && utf8[i] != 0; i++)
        {
            node ^= utf8[i];
            if (node >= units.Length || (units[node] & 0x800000FF) != utf8[i])
                break;
            uint unit = units[node];
            node ^= OffsetOf(unit);
            if ((unit & 0x100) == 0)
                continue;
            if (node >= units.Length)
                break;
            length = i + 1;
            replacement = ReplacementAt(units[node] & 0x7FFFFFFF);
            if (!longest)
                break;
        }
        return length > 0;
    }

    private static uint OffsetOf(uint unit) => unit >> 10 << (int)((unit & 0x200) >> 6);

    private ReadOnlySpan<byte> ReplacementAt(uint start)
    {
        if (start >= replacements.Length)
            return [];
        var rest = replacements.AsSpan((int)start);
        int end = rest.IndexOf((byte)0);
        return end < 0 ? rest : rest[..end];
    }

    private static LegatoException Damaged(string where) =>
        new("the precompiled character map is damaged", where, "check that the file was copied whole");
}
