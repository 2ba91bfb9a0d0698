// Matrix products with 16-bit results on sm_90a: a persistent grid, in each block a producer that copies steps of 64 along the
// contracted axis into a ring of stages, and two consumer warpgroups that share a tile of 128 rows and 256 columns.
// A tile's sums are stored while the products of the next tile are under way: rounded, they wait in registers, and each step
// stores some of their columns. Every sum is made by one warpgroup in one order.
// Sizes may be odd: the copy engine gives zeros beyond the end.
// RIGHT_OVER_ROWS: 1 where the right operand is contracted over its rows, 0 along them. PARTS: products that are computed as
// one; CHAINED: 0 where they read one left matrix and give a result each, 1 where they are summed. BIAS: whether a vector is
// added to each row.

constexpr int Lefts = CHAINED ? PARTS : 1, Results = CHAINED ? 1 : PARTS;

struct DeferredArgs
{
    TensorMap left[Lefts], right[PARTS];
    int rows, depths[Lefts], columns[Results];
    i64 strides[Results];
    Element* results[Results];
    const Element* biases[Results];
};

constexpr int Depth = 64, Band = 16;
constexpr int LeftBytes = TileBytes<Rows, Depth>, RightBytes = TileBytes<Columns, Depth>, PieceBytes = TileBytes<64, Depth>, BiasBytes = 2 * Columns;

DEVICE int tiles_of(int size, int tile) { return (size + tile - 1) / tile; }

/// Where a tile lies. Those that run at once share rows and columns: a band of rows goes over all columns.
struct DeferredPlace
{
    int row, column, part;

    DEVICE DeferredPlace(const DeferredArgs& args, int tile)
    {
        int columnTiles = across(args), rowTiles = tiles_of(args.rows, Rows);
        int band = tile / (Band * columnTiles) * Band, height = min(Band, rowTiles - band);
        tile -= band * columnTiles;
        row = (band + tile % height) * Rows;
        column = tile / height * Columns;
        part = 0;
#pragma unroll
        for (int i = 0; i + 1 < Results; i++)
        {
            int before = tiles_of(args.columns[i], Columns) * Columns;
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
            tiles += tiles_of(args.columns[i], Columns);
        return tiles;
    }

    DEVICE static int count(const DeferredArgs& args) { return across(args) * tiles_of(args.rows, Rows); }
};

struct DeferredShared
{
    u32 left, right, bias;
    Gates gates;
};

/// By one thread.
DEVICE void produce(const DeferredShared& shared, const DeferredArgs& args)
{
    Ring ring;
    int tiles = DeferredPlace::count(args);
    for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x)
    {
        DeferredPlace place(args, tile);
        for (int i = 0; i < Lefts; i++)
        {
            const TensorMap &left = args.left[i], &right = args.right[CHAINED ? i : place.part];
            for (int k = 0; k < args.depths[i]; k += Depth, ring.advance())
            {
                u32 full = shared.gates.full + 8 * ring.stage, a = shared.left + ring.stage * LeftBytes, b = shared.right + ring.stage * RightBytes;
                shared.gates.await_empty(ring);
                bool isLast = BIAS && k + Depth >= args.depths[i];
                int biasBytes = isLast ? min(Columns, args.columns[place.part] - place.column) * 2 : 0;
                shared.gates.expect(ring, LeftBytes + RightBytes + biasBytes);
                copy_box(a, left, full, k, place.row, 0, 0);
                if (RIGHT_OVER_ROWS)
#pragma unroll
                    for (int piece = 0; piece < Columns / 64; piece++)
                        copy_box(b + piece * PieceBytes, right, full, place.column + 64 * piece, k, 0, 0);
                else
                    copy_box(b, right, full, k, place.column, 0, 0);
                if (isLast)
                    copy_bytes(shared.bias + ring.stage * BiasBytes, args.biases[place.part] + place.column, biasBytes, full);
            }
        }
    }
}

/// Has the next step's products begin.
DEVICE void begin_step(const DeferredShared& shared, const Ring& ring, int group, float (&sums)[Columns / 2])
{
    constexpr int RightStep = RIGHT_OVER_ROWS ? 16 * RowBytes : 32;
    u64 a = matrix(shared.left + ring.stage * LeftBytes + group * PieceBytes), b = matrix(shared.right + ring.stage * RightBytes, PieceBytes);
    shared.gates.await_full(ring);
    product_fence();
#pragma unroll
    for (int i = 0; i < Depth / 16; i++)
        product<0, RIGHT_OVER_ROWS>(sums, a + ((i * 32) >> 4), b + ((i * RightStep) >> 4), 1);
    product_commit();
}

DEVICE void consume(const DeferredShared& shared, const DeferredArgs& args, int group)
{
    Ring ring, before;
    Waiting waiting;
    int count = 0, tiles = DeferredPlace::count(args);
#pragma unroll
    for (int i = 0; i < Lefts; i++)
        count += tiles_of(args.depths[i], Depth);
    for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x)
    {
        float sums[Columns / 2];
        clear(sums);
        for (int step = 0; step < count; step++)
        {
            begin_step(shared, ring, group, sums);
            // While this step's products, and those before, are under way.
            waiting.store();
            product_wait<1>();
            if (step > 0)
                shared.gates.release(before);
            before = ring;
            ring.advance();
        }
        product_wait<0>();
        pin(sums);
        if (!BIAS)
            shared.gates.release(before);
        waiting.store_all();
        DeferredPlace place(args, tile);
        waiting.take(sums, shared.bias + before.stage * BiasBytes);
        int row = place.row + group * 64 + (threadIdx.x & 127) / 32 * 16 + lane_index() / 4;
        i64 stride = args.strides[place.part];
        Element* target = args.results[place.part] + row * stride + place.column;
        waiting.send(target, target + 8 * stride, args.rows - row, args.columns[place.part] - place.column);
        if (BIAS)
        {
            __syncwarp();
            shared.gates.release(before);
        }
    }
    waiting.store_all();
}

extern "C" __global__ void __launch_bounds__(Threads, 1) product_deferred(const __grid_constant__ DeferredArgs args)
{
    __shared__ u64 barriers[2 * STAGES];
    DeferredShared shared;
    shared.left = tile_memory();
    shared.right = shared.left + STAGES * LeftBytes;
    shared.bias = shared.right + STAGES * RightBytes;
    shared.gates = Barriers{shared_address(barriers)}.take(STAGES);
    take_roles(
        [&] {
            if (threadIdx.x == 0)
                produce(shared, args);
        },
        [&](int group) { consume(shared, args, group); });
}
