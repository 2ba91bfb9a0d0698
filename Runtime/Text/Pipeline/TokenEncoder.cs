using System.Buffers;
using Legato.Runtime.Text.ByteLevel;
using Legato.Runtime.Text.Models;
using Legato.Runtime.Text.Normalizers;

namespace Legato.Runtime.Text.Pipeline;

/// <summary>Runs a text through a definition's stages; byte-level BPE behind a known pattern takes the fast path.</summary>
internal sealed class TokenEncoder
{
    private readonly TokenizerDefinition definition;
    private readonly ByteLevelEncoder? fast;
    private readonly UnicodeFormNormalizer? unicodeForm;
    private readonly AddedTokenSplitter recognising;
    private readonly AddedTokenSplitter plain;
    private readonly (int[] Prefix, int[] Suffix)? frame;

    public TokenEncoder(TokenizerDefinition definition)
    {
        this.definition = definition;
        fast = FastPath.TryCreate(definition);
        unicodeForm = definition.Normalizer as UnicodeFormNormalizer;
        recognising = new AddedTokenSplitter(definition, recogniseSpecial: true);
        plain = new AddedTokenSplitter(definition, recogniseSpecial: false);
        frame = FrameOf(definition);
    }

    public TokenizedText Encode(string first, string? second, EncodeOptions options)
    {
        var framing = new Framing(definition);
        var segments = new List<TokenSegment> { Segment(first, options) };
        if (second is not null)
            segments.Add(Segment(second, options));
        return framing.Finish(segments, options);
    }

    public int[] EncodeIds(ReadOnlySpan<char> text, EncodeOptions options)
    {
        bool framed = definition.PostProcessor is not null && !options.WithoutAddedTokens;
        if (framed && frame is null || options.Truncate || options.Pad)
            return Encode(text.ToString(), null, options).Ids;
        using var buffer = new TokenBuffer(withOffsets: false, CapacityFor(text.Length));
        if (framed)
            buffer.Add(frame!.Value.Prefix);
        Fill(text, options, buffer);
        if (framed)
            buffer.Add(frame!.Value.Suffix);
        return buffer.Ids.ToArray();
    }

    public void EncodeUtf8(ReadOnlySpan<byte> utf8, IBufferWriter<int> output)
    {
        using var buffer = new TokenBuffer(withOffsets: false, CapacityFor(utf8.Length));
        if (fast is not null && unicodeForm is null && plain.IsEmpty)
            fast.Encode(utf8, buffer);
        else
            Fill(System.Text.Encoding.UTF8.GetString(utf8), default, buffer);
        buffer.Ids.CopyTo(output.GetSpan(buffer.Count));
        output.Advance(buffer.Count);
    }

    public TokenizedText[] EncodeBatch(IReadOnlyList<string> texts, EncodeOptions options, int degree)
    {
        var results = new TokenizedText[texts.Count];
        var single = options with { Pad = false };
        ForAll(texts.Count, degree, i => results[i] = Encode(texts[i], null, single));
        if (options.Pad && definition.Padding is { } padding)
            Framing.PadAll(results, padding);
        return results;
    }

    public int[][] EncodeIdsBatch(IReadOnlyList<string> texts, EncodeOptions options, int degree)
    {
        var results = new int[texts.Count][];
        ForAll(texts.Count, degree, i => results[i] = EncodeIds(texts[i], options));
        return results;
    }

    private static void ForAll(int count, int degree, Action<int> action)
    {
        var parallel = new ParallelOptions { MaxDegreeOfParallelism = degree > 0 ? degree : Environment.ProcessorCount };
        try
        {
            Parallel.For(0, count, parallel, action);
        }
        catch (AggregateException error) when (error.InnerException is LegatoException mistake)
        {
            throw new LegatoException(mistake.What, mistake.Where, mistake.Remedy, error);
        }
    }

    /// <summary>One segmentation of a text drawn at random, without added tokens.</summary>
    public int[] EncodeSampled(ReadOnlySpan<char> text, double sharpness, Random random)
    {
        if (definition.Model is not UnigramModel model)
            throw new LegatoException("only unigram models sample segmentations", "tokenizer", "take a unigram tokenizer");
        using var buffer = new TokenBuffer(withOffsets: false, CapacityFor(text.Length));
        foreach (var piece in Pieces(plain, WellFormed.Of(text), null, buffer))
            model.Sample(piece, sharpness, random, buffer);
        return buffer.Ids.ToArray();
    }

    // English takes about four characters a token.
    private static int CapacityFor(int length) => length / 3 + 64;

