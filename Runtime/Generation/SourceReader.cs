using System.Runtime.InteropServices;
using Legato.Runtime.Devices;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Generation;

/// <summary>An encode plan, ready to run: what an encoder makes of some rows' sources goes into the caches.</summary>
internal sealed class SourceReader : IDisposable
{
    public const string Lengths = "source_lengths";

    private readonly IExecutable executable;
    private readonly IDeviceMemory source;
    private readonly IDeviceMemory lengths;
    private readonly int[] padded;
    private readonly int length;

    /// <param name="batch">The most rows of a run.</param>
    /// <param name="length">Tokens of a row, padding included.</param>
    public SourceReader(IExecutable executable, int batch, int length)
    {
        (this.executable, this.length) = (executable, length);
        source = executable.Memory(executable.Plan.Buffer(BufferClass.Input, "source"));
        lengths = executable.Memory(executable.Plan.Buffer(BufferClass.Input, Lengths));
        padded = new int[batch * length];
    }

    /// <summary>Reads the rows' sources, of at most the length each.</summary>
    public void Run(ReadOnlySpan<int[]> sources, ReadOnlySpan<int> counts)
    {
        Array.Clear(padded);
        for (int row = 0; row < sources.Length; row++)
            sources[row].CopyTo(padded.AsSpan(row * length));
        executable.Bind("batch", sources.Length);
        source.Write(0, MemoryMarshal.AsBytes(padded.AsSpan(0, sources.Length * length)));
        lengths.Write(0, MemoryMarshal.AsBytes(counts));
        executable.Run();
    }

    public void Dispose() => executable.Dispose();
}
