// The keys' and values' gradients on sm_90a. A block holds keys and values and streams queries and output gradients; scores
// are computed transposed, keys down, so that probabilities and score gradients are left operands straight from registers.
// QUERIES: queries of a tile; the rest as there.

struct KeyGradientArgs
{
    int queries, keys, heads, group, tiles, work, headSize, valueSize;
    Heads keyTarget, valueTarget;
    const float* rowSums;
    int* schedule;
    Extra extra;
};

constexpr int KeyBytes = TileBytes<Rows, HEAD>, ValueBytes = TileBytes<Rows, VALUE>;
constexpr int QueryBytes = TileBytes<QUERIES, HEAD>, GradientBytes = TileBytes<QUERIES, VALUE>, TileRowBytes = 2 * QUERIES * sizeof(float);

/// Key rows of one key head. Early rows first: under a causal mask they are longest.
struct KeyTile
{
    int b, keyHead, row;

    DEVICE KeyTile(const KeyGradientArgs& args, int work)
    {
        int keyHeads = args.heads / args.group;
        row = work % args.tiles * Rows;
        keyHead = work / args.tiles % keyHeads;
        b = work / args.tiles / keyHeads;
    }

    DEVICE int next(const KeyGradientArgs& args, TileWalk& walk, int h, bool& some) const
    {
        return walk.advance((args.queries + QUERIES - 1) / QUERIES, [&](int tile) {
            int first = tile * QUERIES, last = min(first + QUERIES, args.queries) - 1;
            return tile_kind(args.extra, b, h, first, last, row, row + Rows - 1, args.keys);
        }, some);
    }
};

struct KeyGradientShared
{
    u32 key, value, query, gradient;
    float* rows;
    Gates stationary, queries, gradients;
    volatile int* work;
};

DEVICE void produce(
    const KeyGradientShared& shared, const TensorMap& query, const TensorMap& key, const TensorMap& value, const TensorMap& gradient,
    const KeyGradientArgs& args)
{
    bool elected = lane_index() == 0;
    Ring ring, round;
    int work = blockIdx.x;
    while (work < args.work)
    {
        int following = draw(args.schedule);
        KeyTile tile(args, work);
        shared.stationary.await_empty({0, round.phase});
        if (elected)
        {
            *shared.work = work;
            shared.stationary.expect({}, KeyBytes + ValueBytes);
            copy_tile(shared.key, key, shared.stationary.full, Rows, HEAD, tile.row, tile.keyHead, tile.b);
            copy_tile(shared.value, value, shared.stationary.full, Rows, VALUE, tile.row, tile.keyHead, tile.b);
        }
        round.phase ^= 1;
        for (int h = tile.keyHead * args.group; h < (tile.keyHead + 1) * args.group; h++)
        {
            TileWalk walk;
            bool some;
            for (int q; (q = tile.next(args, walk, h, some)) >= 0; ring.advance())
            {
                shared.queries.await_empty(ring);
                if (elected)
                {
                    shared.queries.expect(ring, QueryBytes);
                    copy_tile(shared.query + ring.stage * QueryBytes, query, shared.queries.full + 8 * ring.stage, QUERIES, HEAD, q * QUERIES, h, tile.b);
                }
                shared.gradients.await_empty(ring);
                if (elected)
                {
                    u32 full = shared.gradients.full + 8 * ring.stage;
                    i64 index = (i64)(tile.b * args.heads + h) * ((args.queries + QUERIES - 1) / QUERIES) + q;
                    shared.gradients.expect(ring, GradientBytes + TileRowBytes);
                    copy_tile(shared.gradient + ring.stage * GradientBytes, gradient, full, QUERIES, VALUE, q * QUERIES, h, tile.b);
                    copy_bytes(shared_address(shared.rows + ring.stage * 2 * QUERIES), args.rowSums + index * 2 * QUERIES, TileRowBytes, full);
                }
                __syncwarp();
            }
        }
        work = __shfl_sync(0xffffffffu, following, 0);
    }
    shared.stationary.await_empty({0, round.phase});
    if (elected)
    {
        *shared.work = -1;
        barrier_arrive(shared.stationary.full);
    }
    leave(args.schedule);
}

/// Probabilities of a transposed tile, in place of the products. k: the thread's first key; q: its first query.
DEVICE void probabilities(float (&s)[QUERIES / 2], float (&slope)[QUERIES / 2], const KeyGradientArgs& args, const KeyTile& tile, int h, int q, int k, const float* rows, bool some)
{
#pragma unroll
    for (int i = 0; i < QUERIES / 2; i++)
        s[i] = probability(args.extra, s[i], rows[accumulator_column(i)], tile.b, h, q + accumulator_column(i), k + accumulator_row(i), slope[i]);
    if (some)
#pragma unroll
        for (int i = 0; i < QUERIES / 2; i++)
            if (!visible_pair(args.extra, tile.b, h, q + accumulator_column(i), k + accumulator_row(i), args.keys))
                s[i] = 0;
}

