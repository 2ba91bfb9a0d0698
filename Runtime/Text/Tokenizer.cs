using System.Buffers;
using System.Security.Cryptography;
using System.Text;
using Legato.Runtime.Text.ByteLevel;
using Legato.Runtime.Text.Formats;
using Legato.Runtime.Text.Pipeline;

namespace Legato.Runtime.Text;

/// <summary>
/// A tokenizer: text to ids and back. Immutable and safe to use from many threads.
/// </summary>
public sealed class Tokenizer
{
    private readonly TokenEncoder encoder;
    private readonly TokenDecoder decoder;
    private readonly Lazy<string> hash;

    internal Tokenizer(TokenizerDefinition definition)
    {
        Definition = definition;
        definition.Model.Vocabulary.Reserve(definition.AddedTokens);
        encoder = new TokenEncoder(definition);
        decoder = new TokenDecoder(definition);
        VocabularySize = definition.AddedTokens.Aggregate(
            definition.Model.Vocabulary.Size, (size, token) => Math.Max(size, token.Id + 1));
        hash = new Lazy<string>(ComputeHash);
    }

    internal TokenizerDefinition Definition { get; }

    /// <summary>One more than the largest id: what an embedding over this vocabulary needs.</summary>
    public int VocabularySize { get; }

    /// <summary>The id that opens a sequence, if there is one.</summary>
    public int? BeginOfSequenceId => IdOf(Definition.Names.BeginOfSequence);

    /// <summary>The id that ends a sequence, if there is one.</summary>
    public int? EndOfSequenceId => IdOf(Definition.Names.EndOfSequence);

    /// <summary>The id of text that no token covers, if there is one.</summary>
    public int? UnknownId => IdOf(Definition.Names.Unknown);

    /// <summary>The id that fills up batches, if there is one.</summary>
    public int? PaddingId => IdOf(Definition.Names.Padding);

    /// <summary>Tokens beside the model's vocabulary, special ones among them.</summary>
    public IReadOnlyList<AddedToken> AddedTokens => Definition.AddedTokens;

    /// <summary>The Jinja sources of the chat templates that ship with the tokenizer, by name: "default", "tool_use", …</summary>
    public IReadOnlyDictionary<string, string> ChatTemplates => Definition.ChatTemplates;

    /// <summary>
    /// SHA-256, in hexadecimal, of the written form: equal for tokenizers that give equal ids by the same rules,
    /// whatever file they were read from. Truncation and padding don't count.
    /// </summary>
    public string Hash => hash.Value;

    /// <summary>
    /// Reads a tokenizer: a tokenizer.json, a folder that holds one (or a tokenizer.model, vocab.json with merges.txt,
    /// vocab.txt), a SentencePiece model, a tiktoken rank file, or a GGUF file.
    /// </summary>
    /// <exception cref="LegatoException">The file is missing, damaged or asks for what Legato doesn't have.</exception>
    public static Tokenizer Load(string path) => TokenizerFiles.Load(path);

    /// <summary>Whether a folder holds a vocabulary of a kind that <see cref="Load"/> reads. There may be several, of which it takes none.</summary>
    public static bool IsIn(string folder) => TokenizerFiles.IsIn(folder);

    /// <summary>The files of a folder that hold its tokenizer and its chat templates, as paths within the folder; GGUF files are left out.</summary>
    public static IReadOnlyList<string> FilesIn(string folder) => TokenizerFiles.In(folder);

    /// <summary>Reads a tiktoken rank file of any vocabulary.</summary>
    /// <param name="pattern">How the vocabulary's text is split.</param>
    /// <param name="specialTokens">
    /// Special tokens and their ids, which rank files don't hold; null for those of the known vocabulary of that size, if any.
    /// </param>
    /// <exception cref="LegatoException">The file is missing, damaged or no rank file.</exception>
    public static Tokenizer LoadRanks(string path, SplitPattern pattern, IReadOnlyDictionary<string, int>? specialTokens = null) =>
        TokenizerFiles.LoadRanks(path, pattern, specialTokens);

    /// <summary>Writes tokenizer.json and tokenizer_config.json into a folder, each atomically.</summary>
    public void Save(string folder) => TokenizerFiles.Save(this, folder);

    /// <summary>The tokenizer as keys and values of a GGUF file's metadata.</summary>
    public IEnumerable<KeyValuePair<string, object>> ToGguf() => GgufTokenizerWriter.Write(Definition);

    /// <summary>Encodes one text.</summary>
    public TokenizedText Encode(string text, EncodeOptions options = default) => encoder.Encode(text, null, options);

