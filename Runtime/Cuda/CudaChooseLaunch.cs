using Legato.Runtime.Cpu;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>The choice of a token a row, by a cluster of blocks where the GPU has clusters and the row is long.</summary>
internal sealed class CudaChooseLaunch : CudaLaunch
{
    private const int Threads = 1024;

    private readonly CudaView[] views;
    private readonly CpuExtent rows, width;
    private readonly int blocks;
    private readonly CudaMemory listed;
    private readonly Lazy<CudaCall> call;

    public CudaChooseLaunch(Step.Choose step, CudaLowering lowering)
        : base(step.Name, step.Cost, lowering)
    {
        views = lowering.Views([step.Logits, step.Settings, step.Streams, step.Places, step.Tokens]);
        (rows, width) = (lowering.Extent(step.Rows), lowering.Extent(step.Width));
        listed = lowering.Scratch(lowering.Resources.Plan.Maximum(step.Rows * step.Width) * sizeof(uint));
        blocks = lowering.Device.HasClusters && lowering.Bounds(step.Width).High > Threads ? CudaDevice.LargestCluster : 1;
        string constants = $"#define BLOCKS {blocks}\n#define POINT {TokenWeight.Point}\n#define LARGEST {TokenWeight.Largest}\n#define NEVER {TokenWeight.Never}u\n#define NONE {Step.Choose.None}\n";
        string source = CudaCompiler.Prelude + constants + CudaCompiler.Resource("ChooseToken.cu");
        lowering.Want(source);
        call = new Lazy<CudaCall>(() => new CudaCall(lowering.Device.Compiler.Load(source).Function("choose_token"), views.Length + 2, step.Name)
        {
            Threads = Threads,
            ClusterX = blocks,
            StartsEarly = lowering.Device.OverlapsLaunches,
        });
    }

    public override void Bind(ReadOnlySpan<long> dimensions)
    {
        base.Bind(dimensions);
        Span<long> arguments = call.Value.Arguments;
        for (int i = 0; i < views.Length; i++)
            arguments[i] = views[i].Address(dimensions);
        (arguments[^2], arguments[^1]) = (listed.Address, width.Evaluate(dimensions));
        call.Value.BlocksX = rows.Evaluate(dimensions) * blocks;
    }

    public override void Enqueue(nint stream) => call.Value.Enqueue(stream);
}
