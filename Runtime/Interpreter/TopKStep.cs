using Legato.Runtime.Plans;

namespace Legato.Runtime.Interpreter;

/// <summary>The K largest of each row, largest first, ties to the lower index.</summary>
internal static class TopKStep
{
    public static void Execute(InterpreterExecutable executable, Step.TopK step)
    {
        ElementView input = executable.View(step.Input), values = executable.View(step.Values), indices = executable.View(step.Indices);
        long rows = executable.Size(step.Rows);
        int width = checked((int)executable.Size(step.Width));
        for (long row = 0; row < rows; row++)
        {
            long start = row * width;
            int[] order = [.. Enumerable.Range(0, width).OrderByDescending(i => input.Float(start + i)).ThenBy(i => i).Take(step.K)];
            for (int k = 0; k < order.Length; k++)
            {
                values.Store(row * step.K + k, input.Float(start + order[k]));
                indices.Store(row * step.K + k, (long)order[k]);
            }
        }
    }
}
