using Legato.Runtime.Cpu;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>A generated kernel over its operands.</summary>
internal sealed class CudaKernelLaunch : CudaLaunch
{
    private readonly CudaKernelText text;
    private readonly CudaView[] views;
    private readonly CpuExtent[] extents;
    private readonly CudaLowering lowering;
    private readonly CudaCall call;

    public CudaKernelLaunch(string name, Cost cost, Kernel kernel, CudaView[] views, CudaLowering lowering)
        : base(name, cost, lowering)
    {
        CudaLowering.CheckOperands(kernel, views);
        (this.views, this.lowering) = (views, lowering);
        text = lowering.Write(kernel, views);
        extents = lowering.Extents(text.Extents);
        call = new CudaCall(lowering.Function(text), views.Length + extents.Length + (text.Schedule.Columns is null ? 0 : 1), name)
        {
            Threads = text.Schedule.Threads,
            SharedBytes = text.SharedBytes,
            StartsEarly = lowering.StartsKernelsEarly,
        };
    }

    public override void Bind(ReadOnlySpan<long> dimensions)
    {
        base.Bind(dimensions);
        Span<long> arguments = call.Arguments;
        for (int i = 0; i < views.Length; i++)
            arguments[i] = views[i].Address(dimensions);
        for (int i = 0; i < extents.Length; i++)
            arguments[views.Length + i] = extents[i].Evaluate(dimensions);
        if (text.Schedule.Columns is not null)
            arguments[^1] = text.Chunks(lowering.Size);
        call.BlocksX = text.Blocks(lowering.Size);
    }

    public override void Enqueue(nint stream) => call.Enqueue(stream);
}
