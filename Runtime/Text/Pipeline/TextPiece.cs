namespace Legato.Runtime.Text.Pipeline;

/// <summary>One piece that a pre-tokenizer cut out of a text; tokens never cross its ends.</summary>
internal readonly record struct TextPiece(AlignedText Text, int Start, int End)
{
    public int Length => End - Start;

    public ReadOnlySpan<char> Chars => Text.Chars[Start..End];

    /// <summary>The source of <c>[start, end)</c> relative to this piece.</summary>
    public TextSpan SourceOf(int start, int end) => Text.SourceOf(Start + start, Start + end);

    public TextPiece Slice(int start, int end) => new(Text, Start + start, Start + end);

    public static TextPiece Whole(AlignedText text) => new(text, 0, text.Length);
}
