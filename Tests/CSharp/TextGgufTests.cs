using System.Text;
using Legato.Runtime;
using Legato.Runtime.Text;
using Legato.Runtime.Text.Formats;
using Legato.Runtime.Text.Models;
using NUnit.Framework;

namespace Legato.Tests;

/// <summary>Tokenizers inside of GGUF files, which are written here by hand.</summary>
[TestFixture]
internal sealed class TextGgufTests
{
    private const uint Float = 6, Bool = 7, Text = 8, Array = 9, Int32 = 5, UInt32 = 4;

    [Test]
    public void ASentencePieceTokenizerIsRead()
    {
        var tokenizer = Load(Llama());
        Assert.That(tokenizer.EncodeIds("ab"), Is.EqualTo(new[] { 1, 7 }));
        Assert.That(tokenizer.EncodeIds("a\n", new EncodeOptions { WithoutAddedTokens = true }), Is.EqualTo(new[] { 6, 8 }));
        Assert.That(tokenizer.Decode([1, 7, 2]), Is.EqualTo("ab"));
        Assert.That((tokenizer.BeginOfSequenceId, tokenizer.EndOfSequenceId), Is.EqualTo(((int?)1, (int?)2)));
        Assert.That(tokenizer.ChatTemplates["default"], Is.EqualTo("{{ messages }}"));
    }

    [Test]
    public void AByteLevelTokenizerIsRead()
    {
        string[] bytes = [.. Enumerable.Range(0, 256).Select(value => ByteAlphabet.CharacterOf((byte)value).ToString())];
        var tokenizer = Load(File(writer =>
        {
            Write(writer, "tokenizer.ggml.model", "gpt2");
            Write(writer, "tokenizer.ggml.pre", "llama-bpe");
            Write(writer, "tokenizer.ggml.tokens", [.. bytes, "ab", "<|eot|>"]);
            Write(writer, "tokenizer.ggml.merges", ["a b"]);
            Write(writer, "tokenizer.ggml.token_type", Enumerable.Repeat(1, 257).Append(3).ToArray());
            WriteId(writer, "tokenizer.ggml.eos_token_id", 257);
        }, 6));
        Assert.That(tokenizer.EncodeIds("abb"), Is.EqualTo(new[] { 256, 'b' }));
        Assert.That(tokenizer.EndOfSequenceId, Is.EqualTo(257));
        Assert.That(tokenizer.EncodeIds("<|eot|>"), Does.Not.Contain(257));
    }

    [Test]
    public void AFileWithoutATokenizerIsRefused() =>
        Assert.That(() => Load(File(writer => Write(writer, "general.name", "x"), 1)), Throws.InstanceOf<LegatoException>());

    internal static byte[] Llama() => File(writer =>
    {
        string[] tokens = ["<unk>", "<s>", "</s>", "a", "b", "\u2581", "\u2581a", "\u2581ab", "<0x0A>"];
        Write(writer, "general.architecture", "llama");
        Write(writer, "tokenizer.ggml.model", "llama");
        Write(writer, "tokenizer.ggml.tokens", tokens);
        WriteArray(writer, "tokenizer.ggml.scores", Float, 9, i => writer.Write(-(float)(10 - i)));
        Write(writer, "tokenizer.ggml.token_type", [2, 3, 3, 1, 1, 1, 1, 1, 6]);
        WriteId(writer, "tokenizer.ggml.bos_token_id", 1);
        WriteId(writer, "tokenizer.ggml.eos_token_id", 2);
        WriteKey(writer, "tokenizer.ggml.add_bos_token", Bool);
        writer.Write((byte)1);
        Write(writer, "tokenizer.chat_template", "{{ messages }}");
    }, 9);

