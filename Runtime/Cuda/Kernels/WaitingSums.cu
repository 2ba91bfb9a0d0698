// Results of 16 bits of a tile of 256 columns, which are stored while the products of the next tile are under way: rounded, they wait
// in registers, and each step stores some of their columns. BIAS: whether a vector is added to each row.

constexpr int Columns = 256;

/// What waits is stored in pieces of so many columns, each by a step of the next tile.
constexpr int PieceColumns = 32, Pieces = Columns / PieceColumns;

DEVICE u32 shared_word(u32 address)
{
    u32 word;
    asm volatile("ld.shared.u32 %0, [%1];" : "=r"(word) : "r"(address));
    return word;
}

/// A thread's sums of a tile, rounded, in pairs, as far as they aren't stored; and where they go: two rows, eight below one another.
struct Waiting
{
    static constexpr int Piece = PieceColumns / 8;
    u32 pairs[2][Columns / 8];
    Element* targets[2];
    int rows, columns, pieces = 0;

    /// Takes a tile's sums, with the bias that lies in shared memory, if there is one.
    DEVICE void take(const float (&sums)[Columns / 2], u32 bias = 0)
    {
        bias += 4 * (lane_index() & 3);
#pragma unroll
        for (int j = 0; j < Columns / 8; j++)
        {
            u32 both = BIAS ? shared_word(bias + 16 * j) : 0;
            float x = low_float(both), y = high_float(both);
            pairs[0][j] = BIAS ? pack(sums[4 * j] + x, sums[4 * j + 1] + y) : pack(sums[4 * j], sums[4 * j + 1]);
            pairs[1][j] = BIAS ? pack(sums[4 * j + 2] + x, sums[4 * j + 3] + y) : pack(sums[4 * j + 2], sums[4 * j + 3]);
        }
    }

    /// Where the thread's two rows of the tile start, how many rows there are from the first of them on, and columns from the tile's first on.
    DEVICE void send(Element* upper, Element* lower, int rowsLeft, int columnsLeft)
    {
        int column = 8 * (lane_index() & 3);
        targets[0] = upper + column;
        targets[1] = lower + column;
        rows = rowsLeft;
        columns = columnsLeft - column;
        pieces = Pieces;
    }

    /// Stores the first piece, if there is one.
    DEVICE void store()
    {
        if (pieces > 0)
        {
            store_row<0>();
            store_row<1>();
            columns -= PieceColumns;
            pieces--;
        }
        // The others move up, as registers have no indices; always, so that they needn't be kept twice.
#pragma unroll
        for (int j = Piece; j < Columns / 8; j++)
        {
            pairs[0][j - Piece] = pairs[0][j];
            pairs[1][j - Piece] = pairs[1][j];
        }
    }

    DEVICE void store_all()
    {
        while (pieces > 0)
            store();
    }

    template <int Half> DEVICE void store_row()
    {
        const u32* four = pairs[Half];
        uint4 result = quad_transpose(four[0], four[1], four[2], four[3]);
        int inside = 8 * Half < rows ? columns : 0;
        Element* at = targets[Half];
        targets[Half] = at + PieceColumns;
        if (inside >= 8)
            *(uint4*)at = result;
        else
        {
            u32 parts[4] = {result.x, result.y, result.z, result.w};
#pragma unroll
            for (int i = 0; i < 7; i++)
                if (i < inside)
                    at[i].bits = (unsigned short)(parts[i / 2] >> i % 2 * 16);
        }
    }
};
