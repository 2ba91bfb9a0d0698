using System.Runtime.CompilerServices;

namespace Legato.Runtime.Cpu;

/// <summary>
/// The tile kernels of one instruction set. A kernel computes an h×<see cref="Columns"/> tile of C, h ≤ <see cref="Rows"/>,
/// over one block of depth: panel of A [depth, <see cref="AWidth"/>] by panel of B [depth, <see cref="Columns"/>], the tile
/// kept in registers. Each element is one chain of fused multiply-adds in ascending k from zero; an addend, if there is one, is
/// added at the end, and the sum is stored: all instruction sets with fused multiply-add give the same bits.
/// </summary>
internal sealed unsafe class MatrixProductTile
{
    private const int TileAlignment = 64;

    private readonly delegate*<nint, float*, float*, float*, nint, float*, nint, byte*, nint, void>[] _kernels;

    private MatrixProductTile(int columns, int aWidth, int cacheBytes, delegate*<nint, float*, float*, float*, nint, float*, nint, byte*, nint, void>[] kernels) =>
        (Rows, Columns, AWidth, CacheBytes, _kernels) = (kernels.Length, columns, aWidth, cacheBytes, kernels);

    /// <summary>Rows of the highest tile.</summary>
    public int Rows { get; }

    /// <summary>Columns of a tile and of a panel of B.</summary>
    public int Columns { get; }

    /// <summary>Floats for each k in a panel of A; at least <see cref="Rows"/>, padded so that vectors store aligned.</summary>
    public int AWidth { get; }

    /// <summary>Bytes of A that, beside two panels of B, the L2 cache of any processor with these instructions holds.</summary>
    public int CacheBytes { get; }

    public static MatrixProductTile For(CpuIsa isa) => isa switch
    {
        CpuIsa.Avx512 => Avx512.Value,
        CpuIsa.Avx2 => Avx2.Value,
        _ => Portable.Value,
    };

    /// <summary>
    /// Multiplies panels of A, <paramref name="aPanelStride"/> floats apart, with one panel of B into a strip of C of
    /// <paramref name="rows"/> rows and <paramref name="columns"/> ≤ <see cref="Columns"/> columns, and meanwhile fetches
    /// into the L2 cache what comes next. The sums of the blocks of a deep panel meet in a tile that stays in the L1 cache:
    /// C is read and written once.
    /// </summary>
    [SkipLocalsInit]
    public void Strip(int rows, int columns, int depth, float* a, nint aPanelStride, float* b, float* c, nint cStride, bool add, in MatrixProductNext next)
    {
        float* unaligned = stackalloc float[Rows * Columns + TileAlignment / sizeof(float)];
        float* tile = (float*)(((nint)unaligned + TileAlignment - 1) & -TileAlignment);
        bool isWhole = columns == Columns;
        nint step = next.BytesEach(MatrixProduct.Divide(rows, Rows) * depth), fetched = 0;
        for (int m = 0; m < rows; m += Rows, a += aPanelStride, c += Rows * cStride)
        {
            int height = Math.Min(Rows, rows - m);
            if (add && !isWhole) CopyTile(c, cStride, tile, Columns, height, columns);
            float* addend = !add ? null : isWhole ? c : tile;
            nint addendStride = isWhole ? cStride : Columns;
            int k = 0;
            do
            {
                int steps = Math.Min(MatrixProduct.DepthBlock, depth - k);
                bool isFinal = isWhole && k + steps == depth;
                float* sum = isFinal ? c : tile;
                nint sumStride = isFinal ? cStride : Columns;
                _kernels[height - 1](steps, a + (nint)k * AWidth, b + (nint)k * Columns, addend, addendStride, sum, sumStride, next.At(fetched), step);
                addend = sum;
                addendStride = sumStride;
                fetched += step * steps;
                k += steps;
            } while (k < depth);
            if (!isWhole) CopyTile(tile, Columns, c, cStride, height, columns);
        }
    }

    private static void CopyTile(float* source, nint sourceStride, float* target, nint targetStride, int rows, int columns)
    {
        for (int m = 0; m < rows; m++, source += sourceStride, target += targetStride)
            new Span<float>(source, columns).CopyTo(new Span<float>(target, columns));
    }

    private static class Avx512
    {
        public static readonly MatrixProductTile Value = new(MatrixProductAvx512.Columns, MatrixProductAvx512.AWidth, 512 << 10, MatrixProductAvx512.Kernels());
    }

    private static class Avx2
    {
        public static readonly MatrixProductTile Value = new(MatrixProductAvx2.Columns, MatrixProductAvx2.AWidth, 256 << 10, MatrixProductAvx2.Kernels());
    }

    private static class Portable
    {
        public static readonly MatrixProductTile Value = new(MatrixProductPortable.Columns, MatrixProductPortable.AWidth, 256 << 10, MatrixProductPortable.Kernels());
    }
}

/// <summary>What the tiles of a strip fetch ahead, in equal parts for each k: so many bytes from an address on.</summary>
internal readonly unsafe struct MatrixProductNext(byte* start, nint bytes)
{
    private readonly byte* _start = start;

    public nint BytesEach(int parts) => (bytes + parts - 1) / Math.Max(1, parts);

    public byte* At(nint fetched) => _start + fetched;
}

/// <summary>A tile's height as a type, so that the compiler specialises a kernel to it and drops the rows above.</summary>
internal interface ITileHeight
{
    static abstract int Rows { get; }
}

internal readonly struct Height1 : ITileHeight { public static int Rows => 1; }

internal readonly struct Height2 : ITileHeight { public static int Rows => 2; }

internal readonly struct Height3 : ITileHeight { public static int Rows => 3; }

internal readonly struct Height4 : ITileHeight { public static int Rows => 4; }

internal readonly struct Height5 : ITileHeight { public static int Rows => 5; }

internal readonly struct Height6 : ITileHeight { public static int Rows => 6; }

internal readonly struct Height7 : ITileHeight { public static int Rows => 7; }

internal readonly struct Height8 : ITileHeight { public static int Rows => 8; }

internal readonly struct Height9 : ITileHeight { public static int Rows => 9; }

internal readonly struct Height10 : ITileHeight { public static int Rows => 10; }

internal readonly struct Height11 : ITileHeight { public static int Rows => 11; }

internal readonly struct Height12 : ITileHeight { public static int Rows => 12; }

internal readonly struct Height13 : ITileHeight { public static int Rows => 13; }

internal readonly struct Height14 : ITileHeight { public static int Rows => 14; }
