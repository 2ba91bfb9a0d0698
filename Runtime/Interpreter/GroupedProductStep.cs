using Legato.Runtime.Plans;

namespace Legato.Runtime.Interpreter;

/// <summary>Output[r, n] = Σ_k Left[r / share, k] · Right[g, k, n] for each row r of each group g, then the epilogue over all rows.</summary>
internal static class GroupedProductStep
{
    public static void Execute(InterpreterExecutable executable, Step.GroupedProduct step)
    {
        var rows = new RowsInGroups(executable, step.Rows);
        for (int group = 0; group < step.Rows.Groups; group++)
            Multiply(executable, step, group, [.. rows.Of(group)]);
        if (step.Epilogue is { } epilogue)
            KernelStep.Execute(
                executable, epilogue, [step.Output.View, .. step.EpilogueOperands],
                [0, executable.Size(step.Rows.Count), 0, executable.Size(step.N)]);
    }

    private static void Multiply(InterpreterExecutable executable, Step.GroupedProduct step, int group, long[] rows)
    {
        var left = new SharedRows(executable, step.Left);
        ElementView right = executable.View(step.Right.View), output = executable.View(step.Output.View);
        long rightRow = executable.Size(step.Right.RowStride), rightColumn = executable.Size(step.Right.ColumnStride);
        long first = group * executable.Size(step.RightGroupStride), inner = executable.Size(step.K);
        long outputRow = executable.Size(step.Output.RowStride), outputColumn = executable.Size(step.Output.ColumnStride);
        double[][] lefts = [.. rows.Select(row => left.Row(row, inner))];
        for (long n = 0; n < executable.Size(step.N); n++)
        {
            double[] column = right.Floats(first + n * rightColumn, rightRow, inner);
            for (int i = 0; i < rows.Length; i++)
            {
                double[] row = lefts[i];
                double sum = 0;
                for (int k = 0; k < column.Length; k++)
                    sum += row[k] * column[k];
                output.Store(rows[i] * outputRow + n * outputColumn, sum);
            }
        }
    }
}
