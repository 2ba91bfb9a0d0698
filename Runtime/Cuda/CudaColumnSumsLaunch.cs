using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>One of the sums that are finished at once: pieces one after another, of so many columns.</summary>
internal readonly record struct PiecesOfSum(CudaView Pieces, CudaView Result, long Columns);

/// <summary>Adds the pieces of column sums, part by part, and the parts, each in order: for all sums of a kernel.</summary>
/// <param name="parts">Of the plan; each has <paramref name="each"/> pieces.</param>
internal sealed class CudaColumnSumsLaunch(string name, Cost cost, PiecesOfSum[] sums, long parts, long each, CudaLowering lowering)
    : CudaLaunch(name, cost, lowering)
{
    /// <summary>Parts that a block's warps take.</summary>
    public const long MostParts = 32;

    private const int Words = 3, Lanes = 32;

    private readonly Lazy<CudaCall> call = new(() => new CudaCall(
        lowering.Device.Compiler.Load(Source(sums.Length)).Function("column_sums"), sums.Length * Words + 2, name)
    {
        Threads = Lanes * (int)MostParts,
        BlocksX = (sums.Max(s => s.Columns) + Lanes - 1) / Lanes,
        BlocksY = sums.Length,
    });

    public static string Source(int sums) => CudaCompiler.Prelude + $"#define SUMS {sums}\n" + CudaCompiler.Resource("ColumnSums.cu");

    public override void Bind(ReadOnlySpan<long> dimensions)
    {
        base.Bind(dimensions);
        Span<long> arguments = call.Value.Arguments;
        for (int i = 0; i < sums.Length; i++)
            (arguments[i * Words], arguments[i * Words + 1], arguments[i * Words + 2]) = (sums[i].Pieces.Address(dimensions), sums[i].Result.Address(dimensions), sums[i].Columns);
        (arguments[^2], arguments[^1]) = (parts, each);
    }

    public override void Enqueue(nint stream) => call.Value.Enqueue(stream);
}
