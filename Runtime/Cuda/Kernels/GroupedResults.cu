// Results of 16 bits of a grouped product's tile, which are stored while the products of the next tile are under way: rounded, they
// wait in registers, and each step stores some of their columns.

constexpr int Columns = 256;

/// What waits is stored in pieces of so many columns, each by a step of the next tile.
constexpr int PieceColumns = 32, Pieces = Columns / PieceColumns;

/// A thread's sums of a tile, rounded, in pairs, as far as they aren't stored; and where they go: two rows, eight below one another.
struct Waiting
{
    static constexpr int Piece = PieceColumns / 8;
    u32 pairs[2][Columns / 8];
    Element* targets[2];
    int rows, columns, pieces = 0;

    /// Takes a tile's sums.
    DEVICE void take(const float (&sums)[Columns / 2])
    {
#pragma unroll
        for (int j = 0; j < Columns / 8; j++)
        {
            pairs[0][j] = pack(sums[4 * j], sums[4 * j + 1]);
            pairs[1][j] = pack(sums[4 * j + 2], sums[4 * j + 3]);
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
        store_eight(at, result, inside);
    }
};
