using Legato.Runtime.Plans;

namespace Legato.Runtime.Devices;

/// <summary>Bytes on a device; zeroed when allocated, 64-byte aligned at least.</summary>
public interface IDeviceMemory : IDisposable
{
    long Bytes { get; }

    /// <summary>Copies from the host.</summary>
    void Write(long offset, ReadOnlySpan<byte> source);

    /// <summary>Copies to the host, after everything launched before has ended.</summary>
    void Read(long offset, Span<byte> target);
}

/// <summary>
/// Allocates, compiles, launches. The compiler decides what runs and where its bytes live; a device decides how a
/// kernel is spelled.
/// </summary>
public interface IDevice : IDisposable
{
    /// <summary>"cpu", "interpreter", …</summary>
    string Name { get; }

    /// <summary>Bytes that memory of this device holds now, all of them together.</summary>
    long BytesAllocated { get; }

    /// <summary>Whether inference keeps activations in the precision's type: products take operands of one type.</summary>
    bool NarrowsActivations => false;

    /// <summary>How many runs of an executable are worth queueing before the host has seen the first's results.</summary>
    int RunsAhead => 1;

    IDeviceMemory Allocate(long bytes);

    /// <summary>Reads of a memory's first bytes that don't hold up the work behind them.</summary>
    IPendingRead PendingRead(IDeviceMemory memory, int bytes) => new FinishedRead(memory, bytes);

    /// <summary>
    /// Makes a plan ready to run over persistent buffers (by name: parameters, optimizer state, caches, constants),
    /// allocates its arena and runs its setup.
    /// </summary>
    IExecutable Compile(Plan plan, IReadOnlyDictionary<string, IDeviceMemory> persistent);
}

/// <summary>A plan on a device. Not for use by two threads at once.</summary>
public interface IExecutable : IDisposable
{
    Plan Plan { get; }

    /// <summary>Binds a dynamic dimension for the runs to come.</summary>
    /// <exception cref="LegatoException">Unknown name, or a value out of its bounds.</exception>
    void Bind(string dimension, long value);

    /// <summary>Memory of an input, an output, or any other buffer that is not inside a loop; valid until disposal.</summary>
    IDeviceMemory Memory(PlanBuffer buffer);

    /// <summary>Runs every step once. Returns when the outputs can be read.</summary>
    void Run();

    /// <summary>
    /// Has every step run once, behind all that was asked for before; returns at once where the device works by itself. What is
    /// read from its memory, and a run, wait for it.
    /// </summary>
    void Queue() => Run();
}
