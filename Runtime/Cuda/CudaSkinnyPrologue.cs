using Legato.Runtime.Cpu;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>
/// The kernel before products of few rows that makes their left operand, and nothing else does with what it makes: a norm. Each
/// block makes the rows for itself, in shared memory, which takes less time than a launch.
/// </summary>
internal sealed class CudaSkinnyPrologue
{
    private const int MostBytes = 16 << 10;

    /// <summary>Bytes that a prefetch brings.</summary>
    private const int Line = 128;

    private const string Function = "prologue", BlockType = "PrologueBlock";

    private readonly CudaKernelText text;
    private readonly CudaView[] views;
    private readonly CpuExtent[] extents;
    private readonly int made;
    private readonly IReadOnlyList<(int Operand, long Bytes)> awaited;

    private CudaSkinnyPrologue(Step.Fused step, CudaKernelText text, CudaView[] views, int made, long columns, CudaLowering lowering)
    {
        awaited = [.. Enumerable.Range(0, views.Length).Where(i => lowering.IsParameter(step.Operands[i])).Select(i => (i, Math.Min(columns * views[i].Type.Size(), lowering.BytesOf(step.Operands[i]))))];
        (this.text, this.views, this.made, Cost) = (text, views, made, step.Cost);
        extents = lowering.Extents(text.Extents);
        Bytes = (int)lowering.BytesOf(step.Operands[made]);
    }

    public Cost Cost { get; }

    /// <summary>Shared memory for what is made.</summary>
    public int Bytes { get; }

    /// <summary>What it reads.</summary>
    public IEnumerable<CudaView> Reads => views.Where((_, i) => i != made);

    /// <summary>Words among the launch's.</summary>
    public int Arguments => views.Length + extents.Length;

    /// <summary>Null where the kernel is no such prologue of the products.</summary>
    /// <param name="threads">Of a block.</param>
    public static CudaSkinnyPrologue? Of(Step.Fused step, ProductRun run, int threads, CudaLowering lowering)
    {
        Step.MatrixProduct product = run.Chains[0][0];
        int made = step.Operands.ToList().IndexOf(product.Left.View);
        if (made < 0 || Enumerable.Range(0, step.Operands.Count).Any(i => step.Kernel.Operands[i].Access != (i == made ? Access.Write : Access.Read)))
            return null;
        if (!lowering.IsPassed(product.Left.View, run.Length) || lowering.BytesOf(product.Left.View) > MostBytes)
            return null;
        CudaView[] views = lowering.Views(step.Operands);
        OperandMemory[] memory = CudaLowering.Memory(views);
        CudaKernelText text = lowering.Spelled(step.Kernel, "prologue", memory, () => CudaKernelWriter.Write(
            IndependentLoops.ToGrid(step.Kernel, memory), memory, lowering.Bounds, lowering.Device.SharedBytesOfHalf));
        bool isRowByRow = text.Schedule is { Grid: [var rows], Columns: null } && rows.From is Expr.Integer { Value: 0 } && rows.To.Equals(CudaLowering.SizeOf(product.M));
        return isRowByRow && text.SharedBytes == 0 && text.Schedule.Threads == threads ? new CudaSkinnyPrologue(step, text, views, made, product.K.IsConstant ? product.K.Constant : 0, lowering) : null;
    }

    public void Bind(Span<long> arguments, ReadOnlySpan<long> dimensions)
    {
        for (int i = 0; i < views.Length; i++)
            arguments[i] = i == made ? 0 : views[i].Address(dimensions);
        for (int i = 0; i < extents.Length; i++)
            arguments[views.Length + i] = extents[i].Evaluate(dimensions);
    }

    /// <summary>
    /// The structure Prologue of its arguments, the function expect, which fetches what parameters it reads of a row into the
    /// second-level cache, and the function prepare, which makes the rows.
    /// </summary>
    public void Write(CudaText source)
    {
        source.Line($"struct {BlockType} {{ unsigned x; }};");
        source.Append(text.Part(Function, BlockType));
        source.Open("struct Prologue");
        foreach ((string type, string name) in text.Parameters)
            source.Line($"{type.Replace("__restrict__", "", StringComparison.Ordinal)} {name};");
        source.Close();
        source.Line(";");
        IEnumerable<string> arguments = text.Parameters.Select((p, i) => i == made ? "rows" : i < views.Length ? $"x.{p.Name} + start" : $"x.{p.Name}");
        source.Open("__device__ __forceinline__ void expect(const Prologue& x)");
        foreach ((int operand, long bytes) in awaited)
            source.Line($"for (int i = threadIdx.x * {Line}; i < {bytes}; i += blockDim.x * {Line}) prefetch((const char*)x.p{operand} + i);");
        source.Close();
        source.Line("// `start` is 0, which is known once what is read is there.");
        source.Open("__device__ __forceinline__ void prepare(const Prologue& x, Element* rows, int m, int start)");
        source.Open($"for (int block = 0; block * {text.Schedule.Rows} < m; block++)");
        source.Line($"{Function}({string.Join(", ", arguments)}, {BlockType}{{(unsigned)block}});");
        source.Line("__syncthreads();");
        source.Close();
        source.Close();
    }
}
