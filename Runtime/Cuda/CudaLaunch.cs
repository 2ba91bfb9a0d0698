using Legato.Runtime.Cpu;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>One execution of a step: loops are written out, so that each iteration has launches of its own.</summary>
internal abstract class CudaLaunch(string name, Cost cost, CudaLowering lowering)
{
    private readonly CpuExtent flops = lowering.Extent(cost.Flops), bytes = lowering.Extent(cost.Bytes);

    public string Name => name;

    public long Flops { get; private set; }

    public long Bytes { get; private set; }

    /// <summary>How it is computed, in words; null where there was nothing to choose.</summary>
    public virtual string? Way => null;

    /// <summary>Takes the values of the plan's dimensions; no work of the plan is under way.</summary>
    public virtual void Bind(ReadOnlySpan<long> dimensions)
    {
        Flops = flops.Evaluate(dimensions);
        Bytes = bytes.Evaluate(dimensions);
    }

    /// <summary>
    /// Has the driver load code that it would load at the first launch, while the host does other things: nothing has run yet, and what
    /// is computed is of no use.
    /// </summary>
    public virtual void Load()
    {
    }

    /// <summary>Gives the work to the stream; allocates nothing, waits for nothing, so that it can be captured.</summary>
    public abstract void Enqueue(nint stream);
}

/// <summary>What every GPU takes of a launch.</summary>
internal static class LaunchLimits
{
    private const long MostBlocks = int.MaxValue, MostRows = 65535, MostThreads = 1024;

    /// <exception cref="TooLargeException">The launch would fail: it is larger than any GPU takes.</exception>
    public static void Require(string name, long x, long y, long z, int threads)
    {
        if (x is < 1 or > MostBlocks || y is < 1 or > MostRows || z is < 1 or > MostRows || threads is < 1 or > (int)MostThreads)
            throw new TooLargeException($"no GPU takes {x} × {y} × {z} blocks of {threads} threads", name, "choose a smaller batch, or --device cpu");
    }
}

/// <summary>A function with its arguments, all of 64 bits.</summary>
internal sealed unsafe class CudaCall(nint function, int arguments, string name)
{
    // Pinned, so that the driver can read them where they are.
    private readonly long[] values = GC.AllocateArray<long>(Math.Max(1, arguments), pinned: true);

    public Span<long> Arguments => values.AsSpan(0, arguments);

    public long BlocksX { get; set; } = 1;

    public long BlocksY { get; set; } = 1;

    public long BlocksZ { get; set; } = 1;

    /// <summary>Neighbouring blocks that run at one time and reach each other's shared memory; they divide the blocks.</summary>
    public long ClusterX { get; set; } = 1;

    public int Threads { get; set; } = 1;

    public int SharedBytes { get; set; }

    /// <summary>
    /// Whether the kernel may start before those ahead of it have ended. It waits for them itself, before it touches
    /// what they write.
    /// </summary>
    public bool StartsEarly { get; init; }

    public void Enqueue(nint stream)
    {
        if (BlocksX * BlocksY * BlocksZ == 0)
            return;
        LaunchLimits.Require(name, BlocksX, BlocksY, BlocksZ, Threads);
        if (stream == CudaDevice.PaperStream)
            return;
        nuint size = (nuint)(arguments * sizeof(long));
        fixed (long* start = values)
        {
            // The driver's words for: a buffer of arguments follows, its size follows, end.
            void** extra = stackalloc void*[] { (void*)1, start, (void*)2, &size, (void*)0 };
            LaunchAttribute* attributes = stackalloc LaunchAttribute[2];
            uint count = 0;
            if (StartsEarly)
                attributes[count++] = new LaunchAttribute { Id = LaunchAttribute.StartsEarly, X = 1 };
            if (ClusterX > 1)
                attributes[count++] = new LaunchAttribute { Id = LaunchAttribute.ClusterSize, X = (uint)ClusterX, Y = 1, Z = 1 };
            var configuration = new LaunchConfiguration
            {
                BlocksX = (uint)BlocksX,
                BlocksY = (uint)BlocksY,
                BlocksZ = (uint)BlocksZ,
                ThreadsX = (uint)Threads,
                ThreadsY = 1,
                ThreadsZ = 1,
                SharedBytes = (uint)SharedBytes,
                Stream = stream,
                Attributes = attributes,
                AttributeCount = count,
            };
            CudaError.Check(Driver.LaunchKernelEx(&configuration, function, null, extra), $"launching {name}");
        }
    }
}
