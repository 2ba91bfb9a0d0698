using System.Runtime.InteropServices;
using Legato.Runtime.Devices;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Training;

/// <summary>How a router divided the tokens of the last step: for each of its layers every expert's share; a layer's shares sum to one.</summary>
public sealed class RouterLoad
{
    private const string Suffix = ".load";

    private readonly IDeviceMemory memory;
    private readonly float[] shares;

    private RouterLoad(IExecutable executable, PlanBuffer buffer)
    {
        Router = buffer.Name[..^Suffix.Length];
        Experts = (int)buffer.Axes[^1].Size.Constant;
        memory = executable.Memory(buffer);
        shares = new float[buffer.Elements.Constant];
    }

    /// <summary>The router's path among the parameters.</summary>
    public string Router { get; }

    public int Experts { get; }

    public int Layers => shares.Length / Experts;

    /// <summary>The routers that a <see cref="Purpose.Train"/> plan tells of.</summary>
    public static RouterLoad[] Of(IExecutable executable) =>
        [.. executable.Plan.Buffers
            .Where(b => b.Class == BufferClass.Output && b.Name.EndsWith(Suffix, StringComparison.Ordinal))
            .Select(b => new RouterLoad(executable, b))];

    /// <summary>Takes the shares of the step that ran last.</summary>
    public void Read() => memory.Read(0, MemoryMarshal.AsBytes(shares.AsSpan()));

    public ReadOnlySpan<float> Shares(int layer) => shares.AsSpan(layer * Experts, Experts);
}
