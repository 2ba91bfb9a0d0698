using Legato.Runtime.Text.Pipeline;

namespace Legato.Runtime.Text.Training;

/// <summary>Special tokens of a new vocabulary: the first ids, in the order given.</summary>
internal static class SpecialTokenList
{
    public static List<AddedToken> Of(IReadOnlyList<string> specialTokens)
    {
        var added = new List<AddedToken>(specialTokens.Count);
        for (int id = 0; id < specialTokens.Count; id++)
            added.Add(new AddedToken(id, specialTokens[id]) { Special = true });
        return added;
    }

    /// <summary>Which parts they play, by the names that the field uses.</summary>
    public static SpecialTokenNames Names(IReadOnlyList<string> specialTokens)
    {
        string? First(params ReadOnlySpan<string> names)
        {
            foreach (string name in names)
                if (specialTokens.Contains(name))
                    return name;
            return null;
        }
        return new SpecialTokenNames
        {
            BeginOfSequence = First("<s>", "<bos>", "<|begin_of_text|>", "[CLS]"),
            EndOfSequence = First("</s>", "<eos>", "<|end_of_text|>", "<|endoftext|>", "[SEP]"),
            Unknown = First("<unk>", "[UNK]"),
            Padding = First("<pad>", "[PAD]"),
        };
    }
}
