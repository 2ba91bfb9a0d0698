using System.Text;
using Legato.Runtime.Text.Decoders;
using Legato.Runtime.Text.Models;
using Legato.Runtime.Text.Pipeline;
using Legato.Runtime.Text.PreTokenizers;

namespace Legato.Runtime.Text.Training;

/// <summary>
/// Trains a unigram language model (Kudo 2018, section 3.2): from frequent substrings, by expectation-maximization
/// and by pruning the tokens that the likelihood misses least.
/// </summary>
internal sealed class UnigramTrainer
{
    private const string Unknown = "<unk>";
    private const string Mark = "\u2581";
    private const int LongestToken = 16;
    private const int LargestSeed = 1_000_000;
    private const int RoundsOfEstimation = 2;
    private const double KeptByPruning = 0.75;
    private const double RoomBeforeLast = 1.1;

    // A token expected less often than this isn't worth its place.
    private const double LeastExpected = 0.5;

    private readonly TokenizerTrainingOptions options;
    private readonly List<(string Text, double Count)> words = [];
    private readonly HashSet<string> required = new(StringComparer.Ordinal);

    private UnigramTrainer(TokenizerTrainingOptions options) => this.options = options;

    /// <summary>A token and its score.</summary>
    private readonly record struct Candidate(string Text, double Score);

    public static Tokenizer Train(IEnumerable<string> texts, TokenizerTrainingOptions options)
    {
        options.Validate();
        var special = options.SpecialTokens.Contains(Unknown) ? options.SpecialTokens : [Unknown, .. options.SpecialTokens];
        var splitter = TrainingStages.WithDigits(new MetaspacePreTokenizer(Mark, PrependScheme.Always, split: true), options.Digits);
        var table = PieceCounter.Count(texts, null, splitter, options);
        var trained = new UnigramTrainer(options).Run(table, options.VocabularySize - special.Count);
        return Build(special, trained, splitter);
    }

    private List<Candidate> Run(WordTable table, int wanted)
    {
        var order = table.Sorted();
        foreach (int word in order)
            words.Add((Encoding.UTF8.GetString(table.BytesOf(word)), table.CountOf(word)));
        ChooseRequired(wanted);
        var candidates = Seed();
        while (true)
        {
            for (int round = 0; round < RoundsOfEstimation; round++)
                candidates = Estimate(candidates);
            options.Progress?.Report(new("pruning", candidates.Count, wanted));
            if (candidates.Count <= wanted * RoomBeforeLast)
                break;
            int before = candidates.Count;
            candidates = Prune(candidates, Math.Max((int)(wanted * RoomBeforeLast), (int)(before * KeptByPruning)));
            if (candidates.Count == before)
                break;
        }
        return Finish(candidates, wanted);
    }

    // Single characters stay whatever happens, the most frequent of them.
    private void ChooseRequired(int wanted)
    {
        var counts = new long[0x110000];
        foreach (var (text, count) in words)
            foreach (var rune in text.EnumerateRunes())
                counts[rune.Value] += (long)count;
        foreach (var rune in CharacterCounts.Ordered(counts).Take(options.AlphabetLimit))
            required.Add(rune.ToString());
        options.RequireRoom(options.VocabularySize - wanted + required.Count);
    }

    private List<Candidate> Seed()
    {
        var substrings = new WordTable(options.WordBytes);
        var characters = new long[0x110000];
        Span<byte> utf8 = new byte[LongestToken * 8];
        foreach (var (text, count) in words)
            CountSubstrings(text, (long)count, substrings, characters, utf8);
        var seed = new List<(string Text, double Weight)>();
        foreach (int index in substrings.Sorted())
            if (substrings.CountOf(index) >= options.MinimumFrequency)
            {
                string text = Encoding.UTF8.GetString(substrings.BytesOf(index));
                seed.Add((text, (double)substrings.CountOf(index) * text.Length));
            }
        seed.Sort((left, right) => left.Weight != right.Weight
            ? right.Weight.CompareTo(left.Weight) : string.CompareOrdinal(left.Text, right.Text));
        if (seed.Count > LargestSeed)
            seed.RemoveRange(LargestSeed, seed.Count - LargestSeed);
        foreach (string character in required.Order(StringComparer.Ordinal))
            seed.Add((character, Math.Max(1, characters[char.ConvertToUtf32(character, 0)])));
        double total = Math.Log(seed.Sum(entry => entry.Weight));
        return seed.ConvertAll(entry => new Candidate(entry.Text, Math.Log(entry.Weight) - total));
    }

    private void CountSubstrings(string text, long count, WordTable substrings, long[] characters, Span<byte> utf8)
    {
        for (int start = 0; start < text.Length; start++)
        {
            if (char.IsLowSurrogate(text[start]))
                continue;
            int length = 0;
            for (int end = start; end < text.Length && length < LongestToken;)
            {
                Rune.DecodeFromUtf16(text.AsSpan(end), out var rune, out int units);
                if (!required.Contains(text.Substring(end, units)))
                    break;
                end += units;
                if (++length == 1)
                    characters[rune.Value] += count;
                else
                    substrings.Add(utf8[..Encoding.UTF8.GetBytes(text.AsSpan(start, end - start), utf8)], count);
            }
        }
    }

