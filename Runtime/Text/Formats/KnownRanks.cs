using Legato.Runtime.Text.Pipeline;

namespace Legato.Runtime.Text.Formats;

/// <summary>The vocabularies that ship as rank files, which name neither their pattern nor their special tokens.</summary>
internal sealed record KnownRanks(SplitPattern Pattern, IReadOnlyDictionary<string, int> SpecialTokens)
{
    private const string EndOfText = "<|endoftext|>";

    /// <summary>Finds a vocabulary by its size. A name says less: a file that was cut keeps it.</summary>
    public static KnownRanks? Find(int size) => size switch
    {
        50256 => new(SplitPattern.Gpt2, new Dictionary<string, int> { [EndOfText] = 50256 }),
        50280 => new(SplitPattern.Gpt2, new Dictionary<string, int> { [EndOfText] = 50256 }),
        100256 => new(SplitPattern.Cl100k, new Dictionary<string, int>
        {
            [EndOfText] = 100257,
            ["<|fim_prefix|>"] = 100258,
            ["<|fim_middle|>"] = 100259,
            ["<|fim_suffix|>"] = 100260,
            ["<|endofprompt|>"] = 100276,
        }),
        128000 => new(SplitPattern.Llama3, Llama3Tokens()),
        199998 => new(SplitPattern.O200k, new Dictionary<string, int> { [EndOfText] = 199999, ["<|endofprompt|>"] = 200018 }),
        151643 => new(SplitPattern.Qwen2, new Dictionary<string, int>
        {
            [EndOfText] = 151643,
            ["<|im_start|>"] = 151644,
            ["<|im_end|>"] = 151645,
        }),
        _ => null,
    };

    public static SpecialTokenNames Names(IReadOnlyDictionary<string, int> tokens)
    {
        string? First(params ReadOnlySpan<string> names)
        {
            foreach (string name in names)
                if (tokens.ContainsKey(name))
                    return name;
            return null;
        }
        return new SpecialTokenNames
        {
            BeginOfSequence = First("<|begin_of_text|>", "<s>"),
            EndOfSequence = First("<|end_of_text|>", EndOfText, "</s>"),
        };
    }

    private static Dictionary<string, int> Llama3Tokens()
    {
        string[] names =
        [
            "<|begin_of_text|>", "<|end_of_text|>", "<|reserved_special_token_0|>", "<|reserved_special_token_1|>",
            "<|finetune_right_pad_id|>", "<|reserved_special_token_2|>", "<|start_header_id|>", "<|end_header_id|>",
            "<|eom_id|>", "<|eot_id|>", "<|python_tag|>",
        ];
        var tokens = new Dictionary<string, int>();
        for (int i = 0; i < 256; i++)
            tokens[i < names.Length ? names[i] : $"<|reserved_special_token_{i - names.Length + 3}|>"] = 128000 + i;
        return tokens;
    }
}
