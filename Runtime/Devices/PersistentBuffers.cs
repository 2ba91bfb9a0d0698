using Legato.Runtime.Plans;

namespace Legato.Runtime.Devices;

/// <summary>Finds what a plan asks for among the buffers that outlive it.</summary>
internal static class PersistentBuffers
{
    /// <exception cref="LegatoException">There is no memory of that name, it is too small, or another device's.</exception>
    public static TMemory Find<TMemory>(Plan plan, PlanBuffer buffer, IReadOnlyDictionary<string, IDeviceMemory> persistent)
        where TMemory : class, IDeviceMemory
    {
        if (!persistent.TryGetValue(buffer.Name, out IDeviceMemory? memory))
            throw new LegatoException(
                $"the {plan.Purpose.ToString().ToLowerInvariant()} plan of {plan.Model} needs a buffer '{buffer.Name}' that was not given",
                buffer.Name, "allocate every persistent buffer of the plan before compiling it");
        long needed = plan.Maximum(buffer.Bytes);
        if (memory.Bytes < needed)
            throw new LegatoException(
                $"'{buffer.Name}' has {memory.Bytes} bytes, the {plan.Purpose.ToString().ToLowerInvariant()} plan of {plan.Model} needs {needed}",
                buffer.Name, "allocate it for the largest of the plans that share it");
        return memory as TMemory
            ?? throw new LegatoException($"'{buffer.Name}' is memory of another device", buffer.Name, "allocate it on the device that compiles the plan");
    }
}
