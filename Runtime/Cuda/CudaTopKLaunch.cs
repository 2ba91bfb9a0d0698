using Legato.Runtime.Cpu;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>The K largest of each row: a warp a row, which looks for the next largest K times.</summary>
internal sealed class CudaTopKLaunch : CudaLaunch
{
    private const int Threads = 128, Warp = 32;

    private readonly Step.TopK step;
    private readonly CudaView[] views;
    private readonly CpuExtent rows, width;
    private readonly Lazy<CudaCall> call;

    /// <param name="views">Input, values, indices.</param>
    public CudaTopKLaunch(Step.TopK step, CudaView[] views, CudaLowering lowering)
        : base(step.Name, step.Cost, lowering)
    {
        (this.step, this.views) = (step, views);
        (rows, width) = (lowering.Extent(step.Rows), lowering.Extent(step.Width));
        string source = CudaCompiler.Prelude + $"typedef {CudaTypes.Name(views[0].Type)} Input;\ntypedef {CudaTypes.Name(views[1].Type)} Value;\n" + CudaCompiler.Resource("TopK.cu");
        lowering.Want(source);
        call = new Lazy<CudaCall>(() => new CudaCall(lowering.Device.Compiler.Load(source).Function("top_k"), 6, step.Name) { Threads = Threads });
    }

    public override void Bind(ReadOnlySpan<long> dimensions)
    {
        base.Bind(dimensions);
        Span<long> arguments = call.Value.Arguments;
        for (int i = 0; i < views.Length; i++)
            arguments[i] = views[i].Address(dimensions);
        (arguments[3], arguments[4], arguments[5]) = (rows.Evaluate(dimensions), width.Evaluate(dimensions), step.K);
        call.Value.BlocksX = (rows.Evaluate(dimensions) + Threads / Warp - 1) / (Threads / Warp);
    }

    public override void Enqueue(nint stream) => call.Value.Enqueue(stream);
}
