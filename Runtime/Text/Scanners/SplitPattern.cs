namespace Legato.Runtime.Text;

/// <summary>The patterns that split text into words before byte-level merging.</summary>
public enum SplitPattern
{
    /// <summary>GPT-2 and r50k/p50k: contractions, words, numbers, signs, each with the space before it.</summary>
    Gpt2,

    /// <summary>GPT-4's cl100k: numbers in groups of three, contractions in any case, line breaks apart.</summary>
    Cl100k,

    /// <summary>Llama 3: as cl100k, but white space at the end of the text follows its line breaks.</summary>
    Llama3,

    /// <summary>Qwen 2: as Llama 3, but each digit by itself.</summary>
    Qwen2,

    /// <summary>GPT-4o's o200k: words split at a change from lower to upper case.</summary>
    O200k,
}

/// <summary>The regular expressions behind <see cref="SplitPattern"/>.</summary>
internal static class SplitPatterns
{
    public const string Gpt2 =
        @"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

    public const string Cl100k =
        @"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s";

    public const string Llama3 =
        @"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    public const string Qwen2 =
        @"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    public const string O200k =
        @"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?" +
        @"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?" +
        @"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    // Spellings of the same languages that shipped files use.
    private static readonly Dictionary<string, SplitPattern> Known = new(StringComparer.Ordinal)
    {
        [Gpt2] = SplitPattern.Gpt2,
        [@"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"] = SplitPattern.Gpt2,
        [@"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"] = SplitPattern.Gpt2,
        [Cl100k] = SplitPattern.Cl100k,
        [Llama3] = SplitPattern.Llama3,
        [@"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s"] =
            SplitPattern.Llama3,
        [Qwen2] = SplitPattern.Qwen2,
        [O200k] = SplitPattern.O200k,
    };

    /// <summary>The pattern's regular expression.</summary>
    public static string RegexOf(SplitPattern pattern) => pattern switch
    {
        SplitPattern.Gpt2 => Gpt2,
        SplitPattern.Cl100k => Cl100k,
        SplitPattern.Llama3 => Llama3,
        SplitPattern.Qwen2 => Qwen2,
        SplitPattern.O200k => O200k,
        _ => throw new LegatoException($"'{pattern}' is not a known split pattern", "the pattern", "take gpt2, cl100k, llama3, qwen2 or o200k"),
    };

    /// <summary>What users call the pattern.</summary>
    public static string NameOf(SplitPattern pattern) => pattern.ToString().ToLowerInvariant();

    /// <summary>The known pattern that a regular expression spells, if any: those have hand-written scanners.</summary>
    public static SplitPattern? Find(string regex) => Known.TryGetValue(regex, out var pattern) ? pattern : null;
}
