namespace Legato.Runtime.Data;

/// <summary>Makes rows of stretches of token data.</summary>
internal sealed class RowMaker
{
    private readonly RowShape shape;
    private readonly Objective objective;
    private readonly int[] text;
    // Of a packed row: the text with its marks.
    private readonly int[] marked;
    private readonly int tells;

    /// <exception cref="LegatoException">The objective makes no sense of such rows.</exception>
    public RowMaker(Objective objective, RowShape shape)
    {
        if (Math.Max(shape.Sequence, shape.Source) < objective.ShortestRow)
            throw new LegatoException(
                $"rows of {Math.Max(shape.Sequence, shape.Source)} tokens are too short for this objective",
                remedy: $"give a sequence of at least {objective.ShortestRow}");
        (this.objective, this.shape) = (objective, shape);
        text = new int[objective.TextLength(shape)];
        marked = shape.IsPacked ? new int[text.Length] : text;
        tells = !shape.IsPacked ? 0 : objective.Tells ?? throw new LegatoException(
            "this objective moves tokens, so that documents can't be kept apart in a row", remedy: "pack for causal or masked training only");
    }

    /// <summary>From one row's text to the next one's: a row's last token is the next one's first.</summary>
    public int Stride => text.Length - 1;

    /// <summary>Whole texts of rows that fit into a range.</summary>
    /// <exception cref="LegatoException">None fits.</exception>
    public long RowsOf(TokenRange range) => range.Length > Stride
        ? (range.Length - 1) / Stride
        : throw new LegatoException(
            $"a sequence of {Stride} tokens and its last label need {Stride + 1} tokens; this part of the data has {range.Length}",
            remedy: "give more text, or a shorter sequence");

    /// <summary>Fills a row from the range's text at <paramref name="start"/>.</summary>
    public void Make(TokenRange range, long start, RowRandom random, Row row)
    {
        range.Read(start, marked);
        if (!shape.IsPacked)
        {
            objective.Fill(text, ref random, row);
            return;
        }
        for (int i = 0; i < text.Length; i++)
            text[i] = TokenMarks.NumberOf(marked[i]);
        objective.Fill(text, ref random, row);
        KeepApart(row);
    }

    // The end of a document doesn't tell the beginning of the next.
    private void KeepApart(Row row)
    {
        int start = 0;
        for (int i = 0; i < row.Tokens.Length; i++)
        {
            start = TokenMarks.BeginsDocument(marked[i]) ? i : start;
            row.Starts[i] = start;
            int told = marked[i + tells];
            if (TokenMarks.IsGiven(told) || tells > 0 && TokenMarks.BeginsDocument(told))
                row.Labels[i] = Objective.Ignored;
        }
    }
}