    /// <summary>Encodes a pair of texts, as models of sentence pairs take them.</summary>
    public TokenizedText EncodePair(string first, string second, EncodeOptions options = default) =>
        encoder.Encode(first, second, options);

    /// <summary>The ids of a text, without offsets: the fast way.</summary>
    public int[] EncodeIds(ReadOnlySpan<char> text, EncodeOptions options = default) => encoder.EncodeIds(text, options);

    /// <summary>
    /// Writes the ids of a UTF-8 text, without the tokens that a post-processor adds and with special tokens as text:
    /// for preparing training data.
    /// </summary>
    public void EncodeUtf8(ReadOnlySpan<byte> utf8, IBufferWriter<int> output) => encoder.EncodeUtf8(utf8, output);

    /// <summary>Encodes many texts in parallel, in order; with <see cref="EncodeOptions.Pad"/> to one length.</summary>
    /// <param name="degree">The most threads to use; all processors when 0.</param>
    public TokenizedText[] EncodeBatch(IReadOnlyList<string> texts, EncodeOptions options = default, int degree = 0) =>
        encoder.EncodeBatch(texts, options, degree);

    /// <summary>The ids of many texts, in parallel and in order, without offsets: the fast way.</summary>
    /// <param name="degree">The most threads to use; all processors when 0.</param>
    public int[][] EncodeIdsBatch(IReadOnlyList<string> texts, EncodeOptions options = default, int degree = 0) =>
        encoder.EncodeIdsBatch(texts, options, degree);

    /// <summary>
    /// The ids of one segmentation of a text drawn at random, for training with subword regularization
    /// (Kudo 2018, section 3.3). Unigram models only.
    /// </summary>
    /// <param name="sharpness">The power that probabilities are raised to: 0 makes all segmentations alike, 1 follows the model.</param>
    /// <param name="random">The source of randomness; one seed gives one result.</param>
    public int[] EncodeSampled(ReadOnlySpan<char> text, double sharpness, Random random) => encoder.EncodeSampled(text, sharpness, random);

    /// <summary>The text of a row of ids. Special tokens are left out unless asked for.</summary>
    /// <exception cref="LegatoException">An id is outside the vocabulary.</exception>
    public string Decode(ReadOnlySpan<int> ids, bool keepSpecial = false) => decoder.Decode(ids, keepSpecial);

    /// <summary>A decoder for ids that arrive one by one; it never gives a part of a character.</summary>
    /// <param name="behind">What they go on from, a prompt's ids: so that a word behind it keeps the space before it.</param>
    public StreamingDecoder CreateStreamingDecoder(bool keepSpecial = false, ReadOnlySpan<int> behind = default) => new(decoder, keepSpecial, behind);

    /// <summary>The id of a token by its spelling, or null.</summary>
    public int? IdOf(string? token)
    {
        if (token is null)
            return null;
        foreach (var added in Definition.AddedTokens)
            if (added.Content == token)
                return added.Id;
        return Definition.Model.Vocabulary.IdOf(token);
    }

    /// <summary>The spelling of a token as the vocabulary has it, or null for an id without a token.</summary>
    public string? TokenOf(int id) => decoder.SpellingOf(id);

    /// <summary>Refuses to go on with another tokenizer than the one a checkpoint was trained with.</summary>
    /// <param name="recordedHash">The <see cref="Hash"/> that the checkpoint records.</param>
    public void RequireHash(string recordedHash, string where)
    {
        if (!string.Equals(Hash, recordedHash, StringComparison.OrdinalIgnoreCase))
            throw new LegatoException(
                $"the tokenizer (hash {Hash[..12]}…) is not the one the checkpoint was trained with ({recordedHash})",
                where, "use the tokenizer.json that was saved beside the checkpoint");
    }

    /// <summary>How many characters of a text no token covers.</summary>
    internal int CountUncovered(string text) => encoder.CountUncovered(text);

    /// <summary>Encodes a rendered chat: special tokens count, except in ranges that came from a user.</summary>
    internal TokenizedText EncodeExcept(string text, IReadOnlyList<TextSpan> literal) => encoder.EncodeExcept(text, literal);

    private string ComputeHash()
    {
        var content = Definition with { Truncation = null, Padding = null };
        byte[] conventions = content.Conventions == TokenizerConventions.Standard ? [] : Encoding.UTF8.GetBytes(content.Conventions.ToString());
        return Convert.ToHexStringLower(SHA256.HashData([.. TokenizerJsonWriter.Write(content), .. conventions]));
    }
}
