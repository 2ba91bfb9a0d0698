using Legato.Runtime.Plans;

namespace Legato.Runtime.Cpu;

/// <summary>
/// An operand of attention, [batch, position, head, element]: strides count elements, those of a head are contiguous.
/// Queries, keys and values may have any float type; what is written is float32.
/// </summary>
internal readonly unsafe record struct HeadMemory(nint Data, long BatchStride, long PositionStride, long HeadStride, ScalarType Type = ScalarType.F32)
{
    internal byte* Row(long batch, long position, long head) =>
        (byte*)Data + (batch * BatchStride + position * PositionStride + head * HeadStride) * Type.Size();

    /// <summary>A row of an operand that is float32 by contract.</summary>
    internal float* Floats(long batch, long position, long head) => (float*)Row(batch, position, head);
}

/// <summary>One launch of an attention step: sizes and memory. What each means stands at <see cref="AttentionShape"/>.</summary>
internal readonly unsafe struct AttentionArgs
{
    public required AttentionProgram Program { get; init; }

    public required int Batch { get; init; }

    public required int Heads { get; init; }

    public required int KeyHeads { get; init; }

    public required int QueryLength { get; init; }

    /// <summary>Keys that the key and value operands have room for.</summary>
    public required int KeyLength { get; init; }

    public required int HeadSize { get; init; }

    public required int ValueSize { get; init; }

    public required HeadMemory Query { get; init; }

    public required HeadMemory Key { get; init; }

    public required HeadMemory Value { get; init; }

    public required HeadMemory Output { get; init; }

    /// <summary>float32 [Batch, Heads, QueryLength]; 0 if a forward step doesn't write it.</summary>
    public nint LogSumExp { get; init; }

    /// <summary>int32 [Batch]: keys before the first query; 0 where there is none. The gradient takes none.</summary>
    public nint Past { get; init; }

    /// <summary>Pointers to the step's extra operands, as many as the program was compiled for.</summary>
    public nint Extra { get; init; }

    /// <summary>Memory for all workers, aligned to 64 bytes; as large as ScratchBytes of the step says.</summary>
    public nint Scratch { get; init; }

    internal int Group => Heads / KeyHeads;

    internal long PastOf(int batch) => Past == 0 ? 0 : ((int*)Past)[batch];

    /// <summary>Keys of a batch row that exist.</summary>
    internal long KeysOf(int batch) => Past == 0 ? KeyLength : PastOf(batch) + QueryLength;

    internal float* LogSumExpRow(long batch, long head) => (float*)LogSumExp + (batch * Heads + head) * QueryLength;
}

/// <summary>What the gradient needs beside the forward step's <see cref="AttentionArgs"/>, whose LogSumExp it reads.</summary>
internal readonly unsafe struct AttentionGradientArgs
{
    public required AttentionArgs Forward { get; init; }

    public required HeadMemory OutputGradient { get; init; }

    public required HeadMemory QueryGradient { get; init; }

    public required HeadMemory KeyGradient { get; init; }

    public required HeadMemory ValueGradient { get; init; }

    /// <summary>float32 workspace [Batch, Heads, QueryLength].</summary>
    public required nint RowDot { get; init; }

    internal float* RowDotRow(long batch, long head) => (float*)RowDot + (batch * Forward.Heads + head) * Forward.QueryLength;
}
