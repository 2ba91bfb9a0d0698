using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace Legato.Runtime.Text.ByteLevel;

/// <summary>
/// Remembers the tokens of short pieces. Direct-mapped and of fixed size: text is so uneven that the few thousand
/// words it mostly consists of stay in the processor's cache.
/// </summary>
internal sealed class PieceCache
{
    /// <summary>The longest piece, in bytes, that is remembered.</summary>
    public const int MaximumLength = 16;

    /// <summary>The most tokens of a piece that are remembered.</summary>
    public const int MaximumTokens = 3;

    private const int Bits = 15;

    private readonly Entry[] entries = new Entry[1 << Bits];

    /// <summary>One piece: its bytes, zero-padded; its length; its tokens.</summary>
    [StructLayout(LayoutKind.Sequential, Size = 32)]
    internal struct Entry
    {
        public Vector128<byte> Key;
        public byte Length;
        public byte Count;
        public int Token0;
        public int Token1;
        public int Token2;
    }

    /// <summary>The key of a piece: its bytes, with whatever follows it in the buffer masked away.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> KeyOf(ref byte piece, int length)
    {
        var lanes = Vector128.LessThan(Vector128<byte>.Indices, Vector128.Create((byte)length));
        return Vector128.LoadUnsafe(ref piece) & lanes;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public ref Entry Slot(Vector128<byte> key, int length)
    {
        ulong low = key.AsUInt64().ToScalar(), high = key.AsUInt64().GetElement(1);
        ulong mixed = (low ^ (ulong)length) * 0x9E3779B97F4A7C15UL;
        mixed = (mixed ^ mixed >> 29 ^ high) * 0xD6E8FEB86659FD93UL;
        return ref Unsafe.Add(ref MemoryMarshal.GetArrayDataReference(entries), (nint)(mixed >> (64 - Bits)));
    }

    public static void Store(ref Entry entry, Vector128<byte> key, int length, ReadOnlySpan<int> tokens)
    {
        if (tokens.Length > MaximumTokens)
            return;
        entry.Key = key;
        entry.Length = (byte)length;
        entry.Count = (byte)tokens.Length;
        entry.Token0 = tokens.Length > 0 ? tokens[0] : 0;
        entry.Token1 = tokens.Length > 1 ? tokens[1] : 0;
        entry.Token2 = tokens.Length > 2 ? tokens[2] : 0;
    }
}
