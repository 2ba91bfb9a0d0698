using System.Buffers;
using Legato.Runtime.Text.ByteLevel;
using Legato.Runtime.Text.Models;
using Legato.Runtime.Text.PreTokenizers;

namespace Legato.Runtime.Text.Pipeline;

/// <summary>Runs a text through a definition's stages; byte-level BPE behind a known pattern takes the fast path.</summary>
internal sealed class TokenEncoder
{
    private readonly TokenizerDefinition definition;
    private readonly ByteLevelEncoder? fast;
    private readonly AddedTokenSplitter recognising;
    private readonly AddedTokenSplitter plain;

    public TokenEncoder(TokenizerDefinition definition)
    {
        this.definition = definition;
        fast = FastPath.TryCreate(definition);
        recognising = new AddedTokenSplitter(definition, recogniseSpecial: true);
        plain = new AddedTokenSplitter(definition, recogniseSpecial: false);
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
        if (definition.PostProcessor is not null && !options.WithoutAddedTokens || options.Truncate || options.Pad)
            return Encode(text.ToString(), null, options).Ids;
        var buffer = new TokenBuffer(withOffsets: false);
        Fill(text, options, buffer);
        return buffer.Ids.ToArray();
    }

    public void EncodeUtf8(ReadOnlySpan<byte> utf8, IBufferWriter<int> output)
    {
        var buffer = new TokenBuffer(withOffsets: false);
        if (fast is not null && plain.IsEmpty)
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
        var parallel = new ParallelOptions { MaxDegreeOfParallelism = degree > 0 ? degree : Environment.ProcessorCount };
        try
        {
            Parallel.For(0, results.Length, parallel, i => results[i] = Encode(texts[i], null, single));
        }
        catch (AggregateException error) when (error.InnerException is LegatoException mistake)
        {
            throw new LegatoException(mistake.What, mistake.Where, mistake.Remedy, error);
        }
        if (options.Pad && definition.Padding is { } padding)
            Framing.PadAll(results, padding);
        return results;
    }

    private TokenSegment Segment(string text, EncodeOptions options)
    {
        var buffer = new TokenBuffer(withOffsets: true);
        Fill(text, options, buffer);
        return new TokenSegment
        {
            Ids = [.. buffer.Ids],
            Offsets = [.. buffer.Offsets],
        };
    }

    private void Fill(ReadOnlySpan<char> text, EncodeOptions options, TokenBuffer output)
    {
        bool recognise = options.SpecialTokens == SpecialTokensInText.Recognise
            || options.SpecialTokens == SpecialTokensInText.AsShipped && definition.RecognisesSpecialTokens;
        var splitter = recognise ? recognising : plain;
        if (fast is not null && splitter.IsEmpty)
            fast.Encode(text, 0, output);
        else if (fast is not null)
            FillFast(splitter, text, output);
        else
            FillGeneral(splitter, WellFormed.Of(text), output);
        if (output.Uncovered > 0 && !options.SkipUncovered)
            throw new LegatoException(
                $"no token covers '{output.FirstUncovered}' (U+{char.ConvertToUtf32(output.FirstUncovered!, 0):X4}), and {output.Uncovered - 1} characters more",
                "text to encode", "train with an unknown token or with byte fallback, or skip what isn't covered");
    }

    private void FillFast(AddedTokenSplitter splitter, ReadOnlySpan<char> text, TokenBuffer output)
    {
        int at = 0;
        while (splitter.TryFindRaw(text, at, out var match))
        {
            if (match.Start > at)
                fast!.Encode(text[at..match.Start], at, output);
            output.Add(match.Token.Id, new TextSpan(match.Start, match.End));
            at = match.End;
        }
        if (at < text.Length)
            fast!.Encode(text[at..], at, output);
    }

    private void FillGeneral(AddedTokenSplitter splitter, ReadOnlySpan<char> text, TokenBuffer output)
    {
        var pieces = new List<TextPiece>();
        var split = new List<TextPiece>();
        foreach (var part in splitter.Split(text))
        {
            if (part.Token is { } token)
            {
                output.Add(token.Id, part.Piece.SourceOf(0, part.Piece.Length));
                continue;
            }
            pieces.Clear();
            pieces.Add(part.Piece);
            split.Clear();
            if (definition.PreTokenizer is { } preTokenizer)
                preTokenizer.Split(pieces, split);
            else
                split.Add(part.Piece);
            foreach (var piece in split)
                if (piece.Length > 0)
                    definition.Model.Tokenize(piece, output);
        }
    }
}
