using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>Sorts rows by group: a block a group.</summary>
internal sealed class CudaDispatchLaunch : CudaLaunch
{
    private const int Threads = 1024;

    private readonly CudaRowGroups rows;
    private readonly CudaView index;
    private readonly CudaCall call;

    public CudaDispatchLaunch(Step.Dispatch step, CudaRowGroups rows, CudaView index, CudaLowering lowering)
        : base(step.Name, step.Cost, lowering)
    {
        (this.rows, this.index) = (rows, index);
        call = new CudaCall(lowering.Device.Compiler.Load(CudaGatherCall.Source).Function("dispatch"), 4, step.Name) { Threads = Threads, BlocksX = rows.Groups };
    }

    public override void Bind(ReadOnlySpan<long> dimensions)
    {
        base.Bind(dimensions);
        long[] arguments = [index.Address(dimensions), rows.Offsets.Address(dimensions), rows.Order.Address(dimensions), rows.Count(dimensions)];
        arguments.CopyTo(call.Arguments);
    }

    public override void Enqueue(nint stream) => call.Enqueue(stream);
}
