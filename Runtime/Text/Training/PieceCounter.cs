using System.Text;
using Legato.Runtime.Text.Pipeline;

namespace Legato.Runtime.Text.Training;

/// <summary>Counts the pieces that a normalizer and a pre-tokenizer make of a corpus.</summary>
internal static class PieceCounter
{
    // Texts are taken apart so that a long one needs little memory on its way through the stages.
    private const int PartLength = 1 << 16;

    public static WordTable Count(
        IEnumerable<string> texts, INormalizer? normalizer, IPreTokenizer splitter, TokenizerTrainingOptions options)
    {
        var table = new WordTable(options.WordBytes);
        var split = new List<TextPiece>();
        byte[] utf8 = new byte[1 << 10];
        long read = 0;
        foreach (string text in texts)
        {
            for (int start = 0, end; start < text.Length; start = end)
            {
                end = EndOfPart(text, start);
                var part = AlignedText.FromSource(WellFormed.Of(text.AsSpan(start, end - start)), 0);
                split.Clear();
                splitter.Split([TextPiece.Whole(normalizer?.Normalize(part) ?? part)], split);
                foreach (var piece in split)
                    Add(piece.Chars, table, ref utf8);
            }
            read += text.Length;
            options.Progress?.Report(new("reading", read, null));
        }
        return table;
    }

    private static void Add(ReadOnlySpan<char> piece, WordTable table, ref byte[] utf8)
    {
        int room = Encoding.UTF8.GetMaxByteCount(piece.Length);
        if (utf8.Length < room)
            utf8 = new byte[room];
        table.AddParts(utf8.AsSpan(0, Encoding.UTF8.GetBytes(piece, utf8)));
    }

    // At white space, if there is any.
    private static int EndOfPart(string text, int start)
    {
        if (text.Length - start <= PartLength)
            return text.Length;
        int end = start + PartLength;
        int space = text.AsSpan(start, PartLength).LastIndexOfAny(" \n\t");
        if (space > 0)
            return start + space;
        return char.IsLowSurrogate(text[end]) ? end - 1 : end;
    }
}
