using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>A kernel as CUDA C++, which wants the prelude before it, and how to launch it.</summary>
/// <param name="Parameters">Types and names of its parameters: the operands, the extents, and the chunks where blocks share columns. All have 64 bits.</param>
/// <param name="Bounds">What its launches keep to: threads of a block, and blocks of a multiprocessor.</param>
/// <param name="Body">What stands between the function's braces.</param>
/// <param name="Extents">Sizes among the parameters.</param>
/// <param name="Schedule">Where its block and grid come from.</param>
/// <param name="SharedBytes">Shared memory of a block that it wants given at the launch.</param>
internal sealed record CudaKernelText(
    IReadOnlyList<(string Type, string Name)> Parameters, string Bounds, string Body, IReadOnlyList<Extent> Extents, CudaSchedule Schedule, int SharedBytes)
{
    public const string Function = "fused";

    /// <summary>The kernel.</summary>
    public string Text { get; } =
        $"extern \"C\" __global__ void __launch_bounds__({Bounds}) {Function}({ListOf(Parameters)}) {{\n{Body}}}\n";

    /// <summary>The same behind the prelude.</summary>
    public string Source => SpellingMemo.Of(this, "source", () => CudaCompiler.Prelude + Text);

    private static string ListOf(IEnumerable<(string Type, string Name)> parameters) => string.Join(", ", parameters.Select(p => $"{p.Type} {p.Name}"));

    /// <summary>The same as a part of a kernel, for a block that it is given in place of its own.</summary>
    /// <param name="block">A type with the block's number, x.</param>
    public string Part(string name, string block) => $"__device__ __forceinline__ void {name}({ListOf(Parameters)}, const {block} blockIdx) {{\n{Body}}}\n";

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
        IEnumerable<string> moved = Enumerable.Range(0, operands).Select(i => $"  p{i} += start;\n");
        string body = "  let_next_start();\n  const int start = await_inputs();\n" + string.Concat(moved) + Body;
        return new CudaKernelText(Parameters, Bounds, body, Extents, Schedule, SharedBytes);
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
