using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>
/// A kernel that goes once through the elements of a matrix, one by one or by pairs of a row at one distance, as rotary
/// positions or an append to a cache do: whoever has made the elements can carry it out on them.
/// </summary>
/// <param name="Row">The loop variable of the matrix's rows.</param>
/// <param name="Digits">The other loops: what their variables are in column c, the first of a pair.</param>
/// <param name="Distance">Between the columns of a pair; 0 where elements stand alone.</param>
/// <param name="Body">What is done.</param>
internal sealed record ElementKernel(string Row, IReadOnlyList<ElementDigit> Digits, long Distance, IReadOnlyList<Statement> Body)
{
    /// <param name="source">The operand that is the matrix, of so many rows and columns.</param>
    public static ElementKernel? Of(Kernel kernel, int source, Extent rows, Extent rowStride, long columns)
    {
        var loops = new List<Statement.Loop>();
        IReadOnlyList<Statement> body = kernel.Body;
        while (body is [Statement.Loop { From: Expr.Integer { Value: 0 } } loop])
        {
            loops.Add(loop);
            body = loop.Body;
        }
        Plans.Index[] reads = [.. body.SelectMany(s => s.Expressions()).SelectMany(e => e.AllLoads()).Where(l => l.Operand == source).Select(l => l.At).Distinct()];
        if (body.Any(s => s is not (Statement.Let or Statement.Store)) || reads.Length is 0 or > 2
            || loops.Find(l => Size(l.To)?.Equals(rows) == true && StrideOf(reads[0], l.Variable)?.Equals(rowStride) == true) is not { } row)
            return null;
        Statement.Loop[] others = [.. loops.Where(l => l != row)];
        if (others.Any(l => Size(l.To) is not { IsConstant: true }))
            return null;
        ElementDigit[] digits = [.. others.Select(l => new ElementDigit(l.Variable, reads[0].StrideOf(l.Variable) ?? 0, Size(l.To)!.Constant))];
        if (Offsets(reads, row.Variable, rowStride, digits) is not { } offsets || offsets[0] != 0)
            return null;
        long distance = offsets.Length == 2 ? offsets[1] : 0;
        IEnumerable<ElementDigit> all = distance > 0 ? digits.Append(new ElementDigit("", distance, 2)) : digits;
        return Counts(all, columns) ? new ElementKernel(row.Variable, digits, distance, body) : null;
    }

    /// <summary>The row stride of what an operand is given, if that is a matrix of the same columns, element by element; else null.</summary>
    public Extent? RowStrideOf(int written)
    {
        Plans.Index[] places = [.. Body.OfType<Statement.Store>().Where(s => s.Operand == written).Select(s => s.At).Distinct()];
        long[] wanted = Distance > 0 ? [0, Distance] : [0];
        return places.Length > 0 && StrideOf(places[0], Row) is { } stride && Offsets(places, Row, stride, Digits) is { } offsets && offsets.SequenceEqual(wanted)
            ? stride
            : null;
    }

    private static Extent? Size(Expr expression) => expression switch
    {
        Expr.Integer integer => Extent.Of(integer.Value),
        Expr.Size size => size.Extent,
        _ => null,
    };

    /// <summary>The stride of the one term that is a variable; null where there is none, or more.</summary>
    private static Extent? StrideOf(Plans.Index index, string variable)
    {
        IndexTerm[] terms = [.. index.Terms.Where(t => t.Value.Mentions(variable))];
        return terms is [{ Value: Expr.Variable } term] ? term.Stride : null;
    }

    /// <summary>The constants of indices, ascending; null where one is more than rows, digits and a constant.</summary>
    private static long[]? Offsets(IEnumerable<Plans.Index> indices, string row, Extent rowStride, IReadOnlyList<ElementDigit> digits)
    {
        var offsets = new List<long>();
        foreach (Plans.Index index in indices)
        {
            if (StrideOf(index, row)?.Equals(rowStride) != true || digits.Any(d => d.Count > 1 && index.StrideOf(d.Variable) != d.Stride))
                return null;
            long offset = 0;
            foreach (IndexTerm term in index.Terms)
                if (term is { Value: Expr.Integer value, Stride: { IsConstant: true } stride })
                    offset += value.Value * stride.Constant;
                else if (term.Value is not Expr.Variable)
                    return null;
            offsets.Add(offset);
        }
        return [.. offsets.Order()];
    }

    /// <summary>Whether digits of these strides count through all columns, each once.</summary>
    private static bool Counts(IEnumerable<ElementDigit> digits, long columns)
    {
        long reach = 1;
        foreach (ElementDigit digit in digits.Where(d => d.Count != 1).OrderBy(d => d.Stride))
        {
            if (digit.Stride != reach)
                return false;
            reach *= digit.Count;
        }
        return reach == columns;
    }
}

/// <summary>A loop's variable as a digit of a column's number.</summary>
internal readonly record struct ElementDigit(string Variable, long Stride, long Count);
