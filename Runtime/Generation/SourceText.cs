using Legato.Runtime.Text;

namespace Legato.Runtime.Generation;

/// <summary>Text that an encoder reads.</summary>
public static class SourceText
{
    /// <summary>Its tokens, which end as in training: with the end-of-sequence token where the tokenizer has one.</summary>
    public static int[] Encode(Tokenizer tokenizer, string text)
    {
        int[] ids = tokenizer.EncodeIds(text);
        return tokenizer.EndOfSequenceId is { } end && (ids.Length == 0 || ids[^1] != end) ? [.. ids, end] : ids;
    }
}
