using System.Globalization;
using System.Text;

namespace Legato.Runtime.Text;

/// <summary>What a tokenizer makes of the texts of one group.</summary>
/// <param name="Tokenizer">The tokenizer's name.</param>
/// <param name="Group">The group's name: a language, a file, or "all".</param>
public sealed record TokenizerFit(string Tokenizer, string Group)
{
    /// <summary>UTF-8 bytes of the texts.</summary>
    public long Bytes { get; internal set; }

    /// <summary>Words: parts between white space.</summary>
    public long Words { get; internal set; }

    /// <summary>Tokens, without those that a post-processor adds.</summary>
    public long Tokens { get; internal set; }

    /// <summary>Unknown tokens, and characters that no token covers.</summary>
    public long Unknown { get; internal set; }

    /// <summary>Whether every text came back from its ids as it was.</summary>
    public bool IsExact { get; internal set; } = true;

    /// <summary>How much text a token holds.</summary>
    public double BytesPerToken => (double)Bytes / Math.Max(1, Tokens);

    /// <summary>How many tokens a word takes.</summary>
    public double Fertility => (double)Tokens / Math.Max(1, Words);

    internal void Add(TokenizerFit other)
    {
        Bytes += other.Bytes;
        Words += other.Words;
        Tokens += other.Tokens;
        Unknown += other.Unknown;
        IsExact &= other.IsExact;
    }
}

/// <summary>Compares tokenizers on texts, side by side.</summary>
public static class TokenizerReport
{
    private const string All = "all";

    private static readonly EncodeOptions Bare = new() { WithoutAddedTokens = true, SkipUncovered = true };

    /// <summary>Measures each tokenizer on each group of texts, and on all of them.</summary>
    /// <param name="tokenizers">Tokenizers with the names they have in the report.</param>
    /// <param name="texts">Texts with the groups they belong to, read once.</param>
    public static List<TokenizerFit> Measure(
        IReadOnlyList<(string Name, Tokenizer Tokenizer)> tokenizers, IEnumerable<(string Group, string Text)> texts)
    {
        var groups = new List<(string Name, TokenizerFit[] Fits)>();
        var whole = RowOf(tokenizers, All);
        foreach (var (group, text) in texts)
        {
            int index = groups.FindIndex(known => known.Name == group);
            if (index < 0)
            {
                index = groups.Count;
                groups.Add((group, RowOf(tokenizers, group)));
            }
            for (int i = 0; i < tokenizers.Count; i++)
            {
                var one = Measure(tokenizers[i].Name, group, tokenizers[i].Tokenizer, text);
                groups[index].Fits[i].Add(one);
                whole[i].Add(one);
            }
        }
        if (groups.Count != 1)
            groups.Add((All, whole));
        return [.. groups.SelectMany(group => group.Fits)];
    }

    // A fit for each tokenizer, whatever its name: two may have the same, and a group may be called "all".
    private static TokenizerFit[] RowOf(IReadOnlyList<(string Name, Tokenizer Tokenizer)> tokenizers, string group) =>
        [.. tokenizers.Select(tokenizer => new TokenizerFit(tokenizer.Name, group))];

    /// <summary>Writes measurements as a table.</summary>
    public static void Write(IReadOnlyList<TokenizerFit> fits, TextWriter output)
    {
        string[] heads = ["group", "tokenizer", "bytes", "tokens", "bytes/token", "tokens/word", "unknown", "exact"];
        var rows = fits.Select(fit => new[]
        {
            fit.Group, fit.Tokenizer, Number(fit.Bytes, "N0"), Number(fit.Tokens, "N0"), Number(fit.BytesPerToken, "F3"),
            Number(fit.Fertility, "F3"), Number(fit.Unknown, "N0"), fit.IsExact ? "yes" : "no",
        }).Prepend(heads).ToList();
        var widths = heads.Select((_, column) => rows.Max(row => row[column].Length)).ToArray();
        foreach (string[] row in rows)
        {
            var cells = row.Select((cell, column) => column < 2 ? cell.PadRight(widths[column]) : cell.PadLeft(widths[column]));
            output.WriteLine(string.Join("  ", cells).TrimEnd());
        }
    }

    private static string Number(double value, string format) => value.ToString(format, CultureInfo.InvariantCulture);

    private static TokenizerFit Measure(string name, string group, Tokenizer tokenizer, string text)
    {
        int[] ids = tokenizer.EncodeIds(text, Bare);
        return new TokenizerFit(name, group)
        {
            Bytes = Encoding.UTF8.GetByteCount(text),
            Words = CountWords(text),
            Tokens = ids.Length,
            Unknown = tokenizer.UnknownId is int unknown ? ids.AsSpan().Count(unknown) : tokenizer.CountUncovered(text),
            IsExact = string.Equals(tokenizer.Decode(ids), text, StringComparison.Ordinal),
        };
    }

    private static long CountWords(string text)
    {
        long count = 0;
        bool inside = false;
        foreach (char unit in text)
        {
            bool word = !char.IsWhiteSpace(unit);
            if (word && !inside)
                count++;
            inside = word;
        }
        return count;
    }
}