    // What the post-processor puts before and behind a single text: it shows on an empty one.
    private static (int[] Prefix, int[] Suffix)? FrameOf(TokenizerDefinition definition)
    {
        var text = new TokenSegment { Ids = [], Offsets = [] };
        var framed = definition.PostProcessor?.Process([text], true, definition.Model.Vocabulary);
        int at = framed?.IndexOf(text) ?? -1;
        return at < 0
            ? null
            : ([.. framed!.Take(at).SelectMany(segment => segment.Ids)], [.. framed!.Skip(at + 1).SelectMany(segment => segment.Ids)]);
    }

    /// <summary>Encodes one text without added tokens, recognising special tokens except in some ranges.</summary>
    public TokenizedText EncodeExcept(string text, IReadOnlyList<TextSpan> literal)
    {
        var options = new EncodeOptions { WithoutAddedTokens = true, SpecialTokens = SpecialTokensInText.Recognise };
        return new Framing(definition).Finish([Segment(text, options, literal)], options);
    }

    /// <summary>How many characters of a text no token covers.</summary>
    public int CountUncovered(string text)
    {
        using var buffer = new TokenBuffer(withOffsets: false, CapacityFor(text.Length));
        Fill(text, new EncodeOptions { SkipUncovered = true }, buffer);
        return buffer.Uncovered;
    }

    private TokenSegment Segment(string text, EncodeOptions options, IReadOnlyList<TextSpan>? literal = null)
    {
        using var buffer = new TokenBuffer(withOffsets: true, CapacityFor(text.Length));
        Fill(text, options, buffer, literal);
        return new TokenSegment
        {
            Ids = [.. buffer.Ids],
            Offsets = [.. buffer.Offsets],
        };
    }

    private void Fill(ReadOnlySpan<char> text, EncodeOptions options, TokenBuffer output, IReadOnlyList<TextSpan>? literal = null)
    {
        bool recognise = options.SpecialTokens == SpecialTokensInText.Recognise
            || options.SpecialTokens == SpecialTokensInText.AsShipped && definition.RecognisesSpecialTokens;
        var splitter = recognise ? recognising : plain;
        bool isFast = fast is not null && (unicodeForm is null || unicodeForm.LeavesAlone(text));
        if (isFast && splitter.IsEmpty)
            fast!.Encode(text, 0, output);
        else if (isFast)
            FillFast(splitter, text, literal, output);
        else
            FillGeneral(splitter, WellFormed.Of(text), literal, output);
        if (output.Uncovered > 0 && !options.SkipUncovered)
            throw new LegatoException(
                $"no token covers '{output.FirstUncovered}' (U+{char.ConvertToUtf32(output.FirstUncovered!, 0):X4}){MoreUncovered(output.Uncovered - 1)}",
                "text to encode", "leave them out of the text, or take a tokenizer with an unknown token (one trained with --special \"<unk>\") or with bytes");
    }

    private static string MoreUncovered(int count) => count switch
    {
        0 => "",
        1 => ", and one character more",
        _ => $", and {count} characters more",
    };

    private void FillFast(AddedTokenSplitter splitter, ReadOnlySpan<char> text, IReadOnlyList<TextSpan>? literal, TokenBuffer output)
    {
        int at = 0;
        while (splitter.TryFindRaw(text, at, literal, out var match))
        {
            if (match.Start > at)
                fast!.Encode(text[at..match.Start], at, output);
            output.Add(match.Token.Id, new TextSpan(match.Start, match.End));
            at = match.End;
        }
        if (at < text.Length)
            fast!.Encode(text[at..], at, output);
    }

    private void FillGeneral(AddedTokenSplitter splitter, ReadOnlySpan<char> text, IReadOnlyList<TextSpan>? literal, TokenBuffer output)
    {
        foreach (var piece in Pieces(splitter, text, literal, output))
            definition.Model.Tokenize(piece, output);
    }

    // The pieces for the model, in order; added tokens between them go straight to the output.
    private IEnumerable<TextPiece> Pieces(
        AddedTokenSplitter splitter, ReadOnlySpan<char> text, IReadOnlyList<TextSpan>? literal, TokenBuffer output) =>
        PiecesOf(splitter.Split(text, literal), output);

    private IEnumerable<TextPiece> PiecesOf(List<AddedTokenSplitter.Part> parts, TokenBuffer output)
    {
        var split = new List<TextPiece>();
        foreach (var part in parts)
        {
            if (part.Token is { } token)
            {
                output.Add(token.Id, part.Piece.SourceOf(0, part.Piece.Length));
                continue;
            }
            split.Clear();
            if (definition.PreTokenizer is { } preTokenizer)
                preTokenizer.Split([part.Piece], split);
            else
                split.Add(part.Piece);
            foreach (var piece in split)
                if (piece.Length > 0)
                    yield return piece;
        }
    }
}
