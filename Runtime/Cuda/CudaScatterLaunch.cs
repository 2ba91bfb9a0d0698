using Legato.Runtime.Cpu;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>Rows added to the rows of a target that an index names.</summary>
internal sealed class CudaScatterLaunch : CudaLaunch
{
    private readonly CudaView[] views;
    private readonly CpuExtent[] extents;
    private readonly Lazy<CudaCall> call;

    public CudaScatterLaunch(string name, Cost cost, Kernel kernel, ScatterSums sums, CudaView[] views, CudaLowering lowering)
        : base(name, cost, lowering)
    {
        CudaLowering.CheckOperands(kernel, views);
        this.views = views;
        (string text, IReadOnlyList<Extent> sizes) = CudaScatterText.Write(kernel, sums, CudaLowering.Memory(views), lowering.Bounds);
        extents = lowering.Extents(sizes);
        CudaView target = views[sums.Store.Operand];
        long rows = (target.End - target.Start) / target.Type.Size() / sums.Stride;
        string source = CudaCompiler.Prelude + text;
        lowering.Want(source);
        call = new Lazy<CudaCall>(() => new CudaCall(lowering.Device.Compiler.Load(source).Function(CudaScatterText.Function), views.Length + extents.Length, name)
        {
            Threads = CudaScatterText.Threads,
            BlocksX = (rows + CudaScatterText.TargetRows - 1) / CudaScatterText.TargetRows,
        });
    }

    public override void Bind(ReadOnlySpan<long> dimensions)
    {
        base.Bind(dimensions);
        Span<long> arguments = call.Value.Arguments;
        for (int i = 0; i < views.Length; i++)
            arguments[i] = views[i].Address(dimensions);
        for (int i = 0; i < extents.Length; i++)
            arguments[views.Length + i] = extents[i].Evaluate(dimensions);
    }

    public override void Enqueue(nint stream) => call.Value.Enqueue(stream);
}
