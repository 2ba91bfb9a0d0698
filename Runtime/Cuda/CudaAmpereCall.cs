namespace Legato.Runtime.Cuda;

/// <summary>
/// A launch of one of the attention kernels on the tensor cores of sm_80 and up: a block holds 64 rows of one head and streams tiles of
/// the other positions, as large as its shared memory has room for.
/// </summary>
internal sealed class CudaAmpereCall
{
    /// <summary>Rows of a block; threads that share them; elements that pad a row in shared memory.</summary>
    public const int Rows = 64;

    private const int Threads = 128, Padding = 8, HeadAlignment = 32, ElementBytes = 2;

    private readonly Lazy<CudaCall> call;

    /// <param name="held">Head sizes of the operands of which the block holds rows.</param>
    /// <param name="streamed">Head sizes of those of which it streams tiles.</param>
    /// <param name="tile">The constant that is told the rows of a tile.</param>
    /// <param name="mostStreamed">Rows of a tile at most: as many as the accumulators leave registers for.</param>
    /// <param name="split">Groups of warps that share the rows' columns.</param>
    /// <param name="words">64-bit words of the arguments.</param>
    public CudaAmpereCall(
        CudaLowering lowering, string name, CudaFlashAttention attention, (Plans.ScalarType Element, Plans.ScalarType Output) types,
        string entry, string[] files, int[] held, int[] streamed, string tile, int mostStreamed, int split, int words)
    {
        int Bytes(int tileRows) => ElementBytes * (Rows * held.Sum(Row) + tileRows * streamed.Sum(Row));
        int tileRows = mostStreamed;
        while (tileRows > 16 && Bytes(tileRows) > lowering.Device.Information.SharedBytes - Reserved)
            tileRows /= 2;
        string source = attention.Source(
            types.Element, types.Output,
            [("HEAD", Padded(attention.HeadSize)), ("VALUE", Padded(attention.ValueSize)), (tile, tileRows), ("SPLIT", split)], files);
        lowering.Want(source);
        call = new Lazy<CudaCall>(() => new CudaCall(lowering.Device.Compiler.Load(source).Function(entry, Bytes(tileRows)), words, name)
        {
            Threads = Threads * split,
            SharedBytes = Bytes(tileRows),
        });
    }

    /// <summary>Shared memory that kernels declare themselves.</summary>
    private const int Reserved = 512;

    public Span<long> Arguments => call.Value.Arguments;

    /// <summary>A head's size as the kernels have it.</summary>
    public static int Padded(int size) => (size + HeadAlignment - 1) / HeadAlignment * HeadAlignment;

    /// <summary>A block for every 64 positions of every head.</summary>
    public void Bind(long positions, long heads, long batch) =>
        (call.Value.BlocksX, call.Value.BlocksY, call.Value.BlocksZ) = ((positions + Rows - 1) / Rows, heads, batch);

    public void Enqueue(nint stream) => call.Value.Enqueue(stream);

    private static int Row(int size) => Padded(size) + Padding;
}
