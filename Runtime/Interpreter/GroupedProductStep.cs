using Legato.Runtime.Plans;

namespace Legato.Runtime.Interpreter;

/// <summary>Output[r, n] = Σ_k Left[r / share, k] · Right[g, k, n] for each row r of each group g, then the epilogue over all rows.</summary>
internal static class GroupedProductStep
{
    public static void Execute(InterpreterExecutable executable, Step.GroupedProduct step)
    {
        var rows = new RowsInGroups(executable, step.Rows);
        for (int group = 0; group < step.Rows.Groups; group++)
            foreach (long row in rows.Of(group))
                Multiply(executable, step, group, row);
        if (step.Epilogue is { } epilogue)
            KernelStep.Execute(
                executable, epilogue, [step.Output.View, .. step.EpilogueOperands],
                [0, executable.Size(step.Rows.Count), 0, executable.Size(step.N)]);
    }

    private static void Multiply(InterpreterExecutable executable, Step.GroupedProduct step, int group, long row)
    {
        var left = new SharedRows(executable, step.Left);
        ElementView right = executable.View(step.Right.View), output = executable.View(step.Output.View);
        long rightRow = executable.Size(step.Right.RowStride), rightColumn = executable.Size(step.Right.ColumnStride);
        long first = group * executable.Size(step.RightGroupStride), inner = executable.Size(step.K);
        long outputRow = row * executable.Size(step.Output.RowStride), outputColumn = executable.Size(step.Output.ColumnStride);
        for (long n = 0; n < executable.Size(step.N); n++)
        {
            double sum = 0;
            for (long k = 0; k < inner; k++)
                sum += left[row, k] * right.Float(first + k * rightRow + n * rightColumn);
            output.Store(outputRow + n * outputColumn, sum);
        }
    }
}