    /// <summary>The metadata that other programs write for a tokenizer's file; null where GGUF has no words for it.</summary>
    internal static IEnumerable<KeyValuePair<string, object>>? InGgufsWords(string file)
    {
        var tokenizer = Tokenizer.Load(file);
        string[] tokens = [.. Enumerable.Range(0, tokenizer.VocabularySize).Select(id => tokenizer.TokenOf(id) ?? $"[PAD{id}]")];
        if (file.EndsWith(".model", StringComparison.Ordinal))
            return OfPieces(SentencePieceModel.Parse(System.IO.File.ReadAllBytes(file), file));
        if (file.Contains("bert", StringComparison.Ordinal))
            return [new("tokenizer.ggml.model", "bert"), new("tokenizer.ggml.tokens", tokens.Select(BertSpelling).ToArray())];
        if (tokenizer.Definition.Model is not BpeModel { Options.ByteFallback: false } model || file.Contains("tiktoken", StringComparison.Ordinal))
            return null;
        string[] merges = [.. model.Merges.Entries().OrderBy(merge => merge.Rank).Select(merge => $"{tokens[merge.Left]} {tokens[merge.Right]}")];
        return [new("tokenizer.ggml.model", "gpt2"), new("tokenizer.ggml.pre", "gpt-2"), new("tokenizer.ggml.tokens", tokens), new("tokenizer.ggml.merges", merges)];
    }

    private static IEnumerable<KeyValuePair<string, object>> OfPieces(SentencePieceModel model) =>
    [
        new("tokenizer.ggml.model", model.Algorithm == SentencePieceAlgorithm.Unigram ? "t5" : "llama"),
        new("tokenizer.ggml.tokens", model.Pieces.Select(piece => piece.Text).ToArray()),
        new("tokenizer.ggml.scores", model.Pieces.Select(piece => piece.Score).ToArray()),
        new("tokenizer.ggml.token_type", model.Pieces.Select(piece => (int)piece.Kind).ToArray()),
        new("tokenizer.ggml.add_space_prefix", model.AddDummyPrefix),
        new("tokenizer.ggml.remove_extra_whitespaces", model.RemoveExtraSpaces),
        new("tokenizer.ggml.precompiled_charsmap", model.CharactersMap.Select(value => (int)value).ToArray()),
    ];

    // What begins a word is marked there, and not what continues one.
    private static string BertSpelling(string token) =>
        token.StartsWith("##", StringComparison.Ordinal) ? token[2..] : token.StartsWith('[') && token.Length > 2 ? token : "\u2581" + token;

    private static Tokenizer Load(byte[] content)
    {
        using var folder = new TemporaryFolder();
        System.IO.File.WriteAllBytes(folder.File("model.gguf"), content);
        return Tokenizer.Load(folder.File("model.gguf"));
    }

    private static byte[] File(Action<BinaryWriter> write, ulong count)
    {
        using var stream = new MemoryStream();
        using var writer = new BinaryWriter(stream);
        writer.Write("GGUF"u8);
        writer.Write(3u);
        writer.Write(0ul);
        writer.Write(count);
        write(writer);
        return stream.ToArray();
    }

    private static void Write(BinaryWriter writer, string key, string value)
    {
        WriteKey(writer, key, Text);
        WriteText(writer, value);
    }

    private static void Write(BinaryWriter writer, string key, string[] values) =>
        WriteArray(writer, key, Text, values.Length, i => WriteText(writer, values[i]));

    private static void Write(BinaryWriter writer, string key, int[] values) =>
        WriteArray(writer, key, Int32, values.Length, i => writer.Write(values[i]));

    private static void WriteId(BinaryWriter writer, string key, uint id)
    {
        WriteKey(writer, key, UInt32);
        writer.Write(id);
    }

    private static void WriteArray(BinaryWriter writer, string key, uint type, int count, Action<int> item)
    {
        WriteKey(writer, key, Array);
        writer.Write(type);
        writer.Write((ulong)count);
        for (int i = 0; i < count; i++)
            item(i);
    }

    private static void WriteKey(BinaryWriter writer, string key, uint type)
    {
        WriteText(writer, key);
        writer.Write(type);
    }

    private static void WriteText(BinaryWriter writer, string text)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(text);
        writer.Write((ulong)bytes.Length);
        writer.Write(bytes);
    }
}
