using Legato.Runtime.Text.Models;
using Legato.Runtime.Text.Normalizers;
using Legato.Runtime.Text.Pipeline;
using Legato.Runtime.Text.PreTokenizers;

namespace Legato.Runtime.Text.ByteLevel;

/// <summary>
/// Recognises definitions that <see cref="ByteLevelEncoder"/> can run. A normalizer to a Unicode form is no hindrance
/// for texts that it leaves alone.
/// </summary>
internal static class FastPath
{
    public static ByteLevelEncoder? TryCreate(TokenizerDefinition definition)
    {
        if (definition.Normalizer is not (null or UnicodeFormNormalizer)
            || definition.AddedTokens.Any(token => token.Normalized) && definition.AddedTokens.Any(token => !token.Normalized)
            || definition.Model is not BpeModel model
            || model.Options is not { ByteFallback: false, UnknownToken: null, ContinuingSubwordPrefix: null or "", EndOfWordSuffix: null or "" }
            || !TryGetPattern(definition.PreTokenizer, out var pattern)
            || ByteLevelEncoder.ByteIds(model.Vocabulary) is null)
            return null;
        return new ByteLevelEncoder(model, pattern);
    }

    private static bool TryGetPattern(IPreTokenizer? stage, out SplitPattern? pattern)
    {
        pattern = null;
        switch (stage)
        {
            case ByteLevelPreTokenizer { AddPrefixSpace: false } byteLevel:
                pattern = byteLevel.UseRegex ? SplitPattern.Gpt2 : null;
                return true;
            case SequencePreTokenizer { Stages: [SplitPreTokenizer { KeepsAll: true } split, ByteLevelPreTokenizer { AddPrefixSpace: false, UseRegex: false }] }:
                pattern = split.Pattern.Known;
                return pattern is not null;
            default:
                return false;
        }
    }
}
