using Legato.Runtime.Plans;

namespace Legato.Runtime.Interpreter;

/// <summary>Output[m, n] (+)= Σ_k Left[m, k] · Right[k, n] for every index of the batch loops, then the epilogue over all of it.</summary>
internal static class MatrixProductStep
{
    public static void Execute(InterpreterExecutable executable, Step.MatrixProduct step)
    {
        ExecuteBatch(executable, step, 0, 0, 0, 0);
        if (step.Epilogue is { } epilogue)
            KernelStep.Execute(
                executable, epilogue, [step.Output.View, .. step.EpilogueOperands],
                [0, executable.Size(step.M), 0, executable.Size(step.N)]);
    }

    private static void ExecuteBatch(InterpreterExecutable executable, Step.MatrixProduct step, int depth, long left, long right, long output)
    {
        if (depth == step.Batch.Count)
        {
            Multiply(executable, step, left, right, output);
            return;
        }
        BatchLoop loop = step.Batch[depth];
        long count = executable.Size(loop.Count);
        long leftStride = executable.Size(loop.LeftStride), rightStride = executable.Size(loop.RightStride), outputStride = executable.Size(loop.OutputStride);
        for (long i = 0; i < count; i++)
            ExecuteBatch(executable, step, depth + 1, left + i * leftStride, right + i * rightStride, output + i * outputStride);
    }

    private static void Multiply(InterpreterExecutable executable, Step.MatrixProduct step, long left, long right, long output)
    {
        long rows = executable.Size(step.M), columns = executable.Size(step.N), inner = executable.Size(step.K);
        ElementView a = executable.View(step.Left.View), b = executable.View(step.Right.View), c = executable.View(step.Output.View);
        long aRow = executable.Size(step.Left.RowStride), aColumn = executable.Size(step.Left.ColumnStride);
        long bRow = executable.Size(step.Right.RowStride), bColumn = executable.Size(step.Right.ColumnStride);
        long cRow = executable.Size(step.Output.RowStride), cColumn = executable.Size(step.Output.ColumnStride);
        for (long m = 0; m < rows; m++)
            for (long n = 0; n < columns; n++)
            {
                long at = output + m * cRow + n * cColumn;
                double sum = step.Accumulate ? c.Float(at) : 0;
                for (long k = 0; k < inner; k++)
                    sum += a.Float(left + m * aRow + k * aColumn) * b.Float(right + k * bRow + n * bColumn);
                c.Store(at, sum);
            }
    }
}
