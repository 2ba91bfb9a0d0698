using System.Runtime.InteropServices;
using Legato.Runtime.Devices;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Generation;

/// <summary>
/// A prefill or decode plan, ready to run: tokens of some rows go into the cache, the token that follows one position a row is
/// chosen from its logits. Allocates nothing after its construction.
/// </summary>
public sealed class CachedModel : IDisposable
{
    private readonly IExecutable executable;
    private readonly bool hasSequence;
    private readonly IDeviceMemory tokens;
    private readonly IDeviceMemory past;
    private readonly IDeviceMemory last;
    private readonly IDeviceMemory? sourceLengths;

    /// <param name="executable">Of a plan that <see cref="TokenChooser.Choosing"/> has made.</param>
    public CachedModel(IDevice device, IExecutable executable)
    {
        this.executable = executable;
        Plan plan = executable.Plan;
        hasSequence = plan.Dimensions.Any(d => d.Name == "seq");
        tokens = executable.Memory(plan.Buffer(BufferClass.Input, "tokens"));
        past = executable.Memory(plan.Buffer(BufferClass.Input, "past"));
        last = executable.Memory(plan.Buffer(BufferClass.Input, "last"));
        Chooser = new TokenChooser(device, executable);
        if (plan.Buffers.FirstOrDefault(b => b is { Class: BufferClass.Input, Name: SourceReader.Lengths }) is { } lengths)
            sourceLengths = executable.Memory(lengths);
    }

    /// <summary>Chooses the tokens of the runs.</summary>
    public TokenChooser Chooser { get; }

    /// <summary>How many tokens of the source each row has, for models that read one.</summary>
    public void SetSourceLengths(ReadOnlySpan<int> lengths) => sourceLengths?.Write(0, MemoryMarshal.AsBytes(lengths));

    /// <summary>Sets the inputs of the next run.</summary>
    /// <param name="inputs">[rows, sequence] tokens.</param>
    /// <param name="pasts">[rows]: tokens of the row that are in the cache already.</param>
    /// <param name="lasts">
    /// [rows]: the place among the row's inputs of its last token, whose logits are wanted; −1 in a prefill: the row has none there.
    /// </param>
    public void Set(int rows, int sequence, ReadOnlySpan<int> inputs, ReadOnlySpan<int> pasts, ReadOnlySpan<int> lasts)
    {
        tokens.Write(0, MemoryMarshal.AsBytes(inputs[..(rows * sequence)]));
        past.Write(0, MemoryMarshal.AsBytes(pasts[..rows]));
        last.Write(0, MemoryMarshal.AsBytes(lasts[..rows]));
    }

    /// <summary>Has the rows run, and their tokens chosen, behind the runs before.</summary>
    public void Start(int rows, int sequence)
    {
        executable.Bind("batch", rows);
        if (hasSequence)
            executable.Bind("seq", sequence);
        executable.Queue();
        Chooser.Start();
    }

    public void Dispose()
    {
        Chooser.Dispose();
        executable.Dispose();
    }
}
