namespace Legato.Runtime.Data;

/// <summary>What a row of training data holds.</summary>
/// <param name="Sequence">Tokens a row: of the decoder, where there is an encoder beside it.</param>
/// <param name="Source">Tokens of the text that an encoder reads; 0 where there is none.</param>
/// <param name="IsPacked">Whether a row's documents don't see each other.</param>
public readonly record struct RowShape(int Sequence, int Source = 0, bool IsPacked = false);

/// <summary>One row, to be filled.</summary>
public readonly ref struct Row
{
    /// <summary>What the model reads.</summary>
    public Span<int> Tokens { get; init; }

    /// <summary>At each place the token that is to be told; below zero: none.</summary>
    public Span<int> Labels { get; init; }

    /// <summary>What an encoder reads, padded; empty where there is none.</summary>
    public Span<int> Source { get; init; }

    /// <summary>One number: how many of the source's tokens are no padding.</summary>
    public Span<int> SourceLength { get; init; }

    /// <summary>At each place where its document starts in the row; empty where documents see each other.</summary>
    public Span<int> Starts { get; init; }

    /// <summary>What is left of a decoder's row from a place on.</summary>
    public Row From(int place) => this with { Tokens = Tokens[place..], Labels = Labels[place..], Starts = Starts[place..] };
}

/// <summary>Rows as a plan reads them: each array holds one row after another, and is empty where the shape has no such part.</summary>
public sealed class RowBatch
{
    private readonly RowShape shape;

    public RowBatch(int rows, RowShape shape)
    {
        (this.shape, Rows) = (shape, rows);
        Tokens = new int[rows * shape.Sequence];
        Labels = new int[rows * shape.Sequence];
        Source = new int[rows * shape.Source];
        SourceLengths = new int[shape.Source > 0 ? rows : 0];
        Starts = new int[shape.IsPacked ? rows * shape.Sequence : 0];
    }

    private RowBatch(int[] tokens, int[] labels)
    {
        (shape, Rows) = (new RowShape(tokens.Length), 1);
        (Tokens, Labels, Source, SourceLengths, Starts) = (tokens, labels, [], [], []);
    }

    public int Rows { get; }

    public int[] Tokens { get; }

    public int[] Labels { get; }

    public int[] Source { get; }

    public int[] SourceLengths { get; }

    public int[] Starts { get; }

    /// <summary>How many labels are to be told.</summary>
    public int Told
    {
        get
        {
            int told = 0;
            foreach (int label in Labels)
                told += label >= 0 ? 1 : 0;
            return told;
        }
    }

    /// <summary>Tokens and labels that are at hand, of documents that see each other.</summary>
    public static RowBatch Of(int[] tokens, int[] labels) => new(tokens, labels);

    public Row this[int row] => new()
    {
        Tokens = Tokens.AsSpan(row * shape.Sequence, shape.Sequence),
        Labels = Labels.AsSpan(row * shape.Sequence, shape.Sequence),
        Source = Source.AsSpan(row * shape.Source, shape.Source),
        SourceLength = SourceLengths.AsSpan(shape.Source > 0 ? row : 0, shape.Source > 0 ? 1 : 0),
        Starts = shape.IsPacked ? Starts.AsSpan(row * shape.Sequence, shape.Sequence) : default,
    };
}
