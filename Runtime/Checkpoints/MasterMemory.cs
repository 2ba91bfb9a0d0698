using System.Runtime.InteropServices;
using Legato.Runtime.Devices;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Checkpoints;

/// <summary>
/// A parameter that training keeps twice (<see cref="MasterWeights"/>), as one memory of float32: what is written goes to
/// the master, and rounded to what the model reads; what is read is the master.
/// </summary>
internal sealed class MasterMemory(IDeviceMemory master, ParameterMemory rounded) : IDeviceMemory
{
    public long Bytes => master.Bytes;

    public void Write(long offset, ReadOnlySpan<byte> source)
    {
        master.Write(offset, source);
        rounded.WriteRounded(offset / sizeof(float), MemoryMarshal.Cast<byte, float>(source));
    }

    public void Read(long offset, Span<byte> target) => master.Read(offset, target);

    /// <summary>Both belong to the model's memory.</summary>
    public void Dispose()
    {
    }
}
