// What ProductDeferred.cu multiplies, and where its tiles lie.

constexpr int Lefts = CHAINED ? PARTS : 1, Results = CHAINED || COMBINED ? 1 : PARTS;

struct DeferredArgs
{
    TensorMap left[Lefts], right[PARTS];
    int rows, depths[Lefts], columns[Results];
    i64 strides[Results];
    Element* results[Results];
    const Element* biases[Results];
};

constexpr int Columns = 256, Depth = 64, Cluster = 2, Band = 16 / Cluster, CopiedColumns = Columns / Cluster;
constexpr int LeftBytes = TileBytes<Rows, Depth>, RightBytes = TileBytes<Columns, Depth>, PieceBytes = TileBytes<64, Depth>, BiasBytes = 2 * Columns;

/// Columns of a tile's result: where products are combined, a tile is made of both of theirs.
constexpr int ResultColumns = COMBINED ? Columns / PARTS : Columns;

DEVICE int tiles_of(int size, int tile) { return (size + tile - 1) / tile; }

/// Where a tile lies, by the number of the cluster's pair of them. Those that run at once share rows and columns: a band of rows goes over
/// all columns.
struct DeferredPlace
{
    int row, column, part;

    DEVICE DeferredPlace(const DeferredArgs& args, int tile)
    {
        int columnTiles = across(args), rowTiles = tiles_of(args.rows, Cluster * Rows);
        int band = tile / (Band * columnTiles) * Band, height = min(Band, rowTiles - band);
        tile -= band * columnTiles;
        row = ((band + tile % height) * Cluster + cluster_rank()) * Rows;
        column = tile / height * ResultColumns;
        part = 0;
#pragma unroll
        for (int i = 0; i + 1 < Results; i++)
        {
            int before = tiles_of(args.columns[i], ResultColumns) * ResultColumns;
            if (column < before)
                break;
            column -= before;
            part++;
        }
    }

    /// Tiles side by side.
    DEVICE static int across(const DeferredArgs& args)
    {
        int tiles = 0;
#pragma unroll
        for (int i = 0; i < Results; i++)
            tiles += tiles_of(args.columns[i], ResultColumns);
        return tiles;
    }

    DEVICE static int count(const DeferredArgs& args) { return across(args) * tiles_of(args.rows, Cluster * Rows); }
};
