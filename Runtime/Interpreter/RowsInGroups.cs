using Legato.Runtime.Plans;

namespace Legato.Runtime.Interpreter;

/// <summary>The rows of each group as a dispatch left them.</summary>
internal readonly struct RowsInGroups(InterpreterExecutable executable, RowGroups rows)
{
    private readonly ElementView offsets = executable.View(rows.Offsets), order = executable.View(rows.Order);

    public IEnumerable<long> Of(int group)
    {
        for (long at = offsets.Integer(group); at < offsets.Integer(group + 1); at++)
            yield return order.Integer(at);
    }
}

/// <summary>An operand that rows share.</summary>
internal readonly struct SharedRows(InterpreterExecutable executable, GroupedMatrix matrix)
{
    private readonly ElementView elements = executable.View(matrix.View);
    private readonly long stride = executable.Size(matrix.Stride), share = matrix.Share;

    /// <summary>So many columns of what a row shares.</summary>
    public double[] Row(long row, long columns) => elements.Floats(row / share * stride, 1, columns);
}
