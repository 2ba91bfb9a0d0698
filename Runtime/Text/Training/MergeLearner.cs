namespace Legato.Runtime.Text.Training;

/// <summary>Merges pairs until a vocabulary is full.</summary>
internal static class MergeLearner
{
    /// <param name="tokens">The tokens so far, by id; new ones are added.</param>
    /// <param name="merges">The merges so far, by rank; new ones are added.</param>
    /// <param name="join">How two spellings join.</param>
    public static void Learn(
        SymbolWords words, IPairScore score, List<string> tokens, List<(string Left, string Right)> merges,
        Func<string, string, string> join, TokenizerTrainingOptions options)
    {
        var spellings = new HashSet<string>(tokens, StringComparer.Ordinal);
        var trainer = new PairTrainer(words, score, options.MinimumFrequency);
        while (tokens.Count < options.VocabularySize && trainer.TryTake(out int left, out int right))
        {
            string joined = join(tokens[left], tokens[right]);
            // One merge leads to a spelling, unless text spells a special token or a word's end: it may not become those.
            if (!spellings.Add(joined))
                continue;
            merges.Add((tokens[left], tokens[right]));
            trainer.Merge(left, right, tokens.Count);
            tokens.Add(joined);
            if ((tokens.Count & 0xFF) == 0)
                options.Progress?.Report(new("merging", tokens.Count, options.VocabularySize));
        }
    }
}
