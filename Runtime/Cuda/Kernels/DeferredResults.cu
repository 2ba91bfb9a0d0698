// Results of ProductDeferred.cu, which are stored while the products of the next tile are under way: rounded, they wait in registers, and
// each of the next tile's first steps stores a piece of them.

/// What waits in registers is stored in pieces of so many columns, each by a step of the next tile.
constexpr int PieceColumns = 32, Pieces = ResultColumns / PieceColumns;

DEVICE u32 shared_word(u32 address)
{
    u32 word;
    asm volatile("ld.shared.u32 %0, [%1];" : "=r"(word) : "r"(address));
    return word;
}

#if COMBINED

/// A thread's sums of a tile of both products, rounded, in pairs, as far as what is made of them isn't stored; and where that goes: two rows,
/// eight below one another, of which each store takes one.
struct Waiting
{
    static constexpr int Piece = PieceColumns / 8, Pairs = Columns / 8, Second = Columns / 4, Stores = 2 * Pieces;
    u32 first[Pairs], second[Pairs];
    Element* target;
    int rows, columns;
    bool full = false;

    DEVICE void take(const DeferredArgs& args, const DeferredPlace& place, int row, u32, const float (&sums)[Columns / 2])
    {
#pragma unroll
        for (int i = 0; i < Pairs; i++)
        {
            int from = i / (2 * Piece) * (4 * Piece) + i % Piece * 4 + i / Piece % 2 * 2;
            first[i] = pack(sums[from], sums[from + 1]);
            second[i] = pack(sums[Second + from], sums[Second + from + 1]);
        }
        int column = place.column + 8 * (lane_index() & 3);
        target = args.results[0] + row * args.strides[0] + column;
        rows = args.rows - row;
        columns = args.columns[0] - column;
        full = true;
    }

    /// Stores a piece of a row, if something waits.
    DEVICE void store(const DeferredArgs& args, int piece)
    {
        if (!full)
            return;
        u32 four[Piece];
#pragma unroll
        for (int i = 0; i < Piece; i++)
        {
            u32 x = first[piece * Piece + i], y = second[piece * Piece + i];
            four[i] = pack(combine(low_float(x), low_float(y)), combine(high_float(x), high_float(y)));
        }
        uint4 result = quad_transpose(four[0], four[1], four[2], four[3]);
        int lower = piece % 2, moved = piece / 2 * PieceColumns;
        store_eight(target + 8 * lower * args.strides[0] + moved, result, 8 * lower < rows ? columns - moved : 0);
    }
};

#else

/// A thread's sums of a tile, rounded, in pairs, as far as they aren't stored; and where they go: two rows, eight below one another.
struct Waiting
{
    static constexpr int Piece = PieceColumns / 8, Stores = Pieces;
    u32 pairs[2][Columns / 8];
    Element* target;
    int part = 0, rows, columns;
    bool full = false;

    DEVICE void take(const DeferredArgs& args, const DeferredPlace& place, int row, u32 bias, const float (&sums)[Columns / 2])
    {
        if (Results > 1)
            part = place.part;
        bias += 4 * (lane_index() & 3);
#pragma unroll
        for (int j = 0; j < Columns / 8; j++)
        {
            u32 both = BIAS ? shared_word(bias + 16 * j) : 0;
            float x = low_float(both), y = high_float(both);
            pairs[0][j] = pack(sums[4 * j] + x, sums[4 * j + 1] + y);
            pairs[1][j] = pack(sums[4 * j + 2] + x, sums[4 * j + 3] + y);
        }
        int column = place.column + 8 * (lane_index() & 3);
        target = args.results[part] + row * args.strides[part] + column;
        rows = args.rows - row;
        columns = args.columns[part] - column;
        full = true;
    }

    /// Stores a piece of both rows, if something waits.
    DEVICE void store(const DeferredArgs& args, int piece)
    {
        if (!full)
            return;
#pragma unroll
        for (int half = 0; half < 2; half++)
        {
            const u32* four = pairs[half] + piece * Piece;
            uint4 result = quad_transpose(four[0], four[1], four[2], four[3]);
            int moved = piece * PieceColumns;
            store_eight(target + 8 * half * args.strides[part] + moved, result, 8 * half < rows ? columns - moved : 0);
        }
    }
};

#endif

/// Stores all that waits.
DEVICE void store_all(Waiting& waiting, const DeferredArgs& args)
{
#pragma unroll
    for (int piece = 0; piece < Waiting::Stores; piece++)
        waiting.store(args, piece);
    waiting.full = false;
}
