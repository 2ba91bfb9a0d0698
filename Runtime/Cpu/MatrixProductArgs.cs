namespace Legato.Runtime.Cpu;

/// <summary>
/// Called when a block of C is finished: rows [m0, m1), columns [n0, n1) of the product number <paramref name="batch"/>.
/// Blocks of one product never overlap and cover C; calls come from all workers at once.
/// </summary>
public delegate void MatrixProductEpilogue(int batch, int m0, int m1, int n0, int n1);

/// <summary>
/// One matrix product, or a batch of equal ones: C[M,N] = A[M,K]·B[K,N], or C += A·B. Strides count elements. Each of A
/// and B is fast if one of its two strides is 1, whichever. C's columns are contiguous.
/// </summary>
public readonly struct MatrixProductArgs
{
    public required int M { get; init; }
    public required int N { get; init; }
    public required int K { get; init; }

    /// <summary>[M,K], stored as <see cref="AElement"/>.</summary>
    public required nint A { get; init; }
    public required long ARowStride { get; init; }
    public required long AColumnStride { get; init; }
    public MatrixElement AElement { get; init; }

    /// <summary>[K,N], stored as <see cref="BElement"/>; weights stored [N,K] have row stride 1 and column stride K.</summary>
    public required nint B { get; init; }
    public required long BRowStride { get; init; }
    public required long BColumnStride { get; init; }
    public MatrixElement BElement { get; init; }

    /// <summary>
    /// Whether B, stored [N,K], lies in <see cref="WeightPanels"/>, aligned to 64 bytes: its strides are then those that its rows had,
    /// and columns that fill no panel are the last of all. Only with AVX-512, for float32 and bf16.
    /// </summary>
    internal bool BInPanels { get; init; }

    /// <summary>float32 [M,N].</summary>
    public required nint C { get; init; }
    public required long CRowStride { get; init; }

    /// <summary>Whether the product is added to what C holds.</summary>
    public bool Accumulate { get; init; }

    /// <summary>How many products; 0 stands for one.</summary>
    public int Batch { get; init; }
    public long ABatchStride { get; init; }
    public long BBatchStride { get; init; }
    public long CBatchStride { get; init; }

    /// <summary>Memory for packed panels, aligned to 64 bytes (to 2 MiB, on huge pages, is faster), shared by all workers.</summary>
    public nint Scratch { get; init; }

    /// <summary>How large it is; at least what <see cref="MatrixProduct.ScratchBytes"/> says.</summary>
    public long ScratchBytes { get; init; }

    public MatrixProductEpilogue? Epilogue { get; init; }

    /// <summary>How many of B's columns lie in panels.</summary>
    internal int ColumnsInPanels => BInPanels ? (int)WeightPanels.InPanels(N) : 0;

    internal int BatchCount => Batch == 0 ? 1 : Batch;

    internal int BElementSize => Size(BElement);

    private static int Size(MatrixElement element) => element == MatrixElement.Float32 ? sizeof(float) : sizeof(ushort);

    /// <summary>Packs rows [m0, m1) of A, <paramref name="depth"/> deep from k0, into panels of a tile's height.</summary>
    internal unsafe void PackA(MatrixProductTile tile, int batch, int m0, int m1, int k0, int depth, float* target, nint panelStride)
    {
        int size = Size(AElement);
        byte* source = (byte*)A + (batch * ABatchStride + m0 * ARowStride + k0 * AColumnStride) * size;
        MatrixProductPack.Panels(AElement, source, (nint)ARowStride * size, (nint)AColumnStride * size,
            m1 - m0, depth, target, tile.Rows, tile.AWidth, panelStride);
    }

    /// <summary>Packs columns [n0, n1) of B, <paramref name="depth"/> deep from k0, into panels of a tile's width.</summary>
    internal unsafe void PackB(MatrixProductTile tile, int batch, int n0, int n1, int k0, int depth, float* target, nint panelStride)
    {
        int size = BElementSize;
        int inPanels = Math.Max(0, Math.Min(n1, ColumnsInPanels) - n0);
        MatrixProductPack.FromWeightPanels(BElement, (byte*)B + n0 * BColumnStride * size, (nint)BColumnStride * size, inPanels, k0, depth, target, panelStride);
        n0 += inPanels;
        target += inPanels / tile.Columns * panelStride;
        byte* source = (byte*)B + (batch * BBatchStride + n0 * BColumnStride + k0 * BRowStride) * size;
        MatrixProductPack.Panels(BElement, source, (nint)BColumnStride * size, (nint)BRowStride * size,
            n1 - n0, depth, target, tile.Columns, tile.Columns, panelStride);
    }
}
