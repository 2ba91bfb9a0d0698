using System.Text;
using System.Text.Json;
using Legato.Runtime.Text.Models;
using Legato.Runtime.Text.Pipeline;
using Legato.Runtime.Text.Scanners;

namespace Legato.Runtime.Text.PreTokenizers;

/// <summary>Splits by GPT-2's pattern when asked to, and spells the bytes of each piece in <see cref="ByteAlphabet"/>.</summary>
internal sealed class ByteLevelPreTokenizer(bool addPrefixSpace, bool trimOffsets, bool useRegex) : IPreTokenizer
{
    public bool AddPrefixSpace { get; } = addPrefixSpace;

    public bool UseRegex { get; } = useRegex;

    public void Split(List<TextPiece> input, List<TextPiece> output)
    {
        foreach (var piece in input)
        {
            var whole = AddPrefixSpace && piece.Length > 0 && piece.Chars[0] != ' ' ? WithPrefixSpace(piece) : piece;
            if (!UseRegex)
            {
                output.Add(Spell(whole));
                continue;
            }
            int start = 0;
            foreach (int end in PatternScan.Ends(SplitPattern.Gpt2, whole.Chars))
            {
                output.Add(Spell(whole.Slice(start, end)));
                start = end;
            }
        }
    }

    private static TextPiece WithPrefixSpace(in TextPiece piece)
    {
        var builder = new AlignedTextBuilder(piece.Length + 1);
        builder.Append(' ', piece.Text.SourceOf(piece.Start));
        builder.Append(piece.Text, piece.Start, piece.End);
        return TextPiece.Whole(builder.Build());
    }

    /// <summary>The piece's UTF-8 bytes, each as its character; each byte has its whole character as source.</summary>
    public static TextPiece Spell(in TextPiece piece)
    {
        var text = piece.Chars;
        var builder = new AlignedTextBuilder(text.Length * 2);
        Span<byte> bytes = stackalloc byte[4];
        for (int at = 0; at < text.Length;)
        {
            Rune.DecodeFromUtf16(text[at..], out var rune, out int length);
            var source = piece.SourceOf(at, at + length);
            foreach (byte value in bytes[..rune.EncodeToUtf8(bytes)])
                builder.Append(ByteAlphabet.CharacterOf(value), source);
            at += length;
        }
        return TextPiece.Whole(builder.Build());
    }

    public void Write(Utf8JsonWriter json)
    {
        json.WriteStartObject();
        json.WriteString("type", "ByteLevel");
        json.WriteBoolean("add_prefix_space", AddPrefixSpace);
        json.WriteBoolean("trim_offsets", trimOffsets);
        json.WriteBoolean("use_regex", UseRegex);
        json.WriteEndObject();
    }
}