    // Expected counts under the model, then scores from them by the digamma function, which makes rare tokens rarer
    // (a sparse prior, as in variational Bayes).
    private List<Candidate> Estimate(List<Candidate> candidates)
    {
        var model = ModelOf(candidates);
        var expected = new double[candidates.Count];
        var expectation = new UnigramExpectation(model, candidates.Max(candidate => candidate.Text.Length));
        foreach (var (text, count) in words)
            expectation.Add(text, count, expected);
        var kept = new List<(string Text, double Expected)>();
        for (int i = 0; i < candidates.Count; i++)
            if (expected[i] >= LeastExpected || required.Contains(candidates[i].Text))
                kept.Add((candidates[i].Text, Math.Max(expected[i], LeastExpected)));
        double total = Digamma(kept.Sum(entry => entry.Expected));
        return kept.ConvertAll(entry => new Candidate(entry.Text, Digamma(entry.Expected) - total));
    }

    private List<Candidate> Prune(List<Candidate> candidates, int target)
    {
        var model = ModelOf(candidates);
        var used = new double[candidates.Count];
        var buffer = new TokenBuffer(withOffsets: false);
        foreach (var (text, count) in words)
        {
            buffer.Clear();
            model.Tokenize(TextPiece.Whole(AlignedText.FromSource(text, 0)), buffer);
            foreach (int id in buffer.Ids)
                used[id] += count;
        }
        var losses = new List<(double Loss, int Index)>();
        var kept = new List<int>();
        for (int i = 0; i < candidates.Count; i++)
        {
            if (required.Contains(candidates[i].Text))
                kept.Add(i);
            else if (used[i] > 0)
                losses.Add((used[i] * (candidates[i].Score - BestWithout(model, candidates[i].Text, i)), i));
        }
        losses.Sort((left, right) => left.Loss != right.Loss ? right.Loss.CompareTo(left.Loss) : left.Index.CompareTo(right.Index));
        foreach (var (_, index) in losses.Take(Math.Max(0, target - kept.Count)))
            kept.Add(index);
        kept.Sort();
        return kept.ConvertAll(index => candidates[index]);
    }

    // The best score of a token's text without the token itself.
    private static double BestWithout(UnigramModel model, string text, int token)
    {
        var best = new double[text.Length + 1];
        Array.Fill(best, double.NegativeInfinity);
        best[0] = 0;
        var candidates = new List<(int End, int Id, double Score)>();
        for (int start = 0; start < text.Length; start++)
        {
            if (double.IsNegativeInfinity(best[start]))
                continue;
            candidates.Clear();
            model.FindCandidates(text, start, candidates);
            foreach (var (end, id, score) in candidates)
                if (id != token)
                    best[end] = Math.Max(best[end], best[start] + score);
        }
        return best[text.Length];
    }

    private List<Candidate> Finish(List<Candidate> candidates, int wanted)
    {
        var chosen = candidates.Where(candidate => required.Contains(candidate.Text)).ToList();
        int room = wanted - chosen.Count;
        chosen.AddRange(candidates.Where(candidate => !required.Contains(candidate.Text))
            .OrderByDescending(candidate => candidate.Score).ThenBy(candidate => candidate.Text, StringComparer.Ordinal).Take(room));
        return [.. chosen.OrderByDescending(candidate => candidate.Score).ThenBy(candidate => candidate.Text, StringComparer.Ordinal)];
    }

    private static UnigramModel ModelOf(List<Candidate> candidates) => new(
        Vocabulary.FromList(candidates.ConvertAll(candidate => candidate.Text), "training"),
        [.. candidates.Select(candidate => candidate.Score)], -1, byteFallback: false, singlePrecision: false);

    private static Tokenizer Build(IReadOnlyList<string> special, List<Candidate> trained, IPreTokenizer splitter)
    {
        var reserved = special.ToHashSet();
        var learned = trained.Where(candidate => !reserved.Contains(candidate.Text)).ToList();
        string[] tokens = [.. special, .. learned.Select(candidate => candidate.Text)];
        double[] scores = [.. special.Select(_ => 0.0), .. learned.Select(candidate => candidate.Score)];
        var names = SpecialTokenList.Names(special);
        return new Tokenizer(new TokenizerDefinition
        {
            Model = new UnigramModel(Vocabulary.FromList(tokens, "training"), scores, Array.IndexOf(tokens, Unknown),
                byteFallback: false, singlePrecision: false),
            PreTokenizer = splitter,
            Decoder = new MetaspaceDecoder(Mark, PrependScheme.Always, split: true),
            AddedTokens = SpecialTokenList.Of(special),
            Names = names,
        });
    }

    // By recurrence up to where the asymptotic series is exact enough.
    private static double Digamma(double x)
    {
        double shift = 0;
        for (; x < 7; x++)
            shift -= 1 / x;
        double inverse = 1 / ((x - 0.5) * (x - 0.5));
        return shift + Math.Log(x - 0.5) + inverse / 24 - 7 * inverse * inverse / 960 + 31 * inverse * inverse * inverse / 8064;
    }
}
