using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>
/// A product of an odd size: in parts, of which the aligned one is computed at full speed, or whole, by a kernel that takes it as it is, where that took
/// clearly less time or nothing was measured.
/// </summary>
internal sealed class CudaOddProductLaunch(Step.MatrixProduct step, CudaProductLaunch whole, CudaProductLaunch[] parts, CudaLowering lowering)
    : CudaLaunch(step.Name, step.Cost, lowering)
{
    private bool inParts;

    public override void Bind(ReadOnlySpan<long> dimensions)
    {
        base.Bind(dimensions);
        whole.Bind(dimensions);
        foreach (CudaProductLaunch part in parts)
            part.Bind(dimensions);
        double seconds = parts.Sum(part => part.Seconds);
        inParts = !double.IsNaN(seconds) && !MeasuredChoice.Displaces(whole.Seconds, seconds);
    }

    public override void Load()
    {
        foreach (CudaProductLaunch launch in inParts ? parts : [whole])
            launch.Load();
    }

    public override void Enqueue(nint stream)
    {
        if (!inParts)
            whole.Enqueue(stream);
        else
            foreach (CudaProductLaunch part in parts)
                part.Enqueue(stream);
    }
}
