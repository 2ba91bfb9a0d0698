using System.Runtime.CompilerServices;

namespace Legato.Runtime.Cpu;

/// <summary>Weights that one worker reads in one piece, front to back.</summary>
internal readonly record struct WeightPiece(nint Start, nint Bytes);

/// <summary>
/// What one worker reads of weights: a piece at hand, then its own of the products and steps that follow, and after the last step
/// those of the first again. So what a step begins with is fetched while the one before still computes.
/// </summary>
/// <param name="own">The worker's own pieces of a whole run, in order.</param>
/// <param name="next">Which of them is read after the piece at hand.</param>
/// <param name="lead">How many bytes from the place at hand on are in the cache.</param>
internal readonly ref struct WeightOrder(WeightPiece current, ReadOnlySpan<WeightPiece> own, int next, nint lead = 0)
{
    public nint Lead => lead;

    /// <summary>The worker's own pieces of a whole run, in order.</summary>
    public ReadOnlySpan<WeightPiece> Own { get; } = own;

    /// <summary>Bytes of the piece at hand from there on.</summary>
    public nint Left(nint from) => current.Start + current.Bytes - from;

    /// <summary>The address that is read so many bytes after <paramref name="from"/>, which lies in the piece at hand.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public nint Beyond(nint from, nint bytes)
    {
        nint left = current.Start + current.Bytes - from;
        return bytes < left ? from + bytes : After(bytes - left) is var address and not 0 ? address : from;
    }

    /// <summary>What to fetch from so many bytes behind <paramref name="from"/> on, which lies in the piece at hand.</summary>
    /// <param name="pieces">The own pieces, pinned.</param>
    /// <param name="move">How far that moves at each step.</param>
    public unsafe PanelFetch Fetch(nint from, nint bytes, WeightPiece* pieces, nint move)
    {
        nint end = current.Start + current.Bytes;
        if (Own.IsEmpty)
            return new PanelFetch(bytes < end - from ? from + bytes : from, nint.MaxValue, move, null, null, null);
        int piece = next % Own.Length;
        nint first = from + bytes;
        for (int passed = 0; first >= end && passed < Own.Length; passed++, piece = (piece + 1) % Own.Length)
            (first, end) = (Own[piece].Start + (first - end), Own[piece].Start + Own[piece].Bytes);
        return new PanelFetch(first, end, move, pieces, pieces + Own.Length - 1, pieces + piece);
    }

    /// <summary>The address of what is read so many bytes after the piece at hand; 0 where nothing is.</summary>
    private nint After(nint bytes)
    {
        for (int i = 0; i < Own.Length; i++)
        {
            WeightPiece piece = Own[(next + i) % Own.Length];
            if (bytes < piece.Bytes)
                return piece.Start + bytes;
            bytes -= piece.Bytes;
        }
        return 0;
    }
}
