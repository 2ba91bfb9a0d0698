// The tiles of a matrix product on sm_90a, in groups or not: what ProductHopper.cu says of its macros holds here.

struct ProductArgs
{
    int rows, columns, depth, groups;
    i64 stride, groupStride, addendStride;
    Output* output;
    const Output* addend;
    const Output* bias;
    const int* offsets;
    const int* order;
    const Element* left;
    i64 leftStride, share;
    Element* gathered;
    int* progress;
};

constexpr int Depth = 64, Band = 16, GroupAlignment = 64;
constexpr int LeftBytes = TileBytes<Rows, Depth>, RightBytes = TileBytes<Columns, Depth>, PieceBytes = TileBytes<64, Depth>;

DEVICE int tiles_of(int size, int tile) { return (size + tile - 1) / tile; }

/// The tiles of a block, one after another. Those that run at once share rows and columns: a band of rows goes over all columns.
struct TilePlace
{
    int group = 0, before = 0, start = 0, end = 0, aligned = 0;
    int row, column, steps;

    DEVICE TilePlace(const ProductArgs& args)
    {
        if (GROUPED)
            end = args.offsets[1];
    }

    DEVICE int rows(const ProductArgs& args) const { return GROUPED == 1 ? end - start : args.rows; }

    /// Whether there is a tile of that number; numbers only rise.
    DEVICE bool find(const ProductArgs& args, int tile) { return find(args, tile, tiles_of(args.columns, Columns)); }

    DEVICE bool find(const ProductArgs& args, int tile, int columnTiles)
    {
        int rowTiles;
        for (;;)
        {
            rowTiles = tiles_of(rows(args), Rows);
            if (tile - before < rowTiles * columnTiles)
                break;
            before += rowTiles * columnTiles;
            if (++group >= (GROUPED ? args.groups : 1))
                return false;
            aligned += tiles_of(end - start, GroupAlignment) * GroupAlignment;
            start = end;
            end = args.offsets[group + 1];
        }
        int local = tile - before, band = local / (Band * columnTiles) * Band, height = min(Band, rowTiles - band);
        local -= band * columnTiles;
        row = (band + local % height) * Rows;
        column = local / height * Columns;
        steps = tiles_of(GROUPED == 2 ? end - start : args.depth, Depth);
        return true;
    }
};
