namespace Legato.Runtime.Text;

/// <summary>
/// The tokens of one text (or of a pair of texts), as columns of the same length.
/// </summary>
public sealed class TokenizedText
{
    internal TokenizedText(int[] ids, TextSpan[] offsets, int[] typeIds, bool[] isSpecial, bool[] isPadding)
    {
        Ids = ids;
        Offsets = offsets;
        TypeIds = typeIds;
        IsSpecial = isSpecial;
        IsPadding = isPadding;
    }

    /// <summary>The token ids.</summary>
    public int[] Ids { get; }

    /// <summary>
    /// For each token the part of the text it stands for, in UTF-16 code units of the text given to the tokenizer;
    /// empty at 0 for tokens that a post-processor or padding added.
    /// </summary>
    public TextSpan[] Offsets { get; }

    /// <summary>For each token the segment it belongs to: 0 for the first text, 1 for the second.</summary>
    public int[] TypeIds { get; }

    /// <summary>True for the tokens that the post-processor or padding added.</summary>
    public bool[] IsSpecial { get; }

    /// <summary>True for padding tokens: the attention mask is the complement.</summary>
    public bool[] IsPadding { get; }

    /// <summary>The number of tokens.</summary>
    public int Count => Ids.Length;
}
