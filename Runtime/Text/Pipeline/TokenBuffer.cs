using System.Buffers;
using System.Runtime.CompilerServices;

namespace Legato.Runtime.Text.Pipeline;

/// <summary>A growing list of tokens: ids and, where asked for, the parts of the source that they stand for.</summary>
/// <remarks>Its arrays are lent from a pool, and go back when it is disposed of.</remarks>
internal sealed class TokenBuffer(bool withOffsets, int capacity = 64) : IDisposable
{
    private int[] ids = ArrayPool<int>.Shared.Rent(capacity);
    private TextSpan[] offsets = withOffsets ? ArrayPool<TextSpan>.Shared.Rent(capacity) : [];

    public bool WithOffsets { get; } = withOffsets;

    public int Count { get; private set; }

    /// <summary>Code points that no token covers and that were left out.</summary>
    public int Uncovered { get; set; }

    /// <summary>The first uncovered code point, for the error message.</summary>
    public string? FirstUncovered { get; set; }

    public ReadOnlySpan<int> Ids => ids.AsSpan(0, Count);

    public Span<TextSpan> Offsets => offsets.AsSpan(0, WithOffsets ? Count : 0);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Add(int id)
    {
        if (Count >= ids.Length)
            Grow(Count + 1);
        ids[Count++] = id;
    }

    public void Add(int id, TextSpan source)
    {
        if (WithOffsets)
        {
            if (Count >= offsets.Length)
                Grow(Count + 1);
            offsets[Count] = source;
        }
        Add(id);
    }

    /// <summary>Adds tokens that stand for no text.</summary>
    public void Add(ReadOnlySpan<int> tokens)
    {
        foreach (int id in tokens)
            Add(id, default(TextSpan));
    }

    /// <summary>Adds the token for <c>[start, end)</c> of a piece.</summary>
    public void Add(int id, in TextPiece piece, int start, int end)
    {
        if (WithOffsets)
            Add(id, piece.SourceOf(start, end));
        else
            Add(id);
    }

    /// <summary>Room for <paramref name="count"/> more ids, to be claimed with <see cref="Advance"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public Span<int> Reserve(int count)
    {
        if (Count + count > ids.Length)
            Grow(Count + count);
        return ids.AsSpan(Count);
    }

    public void Advance(int count) => Count += count;

    /// <summary>Takes back all tokens from <paramref name="count"/> on.</summary>
    public void TakeBack(int count) => Count = count;

    public void SetOffset(int index, TextSpan source) => offsets[index] = source;

    public void NoteUncovered(ReadOnlySpan<char> character)
    {
        Uncovered++;
        FirstUncovered ??= character.ToString();
    }

    public void Clear()
    {
        Count = 0;
        Uncovered = 0;
        FirstUncovered = null;
    }

    public void Dispose()
    {
        ArrayPool<int>.Shared.Return(ids);
        ids = [];
        if (offsets.Length > 0)
            ArrayPool<TextSpan>.Shared.Return(offsets);
        offsets = [];
        Count = 0;
    }

    private void Grow(int atLeast)
    {
        int size = Math.Max(atLeast, ids.Length * 2);
        Exchange(ref ids, size);
        if (WithOffsets)
            Exchange(ref offsets, size);
    }

    private void Exchange<T>(ref T[] array, int size)
    {
        T[] larger = ArrayPool<T>.Shared.Rent(size);
        array.AsSpan(0, Math.Min(Count, array.Length)).CopyTo(larger);
        ArrayPool<T>.Shared.Return(array);
        array = larger;
    }
}
