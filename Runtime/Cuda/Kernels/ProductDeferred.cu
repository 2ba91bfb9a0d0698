// Matrix products with 16-bit results on sm_90a: a persistent grid, in each block a producer that copies steps of 64 along the
// contracted axis into a ring of stages, and two consumer warpgroups that share a tile of 128 rows and 256 columns. Blocks are paired
// in clusters: their tiles lie below one another, and each copies half of the right operand's columns to both, so that the second-level
// cache gives a third less.
// A tile's sums are stored while the products of the next tile are under way: rounded, they wait in registers, and each step
// stores some of their columns. Every sum is made by one warpgroup in one order.
// Sizes may be odd: the copy engine gives zeros beyond the end.
// RIGHT_OVER_ROWS: 1 where the right operand is contracted over its rows, 0 along them. PARTS: products that are computed as
// one; CHAINED: 1 where they are summed; COMBINED: 1 where two read one left matrix, and the result is what `combine`, which
// stands before this, makes of their elements, both rounded; else they read one left matrix and give a result each. BIAS: whether a
// vector is added to each row, where they aren't combined.

struct DeferredShared
{
    u32 left, right, bias;
    Gates gates;

    // Where a lane that arrives at a block of the cluster finds the barriers that tell its producer of free stages.
    u32 emptyThere;
};

/// By one thread.
DEVICE void produce(const DeferredShared& shared, const DeferredArgs& args)
{
    Ring ring;
    int tiles = DeferredPlace::count(args);
    u32 rank = cluster_rank();
    for (int tile = blockIdx.x / Cluster; tile < tiles; tile += gridDim.x / Cluster)
    {
        DeferredPlace place(args, tile);
        for (int i = 0; i < Lefts; i++)
        {
            const TensorMap& left = args.left[i];
            for (int k = 0; k < args.depths[i]; k += Depth, ring.advance())
            {
                u32 full = shared.gates.full + 8 * ring.stage, a = shared.left + ring.stage * LeftBytes, b = shared.right + ring.stage * RightBytes;
                shared.gates.await_empty(ring);
                bool isLast = BIAS && k + Depth >= args.depths[i];
                int biasBytes = isLast ? min(Columns, args.columns[place.part] - place.column) * 2 : 0;
                shared.gates.expect(ring, LeftBytes + RightBytes + biasBytes);
                copy_box(a, left, full, k, place.row, 0, 0);
                const TensorMap& right = args.right[CHAINED ? i : COMBINED ? rank : place.part];
                int column = place.column + (COMBINED ? 0 : rank * CopiedColumns);
                b += rank * TileBytes<CopiedColumns, Depth>;
                if (RIGHT_OVER_ROWS)
#pragma unroll
                    for (int piece = 0; piece < CopiedColumns / 64; piece++)
                        copy_box_to((1 << Cluster) - 1, b + piece * PieceBytes, right, full, column + 64 * piece, k, 0, 0);
                else
                    copy_box_to((1 << Cluster) - 1, b, right, full, k, column, 0, 0);
                if (isLast)
                    copy_bytes(shared.bias + ring.stage * BiasBytes, args.biases[place.part] + place.column, biasBytes, full);
            }
        }
    }
    // Until the other block is done with what it was sent, and has told this one's barriers.
    for (int stage = 0; stage < STAGES; stage++, ring.advance())
        shared.gates.await_empty(ring);
}

/// A consumer warp of a cluster is done with a stage, in both blocks' rings: each copies to both.
DEVICE void release(const DeferredShared& shared, Place place)
{
    if (WARP_ARRIVALS > 1)
        for (int rank = 0; rank < Cluster; rank++)
            barrier_arrive_there(place_there(shared.gates.empty + 8 * place.stage, rank));
    else if (lane_index() < Cluster)
        barrier_arrive_there(shared.emptyThere + 8 * place.stage);
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
    for (int tile = blockIdx.x / Cluster; tile < tiles; tile += gridDim.x / Cluster)
    {
        float sums[Columns / 2];
        clear(sums);
        if (count < Waiting::Stores)
            store_all(waiting, args);
        // Of the first steps, each stores a piece while its products are under way. One after another in the text, with products of their own,
        // they take the compiler more than twice as long, and NVRTC of CUDA 12.4 more than ten times: only where what is stored is still to be made.
#if COMBINED
#pragma unroll
#else
#pragma unroll 1
#endif
        for (int step = 0; step < Waiting::Stores && step < count; step++)
        {
            begin_step(shared, ring, group, sums);
#pragma unroll
            for (int piece = 0; piece < Waiting::Stores; piece++)
                if (piece == step)
                    waiting.store(args, piece);
            product_wait<1>();
            if (step > 0)
                release(shared, before);
            before = ring;
            ring.advance();
        }
        for (int step = Waiting::Stores; step < count; step++)
        {
            begin_step(shared, ring, group, sums);
            product_wait<1>();
            release(shared, before);
            before = ring;
            ring.advance();
        }
        product_wait<0>();
        pin(sums);
        if (!BIAS)
            release(shared, before);
        DeferredPlace place(args, tile);
        waiting.take(
            args, place, place.row + group * 64 + (threadIdx.x & 127) / 32 * 16 + lane_index() / 4, shared.bias + before.stage * BiasBytes, sums);
        if (BIAS)
        {
            __syncwarp();
            release(shared, before);
        }
    }
    store_all(waiting, args);
}

extern "C" __global__ void __launch_bounds__(Threads, 1) product_deferred(const __grid_constant__ DeferredArgs args)
{
    __shared__ u64 barriers[2 * STAGES];
    DeferredShared shared;
    shared.left = tile_memory();
    shared.right = shared.left + STAGES * LeftBytes;
    shared.bias = shared.right + STAGES * RightBytes;
    shared.gates = Barriers{shared_address(barriers)}.take(STAGES, 1, Cluster * ConsumerWarps);
    shared.emptyThere = place_there(shared.gates.empty, lane_index() % Cluster);
    if (threadIdx.x == 0)
        barrier_init_fence();
    cluster_sync();
    take_roles(
        [&] {
            if (threadIdx.x == 0)
                produce(shared, args);
        },
        [&](int group) { consume(shared, args, group); });
}
