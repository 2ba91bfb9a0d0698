using System.Text;
using System.Text.Json;
using Legato.Runtime.Text;
using Legato.Runtime.Text.Chat;
using Legato.Runtime.Text.Training;
using NUnit.Framework;

namespace Legato.Tests;

/// <summary>Damaged files give a tokenizer or a typed error: never a crash, a hang, or memory without end.</summary>
[TestFixture]
internal sealed class TextFuzzTests
{
    private const int Many = 10_000, Few = 300;
    private static readonly string[] Probes = ["", "tea for two 12345 </s>", "é日本 😀\n\n  x", new string('e', 300)];

    [Test]
    public void DamagedTokenizerJson() => Fuzz(JsonSeeds(), "tokenizer.json", Few);

    [Test, Category("Heavy")]
    public void ManyDamagedTokenizerJson() => Fuzz(JsonSeeds(), "tokenizer.json", Many);

    [Test]
    public void DamagedSentencePieceModels() => Fuzz(ModelSeeds(), "tokenizer.model", Few);

    [Test, Category("Heavy")]
    public void ManyDamagedSentencePieceModels() => Fuzz(ModelSeeds(), "tokenizer.model", Many);

    [Test]
    public void DamagedRankFiles() => Fuzz([RankSeed()], "own.tiktoken", Few, OfRanks);

    [Test, Category("Heavy")]
    public void ManyDamagedRankFiles() => Fuzz([RankSeed()], "own.tiktoken", Many, OfRanks);

    [Test]
    public void DamagedGguf() => Fuzz([TextGgufTests.Llama()], "model.gguf", Few);

    [Test, Category("Heavy")]
    public void ManyDamagedGguf() => Fuzz([TextGgufTests.Llama()], "model.gguf", Many);

    [Test]
    public void DamagedTemplates() => FuzzTemplates(Few);

    [Test, Category("Heavy")]
    public void ManyDamagedTemplates() => FuzzTemplates(Many);

    private static Tokenizer OfRanks(string path) => Tokenizer.LoadRanks(path, SplitPattern.O200k);

    private static void Fuzz(IReadOnlyList<byte[]> seeds, string name, int count, Func<string, Tokenizer>? load = null)
    {
        using var folder = new TemporaryFolder();
        string path = folder.File(name);
        var random = new Random(17);
        int loaded = 0;
        for (int i = 0; i < count; i++)
        {
            File.WriteAllBytes(path, TextFixtures.Mutate(seeds[i % seeds.Count], random));
            if (TextFixtures.FailsOnlyByMistake(() => Use((load ?? Tokenizer.Load)(path))))
                loaded++;
        }
        TestContext.Out.WriteLine($"{loaded} of {count} damaged files still gave a tokenizer");
    }

    private static void Use(Tokenizer tokenizer)
    {
        foreach (string probe in Probes)
        {
            int[] ids = tokenizer.Encode(probe, EncodeOptions.AsShipped with { Pad = probe.Length < 5 }).Ids;
            TextFixtures.FailsOnlyByMistake(() => tokenizer.Decode(ids));
        }
        _ = tokenizer.Hash;
    }

    private static void FuzzTemplates(int count)
    {
        string[] seeds = TemplateSeeds();
        var random = new Random(19);
        var request = ChatRequest.FromJson(JsonDocument.Parse(
            """{"messages":[{"role":"system","content":"s"},{"role":"user","content":"a b"},{"role":"assistant","content":"c","tool_calls":[{"function":{"name":"f","arguments":{"x":1}}}]}],"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{"x":{"type":"integer"}}}}}],"add_generation_prompt":true,"bos_token":"<s>"}""")
            .RootElement.Clone());
        int rendered = 0;
        for (int i = 0; i < count; i++)
        {
            string source = Encoding.UTF8.GetString(TextFixtures.Mutate(Encoding.UTF8.GetBytes(seeds[i % seeds.Length]), random));
            if (TextFixtures.FailsOnlyByMistake(() => ChatTemplate.Parse(source).Render(request)))
                rendered++;
        }
        TestContext.Out.WriteLine($"{rendered} of {count} damaged templates still rendered");
    }

