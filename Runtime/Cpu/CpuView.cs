using Legato.Runtime.Plans;

namespace Legato.Runtime.Cpu;

/// <summary>A view in one execution of a step: the memory of its buffer, and its offset there.</summary>
internal sealed class CpuView(CpuMemory memory, PlanBuffer buffer, CpuRange range, CpuExtent offset)
{
    public ScalarType Type => buffer.Type;

    public string Name => buffer.Name;

    /// <summary>What the view may touch at most: its whole buffer.</summary>
    public CpuRange Range => range;

    /// <summary>Whether its buffer lies in <see cref="WeightPanels"/> now.</summary>
    public bool InPanels => memory.Panels is not null;

    public nint Address(ReadOnlySpan<long> dimensions) => memory.Address + (nint)(offset.Evaluate(dimensions) * buffer.Type.Size());
}

/// <summary>Bytes of a space: the arena, or one persistent buffer.</summary>
internal readonly record struct CpuRange(int Space, long Start, long End)
{
    public bool Overlaps(in CpuRange other) => Space == other.Space && Start < other.End && other.Start < End;
}

/// <summary>What a step does to a range.</summary>
/// <param name="Alone">Whether worker 0 does it alone, so that it is in order with whatever else it does alone.</param>
internal readonly record struct CpuAccess(CpuRange Range, bool Writes, bool Alone)
{
    /// <summary>Whether a later access must wait until this one has ended on all workers.</summary>
    public bool Orders(in CpuAccess later) =>
        (Writes || later.Writes) && !(Alone && later.Alone) && Range.Overlaps(later.Range);
}
