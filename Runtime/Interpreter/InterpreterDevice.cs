using Legato.Runtime.Devices;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Interpreter;

/// <summary>
/// The oracle: executes a plan as its documentation reads, element by element, in float64 between loads and stores.
/// Every index is checked against its buffer. For tests and small plans; nothing here is fast.
/// </summary>
public sealed class InterpreterDevice : IDevice
{
    public string Name => "interpreter";

    public long BytesAllocated { get; private set; }

    public IDeviceMemory Allocate(long bytes) => new InterpreterMemory(this, bytes);

    public IExecutable Compile(Plan plan, IReadOnlyDictionary<string, IDeviceMemory> persistent) =>
        new InterpreterExecutable(this, plan, persistent);

    public void Dispose()
    {
    }

    internal void Count(long bytes) => BytesAllocated += bytes;
}
