namespace Legato.Runtime.Data;

/// <summary>Makes rows of stretches of token data.</summary>
internal sealed class RowMaker
{
    private readonly RowShape shape;
    private readonly Objective objective;
    private readonly int[] text;
    // Of a packed row: the text with its marks.
    private readonly int[] marked;
    private readonly int? tells;

    /// <exception cref="LegatoException">The objective makes no sense of such rows.</exception>
    public RowMaker(Objective objective, RowShape shape)
    {
        if (Math.Max(shape.Sequence, shape.Source) < objective.ShortestRow)
            throw new LegatoException(
                $"rows of {Counted.Of(Math.Max(shape.Sequence, shape.Source), "token")} are too short for this objective", "seq",
                $"give a sequence of at least {objective.ShortestRow}");
        (this.objective, this.shape) = (objective, shape);
        text = new int[objective.TextLength(shape)];
        marked = shape.IsPacked ? new int[text.Length] : text;
        tells = objective.Tells;
    }

    /// <summary>From one row's text to the next one's: a row's last token is the next one's first.</summary>
    public int Stride => text.Length - 1;

    /// <summary>Whole texts of rows that fit into a range.</summary>
    /// <exception cref="LegatoException">None fits.</exception>
    public long RowsOf(TokenRange range) => range.Length > Stride
        ? (range.Length - 1) / Stride
        : throw new LegatoException(
            $"a sequence of {Counted.Of(Stride, "token")} and its last label need {Stride + 1} tokens; this part of the data has {range.Length}", range.Data.Text,
            "give more text, or a shorter sequence");

    /// <summary>Fills a row from the range's text at <paramref name="start"/>.</summary>
    public void Make(TokenRange range, long start, RowRandom random, Row row)
    {
        range.Read(start, marked);
        if (!shape.IsPacked)
        {
            objective.Fill(text, ref random, row);
            return;
        }
        if (tells is not { } behind)
        {
            Join(random, row);
            return;
        }
        for (int i = 0; i < text.Length; i++)
            text[i] = TokenMarks.NumberOf(marked[i]);
        objective.Fill(text, ref random, row);
        KeepApart(row, behind);
    }

    // The end of a document doesn't tell the beginning of the next.
    private void KeepApart(Row row, int behind)
    {
        int start = 0;
        for (int i = 0; i < row.Tokens.Length; i++)
        {
            start = TokenMarks.BeginsDocument(marked[i]) ? i : start;
            row.Starts[i] = start;
            int told = marked[i + behind];
            if (TokenMarks.IsGiven(told) || behind > 0 && TokenMarks.BeginsDocument(told))
                row.Labels[i] = Objective.Ignored;
        }
    }

    // An example of each document, one behind another; what is left of the row is a document that tells nothing.
    private void Join(RowRandom random, Row row)
    {
        int place = 0;
        for (int begin = 0, end; begin < marked.Length && place < row.Tokens.Length; begin = end)
        {
            end = begin + 1;
            while (end < marked.Length && !TokenMarks.BeginsDocument(marked[end]))
                end++;
            int taken = objective.FillDocument(marked.AsSpan(begin..end), ref random, row.From(place));
            row.Starts.Slice(place, taken).Fill(place);
            place += taken;
        }
        row.Tokens[place..].Clear();
        row.Labels[place..].Fill(Objective.Ignored);
        row.Starts[place..].Fill(place);
        Unmark(row);
    }

    private static void Unmark(Row row)
    {
        for (int i = 0; i < row.Tokens.Length; i++)
        {
            row.Tokens[i] = TokenMarks.NumberOf(row.Tokens[i]);
            if (row.Labels[i] >= 0)
                row.Labels[i] = TokenMarks.IsGiven(row.Labels[i]) ? Objective.Ignored : TokenMarks.NumberOf(row.Labels[i]);
        }
    }
}
