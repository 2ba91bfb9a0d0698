using System.Runtime.CompilerServices;

namespace Legato.Runtime.Cpu;

/// <summary>
/// The tile kernels of one instruction set. A kernel computes an h×<see cref="Columns"/> tile of C, h ≤ <see cref="Rows"/>,
/// over one block of depth: panel of A [depth, <see cref="AWidth"/>] by panel of B [depth, <see cref="Columns"/>], the tile
/// kept in registers. Each element is one chain of fused multiply-adds in ascending k from zero, which is then stored, or
/// added to C: all instruction sets with fused multiply-add give the same bits.
/// </summary>
internal sealed unsafe class MatrixProductTile
{
    private readonly delegate*<nint, float*, float*, float*, nint, bool, byte*, nint, void>[] _kernels;

    private MatrixProductTile(int columns, int aWidth, delegate*<nint, float*, float*, float*, nint, bool, byte*, nint, void>[] kernels) =>
        (Rows, Columns, AWidth, _kernels) = (kernels.Length, columns, aWidth, kernels);

    /// <summary>Rows of the highest tile.</summary>
    public int Rows { get; }

    /// <summary>Columns of a tile and of a panel of B.</summary>
    public int Columns { get; }

    /// <summary>Floats for each k in a panel of A; at least <see cref="Rows"/>, padded so that vectors store aligned.</summary>
    public int AWidth { get; }

    public static MatrixProductTile For(CpuIsa isa) => isa switch
    {
        CpuIsa.Avx512 => Avx512.Value,
        CpuIsa.Avx2 => Avx2.Value,
        _ => Portable.Value,
    };

    /// <summary>
    /// Multiplies panels of A, <paramref name="aPanelStride"/> floats apart, with one panel of B into a strip of C of
    /// <paramref name="rows"/> rows and <paramref name="columns"/> ≤ <see cref="Columns"/> columns, and meanwhile fetches
    /// into the L2 cache what comes next.
    /// </summary>
    [SkipLocalsInit]
    public void Strip(int rows, int columns, int depth, float* a, nint aPanelStride, float* b, float* c, nint cStride, bool add, in MatrixProductNext next)
    {
        float* edge = stackalloc float[Rows * Columns];
        nint step = next.BytesEach(MatrixProduct.Divide(rows, Rows) * depth), fetched = 0;
        for (int m = 0; m < rows; m += Rows, a += aPanelStride, c += Rows * cStride, fetched += step * depth)
        {
            int height = Math.Min(Rows, rows - m);
            if (columns == Columns)
            {
                _kernels[height - 1](depth, a, b, c, cStride, add, next.At(fetched), step);
                continue;
            }
            _kernels[height - 1](depth, a, b, edge, Columns, false, next.At(fetched), step);
            StoreEdge(edge, height, columns, c, cStride, add);
        }
    }

    private void StoreEdge(float* edge, int rows, int columns, float* c, nint cStride, bool add)
    {
        for (int m = 0; m < rows; m++, edge += Columns, c += cStride)
            for (int n = 0; n < columns; n++)
                c[n] = add ? c[n] + edge[n] : edge[n];
    }

    private static class Avx512
    {
        public static readonly MatrixProductTile Value = new(MatrixProductAvx512.Columns, MatrixProductAvx512.AWidth, MatrixProductAvx512.Kernels());
    }

    private static class Avx2
    {
        public static readonly MatrixProductTile Value = new(MatrixProductAvx2.Columns, MatrixProductAvx2.AWidth, MatrixProductAvx2.Kernels());
    }

    private static class Portable
    {
        public static readonly MatrixProductTile Value = new(MatrixProductPortable.Columns, MatrixProductPortable.AWidth, MatrixProductPortable.Kernels());
    }
}

/// <summary>
/// What the tiles of a strip fetch ahead: <paramref name="bBytes"/> from <paramref name="b"/>, then <paramref name="aBytes"/>
/// from <paramref name="a"/>, in equal parts for each k.
/// </summary>
internal readonly unsafe struct MatrixProductNext(float* b, nint bBytes, float* a, nint aBytes)
{
    private readonly byte* _b = (byte*)b, _a = (byte*)a;

    public nint BytesEach(int parts) => (bBytes + aBytes + parts - 1) / Math.Max(1, parts);

    public byte* At(nint fetched) => fetched < bBytes ? _b + fetched : _a + (fetched - bBytes);
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
