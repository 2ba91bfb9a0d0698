using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>
/// A launch of one of the persistent kernels on Hopper: as many blocks as multiprocessors share the work, which they may draw from a
/// counter that the kernel itself sets back. Its parameters are tensor maps, then a structure; or one structure of all that.
/// </summary>
internal sealed unsafe class CudaHopperCall
{
    /// <summary>Threads of a warpgroup; where a swizzled box may start, to which the kernel moves its memory up.</summary>
    private const int Warpgroup = 128, BoxAlignment = 1024;

    private readonly CudaLowering lowering;
    private readonly Lazy<nint> function;
    private readonly string name;
    private readonly int maps, threads, sharedBytes, cluster;

    // Pinned, so that the driver can read it where it is.
    private readonly long[] values;
    private uint blocks;

    /// <param name="words">64-bit words of the structure.</param>
    public CudaHopperCall(CudaLowering lowering, string source, string entry, string name, int maps, int words, HopperTile tile, int sharedBytes)
    {
        (this.lowering, this.name, this.maps) = (lowering, name, maps);
        (Rows, threads, this.sharedBytes, cluster) = (tile.Rows, Warpgroup * (tile.Consumers + tile.Others), sharedBytes + BoxAlignment, tile.Cluster);
        values = GC.AllocateArray<long>(maps * CudaTensorMap.Words + words, pinned: true);
        lowering.Want(source);
        function = new Lazy<nint>(() => lowering.Device.Compiler.Load(source).Function(entry, this.sharedBytes));
        Counter = lowering.Resources.Keep("attention's work", 2 * sizeof(int)).Address;
    }

    /// <summary>Rows of a block's tile.</summary>
    public int Rows { get; }

    /// <summary>Address of the work counter.</summary>
    public nint Counter { get; }

    /// <summary>The structure after the maps.</summary>
    public Span<long> Arguments => values.AsSpan(maps * CudaTensorMap.Words);

    /// <summary>Writes the map of an operand, as <see cref="CudaTensorMap.Write"/> takes it.</summary>
    public void Map(int index, ScalarType type, ReadOnlySpan<long> place, long batch, long positions, long heads, long elements, int boxRows)
    {
        if (!lowering.Device.IsOnPaper)
            CudaTensorMap.Write(values.AsSpan(index * CudaTensorMap.Words, CudaTensorMap.Words), type, place, batch, positions, heads, elements, boxRows);
    }

    /// <summary>Tiles of the rows of so many blocks that cover so many.</summary>
    public long Tiles(long rows, int blocks = 1) => (rows + Rows * blocks - 1) / (Rows * blocks);

    /// <summary>Sets the number of work items, of a block or of a cluster of them.</summary>
    public void Bind(long work)
    {
        _ = function.Value;
        blocks = (uint)(Math.Min(work, lowering.Device.Information.Multiprocessors / cluster) * cluster);
    }

    public void Enqueue(nint stream)
    {
        if (blocks == 0)
            return;
        LaunchLimits.Require(name, blocks, 1, 1, threads);
        if (stream == CudaDevice.PaperStream)
            return;
        fixed (long* start = values)
        {
            // One by one: in a buffer of all parameters, those that are aligned to more than 16 bytes would have to lie as the compiler chose.
            // The driver reads as many as the kernel has.
            void** parameters = stackalloc void*[maps + 1];
            for (int i = 0; i <= maps; i++)
                parameters[i] = start + i * CudaTensorMap.Words;
            var clusters = new LaunchAttribute { Id = LaunchAttribute.ClusterSize, X = (uint)cluster, Y = 1, Z = 1 };
            var configuration = new LaunchConfiguration
            {
                BlocksX = blocks,
                BlocksY = 1,
                BlocksZ = 1,
                ThreadsX = (uint)threads,
                ThreadsY = 1,
                ThreadsZ = 1,
                SharedBytes = (uint)sharedBytes,
                Stream = stream,
                Attributes = &clusters,
                AttributeCount = cluster > 1 ? 1u : 0,
            };
            CudaError.Check(Driver.LaunchKernelEx(&configuration, function.Value, parameters, null), $"launching {name}");
        }
    }
}

/// <summary>How a Hopper kernel is cut.</summary>
/// <param name="Streamed">Rows of the tiles that stream past a block's own.</param>
/// <param name="Stages">Of the ring they lie in.</param>
/// <param name="Consumers">Warpgroups of 64 rows each.</param>
/// <param name="Others">Warpgroups beside them.</param>
/// <param name="Cluster">Blocks that share what they copy; they divide the blocks.</param>
internal readonly record struct HopperTile(int Streamed, int Stages, int Consumers, int Others = 1, int Cluster = 1)
{
    /// <summary>Rows of a block's tile.</summary>
    public int Rows => 64 * Consumers;
}
