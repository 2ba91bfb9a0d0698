using Legato.Runtime.Plans;

namespace Legato.Runtime.Interpreter;

/// <summary>Output[g, m, n] = Σ_r Left[r / share, m] · Right[r / share, n] over the rows of each group.</summary>
internal static class GroupedGradientStep
{
    public static void Execute(InterpreterExecutable executable, Step.GroupedGradient step)
    {
        var rows = new RowsInGroups(executable, step.Rows);
        var left = new SharedRows(executable, step.Left);
        var right = new SharedRows(executable, step.Right);
        ElementView output = executable.View(step.Output.View);
        long groupStride = executable.Size(step.OutputGroupStride);
        long rowStride = executable.Size(step.Output.RowStride), columnStride = executable.Size(step.Output.ColumnStride);
        long height = executable.Size(step.M), width = executable.Size(step.N);
        for (int group = 0; group < step.Rows.Groups; group++)
        {
            (double[] Left, double[] Right)[] pairs = [.. rows.Of(group).Select(row => (left.Row(row, height), right.Row(row, width)))];
            for (long m = 0; m < height; m++)
                for (long n = 0; n < width; n++)
                {
                    double sum = 0;
                    foreach ((double[] a, double[] b) in pairs)
                        sum += a[m] * b[n];
                    output.Store(group * groupStride + m * rowStride + n * columnStride, sum);
                }
        }
    }
}
