using System.Runtime.InteropServices;
using Legato.Runtime.Plans;

namespace Legato.Runtime.Cuda;

/// <summary>Tensor maps: what Hopper's copy engine knows of an operand of attention.</summary>
internal static unsafe partial class CudaTensorMap
{
    /// <summary>64-bit words of a map.</summary>
    public const int Words = 16;

    /// <summary>Elements of a box's rows: 128 bytes, which the engine swizzles.</summary>
    public const int BoxColumns = 64;

    private const int Axes = 4, NoInterleave = 0, Swizzle128 = 3, Promote128 = 2, ZerosOutside = 0, Alignment = 64;

    /// <summary>Writes the map of an operand [batch, position, head, element], from which boxes of so many positions of one head are copied.</summary>
    /// <param name="place">Address and strides for batch, position and head, in elements of 16 bits, as <see cref="CudaHeads"/> gives them.</param>
    public static void Write(Span<long> map, ScalarType type, ReadOnlySpan<long> place, long batch, long positions, long heads, long elements, int boxRows)
    {
        const int ElementBytes = 2;
        ulong* sizes = stackalloc ulong[] { (ulong)elements, (ulong)positions, (ulong)heads, (ulong)batch };
        // An axis of one element may have any stride, which the driver still wants to be in its range.
        ulong Stride(long elementsApart, long count) => count > 1 ? (ulong)(elementsApart * ElementBytes) : ElementBytes * BoxColumns;
        ulong* strides = stackalloc ulong[] { Stride(place[2], positions), Stride(place[3], heads), Stride(place[1], batch) };
        uint* box = stackalloc uint[] { BoxColumns, (uint)boxRows, 1, 1 };
        uint* steps = stackalloc uint[] { 1, 1, 1, 1 };
        byte* memory = stackalloc byte[Words * sizeof(long) + Alignment];
        byte* aligned = (byte*)(((nint)memory + Alignment - 1) & -Alignment);
        int dataType = type == ScalarType.BF16 ? 9 : 6;
        CudaError.Check(
            Encode(aligned, dataType, Axes, (nint)place[0], sizes, strides, box, steps, NoInterleave, Swizzle128, Promote128, ZerosOutside),
            "describing an operand of attention");
        new ReadOnlySpan<long>(aligned, Words).CopyTo(map);
    }

    [LibraryImport(CudaLibrary.DriverName, EntryPoint = "cuTensorMapEncodeTiled")]
    private static partial int Encode(
        byte* map, int type, uint axes, nint address, ulong* sizes, ulong* strides, uint* box, uint* steps, int interleave, int swizzle, int promotion, int fill);
}
