using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>A kernel as CUDA C++, and how to launch it.</summary>
/// <param name="Text">The function, which wants the prelude before it.</param>
/// <param name="Extents">Sizes that follow the operands among its parameters; all parameters have 64 bits.</param>
/// <param name="Schedule">Where its block and grid come from.</param>
/// <param name="SharedBytes">Shared memory of a block that it wants given at the launch.</param>
internal sealed record CudaKernelText(string Text, IReadOnlyList<Extent> Extents, CudaSchedule Schedule, int SharedBytes)
{
    public const string Function = "fused";

    /// <summary>Blocks that share the columns of a row.</summary>
    public long Chunks(Func<Extent, long> size) => Schedule.Columns is { } columns
        ? Math.Max(1, (LaunchValue.Of(columns, size) + Schedule.ChunkColumns - 1) / Schedule.ChunkColumns)
        : 1;

    /// <summary>
    /// The same kernel, which lets the next one start while it runs and may itself have started before those ahead of it have
    /// ended: it waits for them before it reads an operand.
    /// </summary>
    public CudaKernelText StartingEarly(int operands)
    {
        const string Opening = "{\n";
        IEnumerable<string> moved = Enumerable.Range(0, operands).Select(i => $"  p{i} += start;\n");
        int at = Text.IndexOf(Opening, StringComparison.Ordinal) + Opening.Length;
        return this with { Text = Text.Insert(at, "  let_next_start();\n  const int start = await_inputs();\n" + string.Concat(moved)) };
    }

    /// <summary>Blocks of a launch.</summary>
    public long Blocks(Func<Extent, long> size)
    {
        long rows = 1;
        foreach (Statement.Loop loop in Schedule.Grid)
            rows *= Math.Max(0, LaunchValue.Of(loop.To, size) - LaunchValue.Of(loop.From, size));
        return (rows + Schedule.Rows - 1) / Schedule.Rows * Chunks(size);
    }
}