    private static string[] TemplateSeeds()
    {
        string folder = SharedFolder.Require("data/chat_templates");
        return [.. Directory.GetFiles(folder, "*.json").Order().Select(file =>
        {
            using var document = JsonDocument.Parse(File.ReadAllText(file));
            return document.RootElement.GetProperty("template").GetString()!;
        })];
    }

    private static List<byte[]> JsonSeeds()
    {
        var seeds = Enum.GetValues<TokenizerKind>().Select(kind =>
        {
            using var folder = new TemporaryFolder();
            TextFixtures.Train(kind, 290, "<unk>", "</s>", "[CLS]", "[SEP]").Save(folder.Path);
            return File.ReadAllBytes(folder.File("tokenizer.json"));
        }).ToList();
        seeds.Add(Encoding.UTF8.GetBytes(EveryStage));
        return seeds;
    }

    private static List<byte[]> ModelSeeds()
    {
        string folder = SharedFolder.Require("data/tokenizers/sentencepiece");
        string stories = SharedFolder.Require("data/stories260K");
        byte[] large = File.ReadAllBytes(Path.Combine(folder, "seqio_sentencepiece.model"));
        // Most of the file is its character map: the ends hold the rest.
        return [File.ReadAllBytes(Path.Combine(stories, "tokenizer.model")), large, [.. large.AsSpan(0, 600), .. large.AsSpan(large.Length - 64)]];
    }

    private static byte[] RankSeed()
    {
        var lines = Enumerable.Range(0, 256).Select(value => $"{Convert.ToBase64String([(byte)value])} {value}")
            .Append($"{Convert.ToBase64String("ea"u8)} 256").Append($"{Convert.ToBase64String("tea"u8)} 257");
        return Encoding.UTF8.GetBytes(string.Join('\n', lines) + "\n");
    }

    private const string EveryStage = """
        {"version":"1.0","truncation":{"direction":"Right","max_length":8,"strategy":"LongestFirst","stride":0},
        "padding":{"strategy":{"Fixed":12},"direction":"Left","pad_to_multiple_of":8,"pad_id":0,"pad_type_id":0,"pad_token":"[PAD]"},
        "added_tokens":[{"id":0,"content":"[PAD]","single_word":true,"lstrip":true,"rstrip":true,"normalized":true,"special":true}],
        "normalizer":{"type":"Sequence","normalizers":[{"type":"NFKD"},{"type":"NFC"},{"type":"Lowercase"},{"type":"StripAccents"},{"type":"Nmt"},
        {"type":"Replace","pattern":{"Regex":"x{1,3}(?=y|[^\\p{L}])"},"content":"z"},{"type":"Prepend","prepend":"_"},{"type":"Strip","strip_left":true,"strip_right":true},
        {"type":"BertNormalizer","clean_text":true,"handle_chinese_chars":true,"strip_accents":null,"lowercase":true}]},
        "pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Whitespace"},{"type":"Digits","individual_digits":true},{"type":"Punctuation","behavior":"Isolated"},
        {"type":"Split","pattern":{"Regex":"(?i:'s)|\\p{Lu}?\\p{Ll}+|\\s+(?!\\S)"},"behavior":"MergedWithNext","invert":false},{"type":"UnicodeScripts"},
        {"type":"CharDelimiterSplit","delimiter":"-"},{"type":"Metaspace","replacement":"_","prepend_scheme":"first","split":true}]},
        "post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"[PAD]","type_id":0}},{"Sequence":{"id":"A","type_id":0}}],
        "pair":[{"Sequence":{"id":"A","type_id":0}},{"Sequence":{"id":"B","type_id":1}}],"special_tokens":{"[PAD]":{"id":"[PAD]","ids":[0],"tokens":["[PAD]"]}}},
        "decoder":{"type":"Sequence","decoders":[{"type":"ByteFallback"},{"type":"Metaspace","replacement":"_","prepend_scheme":"always","split":true},
        {"type":"CTC","pad_token":"<pad>","word_delimiter_token":"|","cleanup":true},{"type":"Strip","content":" ","start":1,"stop":1},{"type":"Fuse"}]},
        "model":{"type":"Unigram","unk_id":0,"byte_fallback":true,"vocab":[["[PAD]",0.0],["_",-1.5],["e",-2.0],["te",-2.5],["<0x0A>",0.0]]}}
        """;
}
