using System.Text.Json.Serialization;

namespace Legato.Runtime.Data;

/// <summary>
/// What a stretch of text becomes in training: the tokens that the model reads, and at each place the one that it is to
/// tell, or <see cref="Ignored"/>. Every choice is a pure function of the row's own random numbers.
/// </summary>
[JsonPolymorphic(TypeDiscriminatorPropertyName = "kind")]
[JsonDerivedType(typeof(CausalObjective), "causal")]
[JsonDerivedType(typeof(MaskedObjective), "masked")]
[JsonDerivedType(typeof(SpanCorruption), "spans")]
[JsonDerivedType(typeof(Denoising), "denoise")]
[JsonDerivedType(typeof(FillInTheMiddle), "fim")]
public abstract record Objective
{
    /// <summary>A label that doesn't count.</summary>
    public const int Ignored = -100;

    /// <summary>Every token tells the one after it.</summary>
    public static Objective Causal { get; } = new CausalObjective();

    /// <summary>What a reader of logs calls it; equal for equal objectives.</summary>
    [JsonIgnore]
    public abstract string Description { get; }

    /// <summary>Tokens of the shortest row that the objective makes sense of.</summary>
    [JsonIgnore]
    public virtual int ShortestRow => 1;

    /// <summary>
    /// Where each place of a row is a place of its text: how far behind it stands the token that it tells. Null where the
    /// text's tokens are moved.
    /// </summary>
    [JsonIgnore]
    public virtual int? Tells => null;

    /// <summary>Tokens of the text that a row is made of: by default as many as the row has, and one more.</summary>
    public virtual int TextLength(RowShape shape) => shape.Sequence + 1;

    /// <summary>Fills a row.</summary>
    /// <param name="text">The row's text, of <see cref="TextLength"/> tokens.</param>
    public abstract void Fill(ReadOnlySpan<int> text, ref RowRandom random, Row row);

    /// <summary>
    /// Makes an example of a document, or of as much of its beginning as fits, at the beginning of what is left of a packed row, where
    /// tokens are moved. Tokens may have marks (<see cref="TokenMarks"/>), which stay with them.
    /// </summary>
    /// <returns>Places that the example takes; 0: it doesn't fit.</returns>
    public virtual int FillDocument(ReadOnlySpan<int> text, ref RowRandom random, Row row) =>
        throw new InvalidOperationException("documents whose tokens stay are kept apart where they lie");

    /// <summary>A sequence of at most one token more than the row has places, each telling the next from a place on.</summary>
    /// <returns>Places taken.</returns>
    protected static int Begin(ReadOnlySpan<int> sequence, int firstTold, Row row)
    {
        int places = Math.Min(sequence.Length, row.Tokens.Length);
        sequence[..places].CopyTo(row.Tokens);
        row.Labels[..places].Fill(Ignored);
        if (firstTold < sequence.Length)
            sequence[firstTold..].CopyTo(row.Labels[(firstTold - 1)..]);
        return places;
    }

    /// <summary>A sequence as tokens that each tell the next.</summary>
    protected static void Shift(ReadOnlySpan<int> sequence, Row row)
    {
        sequence[..^1].CopyTo(row.Tokens);
        sequence[1..].CopyTo(row.Labels);
    }
}

/// <summary>Every token tells the one after it.</summary>
public sealed record CausalObjective : Objective
{
    public override string Description => "causal";

    public override int? Tells => 1;

    public override void Fill(ReadOnlySpan<int> text, ref RowRandom random, Row row) => Shift(text, row);
}
