using System.Text;
using Legato.Runtime.Text.ByteLevel;
using Legato.Runtime.Text.Decoders;

namespace Legato.Runtime.Text.Pipeline;

/// <summary>Ids back to text, through a definition's decoder.</summary>
internal sealed class TokenDecoder
{
    private readonly TokenizerDefinition definition;
    private readonly Dictionary<int, AddedToken> added = [];

    // Runs of byte tokens are read as a whole: as characters if all of them are, else none.
    private readonly bool readsByteRuns;

    public TokenDecoder(TokenizerDefinition definition)
    {
        this.definition = definition;
        foreach (var token in definition.AddedTokens)
            added[token.Id] = token;
        readsByteRuns = definition.Decoder is ByteFallbackDecoder
            || definition.Decoder is SequenceDecoder sequence && sequence.Stages.Any(stage => stage is ByteFallbackDecoder);
    }

    /// <summary>True when each token has bytes of its own, so that a text is the concatenation of its tokens' bytes.</summary>
    public bool IsByteLevel => definition.Decoder is ByteLevelDecoder;

    /// <summary>Whether what a token stands for hangs on the tokens behind it.</summary>
    public bool IsOpen(int id) => readsByteRuns && ByteFallbackDecoder.TryReadByte(RequireSpelling(id), out _);

    public string? SpellingOf(int id) =>
        added.TryGetValue(id, out var token) ? token.Content : definition.Model.Vocabulary.TokenOf(id);

    public string Decode(ReadOnlySpan<int> ids, bool keepSpecial)
    {
        if (IsByteLevel)
            return DecodeBytes(ids, keepSpecial);
        var tokens = new List<string>(ids.Length);
        foreach (int id in ids)
            if (!IsLeftOut(id, keepSpecial))
                tokens.Add(RequireSpelling(id));
        return definition.Decoder is { } decoder
            ? string.Concat(decoder.Decode(tokens))
            : string.Join(' ', tokens);
    }

    /// <summary>The bytes of one token of a byte-level vocabulary; none when it is left out.</summary>
    public ReadOnlySpan<byte> BytesOf(int id, bool keepSpecial) =>
        IsLeftOut(id, keepSpecial) ? [] : ByteLevelDecoder.BytesOf(RequireSpelling(id));

    private string DecodeBytes(ReadOnlySpan<int> ids, bool keepSpecial)
    {
        var bytes = new MemoryStream(ids.Length * 4);
        foreach (int id in ids)
            bytes.Write(BytesOf(id, keepSpecial));
        return Encoding.UTF8.GetString(bytes.GetBuffer(), 0, (int)bytes.Length);
    }

    /// <summary>Whether the decoded text has nothing of a token.</summary>
    public bool IsLeftOut(int id, bool keepSpecial) => !keepSpecial && added.TryGetValue(id, out var token) && token.Special;

    private string RequireSpelling(int id) => SpellingOf(id)
        ?? throw new LegatoException($"the id {id} has no token", "ids to decode",
            "the ids come from another tokenizer, or the model's vocabulary is padded; leave such ids out");
}
