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
        var ids = new Dictionary<string, int>(StringComparer.Ordinal);
        for (int id = 0; id < tokens.Count; id++)
            ids[tokens[id]] = id;
        var trainer = new PairTrainer(words, score);
        while (tokens.Count < options.VocabularySize && trainer.TryTake(options.MinimumFrequency, out int left, out int right))
        {
            string joined = join(tokens[left], tokens[right]);
            // Two ways to the same spelling share its token.
            if (!ids.TryGetValue(joined, out int merged))
            {
                merged = tokens.Count;
                ids[joined] = merged;
                tokens.Add(joined);
                if ((tokens.Count & 0xFF) == 0)
                    options.Progress?.Report(new("merging", tokens.Count, options.VocabularySize));
            }
            merges.Add((tokens[left], tokens[right]));
            trainer.Merge(left, right, merged);
        }
    }
}