/// The 64 keys of one warpgroup against all queries that see any of them. k: the thread's first.
DEVICE void differentiate(
    const KeyGradientShared& shared, const KeyGradientArgs& args, const KeyTile& tile, int group, int k, Ring& ring, float (&dk)[HEAD / 2], float (&dv)[VALUE / 2])
{
    float s[QUERIES / 2], dp[QUERIES / 2], slope[QUERIES / 2];
    u32 p[QUERIES / 4], ds[QUERIES / 4];
    u32 key = shared.key + group * 64 * RowBytes, value = shared.value + group * 64 * RowBytes;
    int quad = lane_index() & 3;
    for (int h = tile.keyHead * args.group; h < (tile.keyHead + 1) * args.group; h++)
    {
        TileWalk walk;
        bool some;
        for (int tileIndex; (tileIndex = tile.next(args, walk, h, some)) >= 0; ring.advance())
        {
            u32 query = shared.query + ring.stage * QueryBytes, gradient = shared.gradient + ring.stage * GradientBytes;
            const float* rows = shared.rows + ring.stage * 2 * QUERIES + 2 * quad;
            shared.queries.await_full(ring);
            product_fence();
            multiply<HEAD>(s, key, Rows, query, QUERIES);
            product_commit();
            shared.gradients.await_full(ring);
            multiply<VALUE>(dp, value, Rows, gradient, QUERIES);
            product_commit();
            product_wait<1>();
            pin(s);
            probabilities(s, slope, args, tile, h, tileIndex * QUERIES + 2 * quad, k, rows, some);
            pack_rows(p, s);
            product_fence();
            multiply_rows<QUERIES>(dv, p, gradient, QUERIES);
            product_commit();
            product_wait<1>();
            pin(dp);
#pragma unroll
            for (int i = 0; i < QUERIES / 2; i++)
                dp[i] = (i & 1 ? high_float(p[i / 2]) : low_float(p[i / 2])) * (dp[i] - rows[QUERIES + accumulator_column(i)]) * slope[i];
            pack_rows(ds, dp);
            product_fence();
            multiply_rows<QUERIES>(dk, ds, query, QUERIES);
            product_commit();
            product_wait<0>();
            __syncwarp();
            shared.queries.release(ring);
            shared.gradients.release(ring);
        }
    }
    shared.stationary.release({});
    pin(dk);
    pin(dv);
}

DEVICE void consume(const KeyGradientShared& shared, const KeyGradientArgs& args, int group)
{
    Ring ring;
    u32 phase = 0;
    for (;;)
    {
        barrier_wait(shared.stationary.full, phase);
        phase ^= 1;
        int work = *shared.work;
        __syncwarp();
        if (work < 0)
            return;
        KeyTile tile(args, work);
        float dk[HEAD / 2], dv[VALUE / 2];
        clear(dk);
        clear(dv);
        int row = tile.row + group * 64 + (threadIdx.x & 127) / 32 * 16, rows = args.keys - row;
        differentiate(shared, args, tile, group, row + lane_index() / 4, ring, dk, dv);
        store_rows(dk, SCALE, SCALE, row_pointer(args.keyTarget, tile.b, row, tile.keyHead), args.keyTarget.position, rows, args.headSize);
        store_rows(dv, 1, 1, row_pointer(args.valueTarget, tile.b, row, tile.keyHead), args.valueTarget.position, rows, args.valueSize);
    }
}

extern "C" __global__ void __launch_bounds__(Threads, 1) attention_key_gradient(
    const __grid_constant__ TensorMap query, const __grid_constant__ TensorMap key, const __grid_constant__ TensorMap value,
    const __grid_constant__ TensorMap gradient, const __grid_constant__ KeyGradientArgs args)
{
    __shared__ u64 barriers[2 + 4 * STAGES];
    __shared__ alignas(128) float rows[STAGES * 2 * QUERIES];
    __shared__ int work;
    KeyGradientShared shared;
    shared.key = tile_memory();
    shared.value = shared.key + KeyBytes;
    shared.query = shared.value + ValueBytes;
    shared.gradient = shared.query + STAGES * QueryBytes;
    Barriers free{shared_address(barriers)};
    shared.stationary = free.take(1);
    shared.queries = free.take(STAGES);
    shared.gradients = free.take(STAGES);
    shared.rows = rows;
    shared.work = &work;
    take_roles([&] { produce(shared, query, key, value, gradient, args); }, [&](int group) { consume(shared, args, group); });
}
