using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace Legato.Runtime.Cpu;

/// <summary>
/// The weights that one worker reads in a run of a program, in order, and how far beyond the last product's they are in its L2 cache:
/// what that product has fetched, and what the worker has read ahead since, while it waited for others: with loads, as the processor
/// drops software prefetches when many are under way.
/// </summary>
internal sealed unsafe class OwnWeights : IIdleWork
{
    /// <summary>What is read ahead at most: a part of the L2 cache.</summary>
    private const nint MostAhead = 512 << 10;

    private const int Line = 64, StepBytes = 16 * Line;

    private readonly List<WeightPiece> pieces = [];
    private int next, at;
    private nint offset, ahead;
    private Vector128<int> read;

    public int Count => pieces.Count;

    public ReadOnlySpan<WeightPiece> Pieces => CollectionsMarshal.AsSpan(pieces);

    public void Clear()
    {
        pieces.Clear();
        next = -1;
    }

    public void Add(WeightPiece piece) => pieces.Add(piece);

    /// <summary>How many bytes from the start of a piece on are in the cache; they are read now.</summary>
    public nint TakeLead(int piece)
    {
        nint lead = piece == next ? ahead : 0;
        next = -1;
        return lead;
    }

    /// <summary>
    /// Says that so many bytes from the start of a piece on are in the cache: reading ahead goes on behind them. Behind the last piece
    /// is the first, of the next run.
    /// </summary>
    public void LeaveLead(int piece, nint lead)
    {
        if (pieces.Count == 0)
            return;
        next = at = piece % pieces.Count;
        offset = ahead = lead;
        for (int passed = 0; passed < pieces.Count && offset >= pieces[at].Bytes; passed++)
        {
            offset -= pieces[at].Bytes;
            at = (at + 1) % pieces.Count;
        }
    }

    /// <summary>Reads ahead from that piece on, going on where it has begun to.</summary>
    public IIdleWork ReadAhead(int piece)
    {
        if (piece != next)
            (next, at, offset, ahead) = (piece, piece, 0, 0);
        return this;
    }

    public bool Step()
    {
        if (ahead >= MostAhead || pieces.Count == 0)
            return false;
        WeightPiece piece = pieces[at % pieces.Count];
        if (piece.Bytes - offset < StepBytes)
        {
            ahead += piece.Bytes - offset;
            (at, offset) = (at + 1, 0);
            return piece.Bytes > 0;
        }
        byte* from = (byte*)piece.Start + offset;
        Vector128<int> a = read, b = read, c = read, d = read;
        for (byte* end = from + StepBytes; from < end; from += 4 * Line)
        {
            a |= Vector128.Load((int*)from);
            b |= Vector128.Load((int*)(from + Line));
            c |= Vector128.Load((int*)(from + 2 * Line));
            d |= Vector128.Load((int*)(from + 3 * Line));
        }
        // Kept, so that no load is left out.
        read = a | b | c | d;
        offset += StepBytes;
        ahead += StepBytes;
        return true;
    }
}
