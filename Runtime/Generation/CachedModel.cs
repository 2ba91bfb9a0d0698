using System.Runtime.InteropServices;
using Legato.Runtime.Devices;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Generation;

/// <summary>
/// A prefill or decode plan, ready to run: tokens of some rows go into the cache, the logits of one position a row come
/// out. Allocates nothing after its construction.
/// </summary>
internal sealed class CachedModel : IDisposable
{
    private readonly IExecutable executable;
    private readonly bool hasSequence;
    private readonly IDeviceMemory tokens;
    private readonly IDeviceMemory past;
    private readonly IDeviceMemory last;
    private readonly IDeviceMemory logits;
    private readonly IDeviceMemory? sourceLengths;

    public CachedModel(IExecutable executable)
    {
        this.executable = executable;
        Plan plan = executable.Plan;
        hasSequence = plan.Dimensions.Any(d => d.Name == "seq");
        tokens = executable.Memory(plan.Buffer(BufferClass.Input, "tokens"));
        past = executable.Memory(plan.Buffer(BufferClass.Input, "past"));
        last = executable.Memory(plan.Buffer(BufferClass.Input, "last"));
        logits = executable.Memory(plan.Buffer(BufferClass.Output, "logits"));
        if (plan.Buffers.FirstOrDefault(b => b is { Class: BufferClass.Input, Name: SourceReader.Lengths }) is { } lengths)
            sourceLengths = executable.Memory(lengths);
    }

    /// <summary>How many tokens of the source each row has, for models that read one.</summary>
    public void SetSourceLengths(ReadOnlySpan<int> lengths) => sourceLengths?.Write(0, MemoryMarshal.AsBytes(lengths));

    /// <param name="inputs">[rows, sequence] tokens.</param>
    /// <param name="pasts">[rows]: tokens of the row that are in the cache already.</param>
    /// <param name="lasts">[rows]: the place among the row's inputs whose logits are wanted.</param>
    public void Run(int rows, int sequence, ReadOnlySpan<int> inputs, ReadOnlySpan<int> pasts, ReadOnlySpan<int> lasts)
    {
        executable.Bind("batch", rows);
        if (hasSequence)
            executable.Bind("seq", sequence);
        tokens.Write(0, MemoryMarshal.AsBytes(inputs[..(rows * sequence)]));
        past.Write(0, MemoryMarshal.AsBytes(pasts[..rows]));
        last.Write(0, MemoryMarshal.AsBytes(lasts[..rows]));
        executable.Run();
    }

    /// <summary>The logits of a row of the last run.</summary>
    public void Logits(int row, Span<float> target) =>
        logits.Read((long)row * target.Length * sizeof(float), MemoryMarshal.AsBytes(target));

    public void Dispose() => executable.Dispose();
}
