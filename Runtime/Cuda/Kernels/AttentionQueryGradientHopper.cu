// The queries' gradient on sm_90a. A block holds query rows and streams keys and values, as the forward step does: so each
// gradient is summed in registers, in one order, and the second computation of the scores costs less than ordering
// atomic additions between blocks would. KEYS, STAGES, CONSUMERS, HEAD, VALUE as there.

struct GradientArgs
{
    int queries, keys, heads, group, tiles, work, headSize;
    Heads target;
    const float* rowSums;
    int* schedule;
    Extra extra;
};

constexpr int QueryBytes = TileBytes<Rows, HEAD>, GradientBytes = TileBytes<Rows, VALUE>;
constexpr int KeyBytes = TileBytes<KEYS, HEAD>, ValueBytes = TileBytes<KEYS, VALUE>;

struct QueryTile
{
    int b, h, row;

    DEVICE QueryTile(const GradientArgs& args, int work)
    {
        row = (args.tiles - 1 - work % args.tiles) * Rows;
        h = work / args.tiles % args.heads;
        b = work / args.tiles / args.heads;
    }

    DEVICE int next(const GradientArgs& args, TileWalk& walk, bool& some) const
    {
        int last = min(row + Rows, args.queries) - 1;
        return walk.advance((args.keys + KEYS - 1) / KEYS, [&](int tile) {
            return tile_kind(args.extra, b, h, row, last, tile * KEYS, tile * KEYS + KEYS - 1, args.keys);
        }, some);
    }
};

struct GradientShared
{
    u32 query, gradient, key, value;
    Gates rows, keys, values;
    volatile int* work;
};

DEVICE void produce(
    const GradientShared& shared, const TensorMap& query, const TensorMap& key, const TensorMap& value, const TensorMap& gradient, const GradientArgs& args)
{
    bool elected = lane_index() == 0;
    Ring ring, round;
    int work = blockIdx.x;
    while (work < args.work)
    {
        int following = draw(args.schedule);
        QueryTile tile(args, work);
        shared.rows.await_empty({0, round.phase});
        if (elected)
        {
            *shared.work = work;
            shared.rows.expect({}, QueryBytes + GradientBytes);
            copy_tile(shared.query, query, shared.rows.full, Rows, HEAD, tile.row, tile.h, tile.b);
            copy_tile(shared.gradient, gradient, shared.rows.full, Rows, VALUE, tile.row, tile.h, tile.b);
        }
        round.phase ^= 1;
        TileWalk walk;
        bool some;
        for (int k; (k = tile.next(args, walk, some)) >= 0; ring.advance())
        {
            shared.keys.await_empty(ring);
            if (elected)
            {
                shared.keys.expect(ring, KeyBytes);
                copy_tile(shared.key + ring.stage * KeyBytes, key, shared.keys.full + 8 * ring.stage, KEYS, HEAD, k * KEYS, tile.h / args.group, tile.b);
            }
            shared.values.await_empty(ring);
            if (elected)
            {
                shared.values.expect(ring, ValueBytes);
                copy_tile(shared.value + ring.stage * ValueBytes, value, shared.values.full + 8 * ring.stage, KEYS, VALUE, k * KEYS, tile.h / args.group, tile.b);
            }
            __syncwarp();
        }
        work = __shfl_sync(0xffffffffu, following, 0);
    }
    shared.rows.await_empty({0, round.phase});
    if (elected)
    {
        *shared.work = -1;
        barrier_arrive(shared.rows.full);
    }
    leave(args.schedule);
}

/// The 64 rows of one warpgroup against all visible keys. row: the thread's first.
DEVICE void differentiate(const GradientShared& shared, const GradientArgs& args, const QueryTile& tile, int group, int row, Ring& ring, float (&dq)[HEAD / 2])
{
    float s[KEYS / 2], dp[KEYS / 2], logSumExp2[2], dot[2];
    u32 ds[KEYS / 4];
#pragma unroll
    for (int r = 0; r < 2; r++)
    {
        int q = row + 8 * r;
        i64 index = (i64)(tile.b * args.heads + tile.h) * ((args.queries + 63) / 64) + q / 64;
        const float* rows = args.rowSums + index * 128 + q % 64;
        logSumExp2[r] = q < args.queries ? rows[0] : infinity();
        dot[r] = q < args.queries ? rows[64] : 0;
    }
    u32 query = shared.query + group * 64 * RowBytes, gradient = shared.gradient + group * 64 * RowBytes;
    int quad = lane_index() & 3;
    TileWalk walk;
    bool some, first = true;
    Ring before = ring;
    for (int tileIndex; (tileIndex = tile.next(args, walk, some)) >= 0; ring.advance())
    {
        u32 key = shared.key + ring.stage * KeyBytes;
        shared.keys.await_full(ring);
        product_fence();
        multiply<HEAD>(s, query, Rows, key, KEYS);
        product_commit();
        shared.values.await_full(ring);
        multiply<VALUE>(dp, gradient, Rows, shared.value + ring.stage * ValueBytes, KEYS);
        product_commit();
        product_wait<1>();
        pin(s);
        if (!first)
            shared.keys.release(before);
        first = false;
        before = ring;
        int k = tileIndex * KEYS + 2 * quad;
        float slope[KEYS / 2];
#pragma unroll
        for (int i = 0; i < KEYS / 2; i++)
            s[i] = probability(args.extra, s[i], logSumExp2[(i >> 1) & 1], tile.b, tile.h, row + accumulator_row(i), k + accumulator_column(i), slope[i]);
        if (some)
#pragma unroll
            for (int i = 0; i < KEYS / 2; i++)
                if (!visible_pair(args.extra, tile.b, tile.h, row + accumulator_row(i), k + accumulator_column(i), args.keys))
                    s[i] = 0;
        product_wait<0>();
        pin(dp);
        shared.values.release(ring);
#pragma unroll
        for (int i = 0; i < KEYS / 2; i++)
            s[i] *= (dp[i] - dot[(i >> 1) & 1]) * slope[i];
        pack_rows(ds, s);
        product_fence();
        multiply_rows<KEYS>(dq, ds, key, KEYS);
        product_commit();
    }
    shared.rows.release({});
    product_wait<0>();
    pin(dq);
    if (!first)
        shared.keys.release(before);
}

DEVICE void consume(const GradientShared& shared, const GradientArgs& args, int group)
{
    Ring ring;
    u32 phase = 0;
    for (;;)
    {
        barrier_wait(shared.rows.full, phase);
        phase ^= 1;
        int work = *shared.work;
        __syncwarp();
        if (work < 0)
            return;
        QueryTile tile(args, work);
        float dq[HEAD / 2];
        clear(dq);
        int row = tile.row + group * 64 + (threadIdx.x & 127) / 32 * 16;
        differentiate(shared, args, tile, group, row + lane_index() / 4, ring, dq);
        store_rows(dq, SCALE, SCALE, row_pointer(args.target, tile.b, row, tile.h), args.target.position, args.queries - row, args.headSize);
    }
}

extern "C" __global__ void __launch_bounds__(Threads, 1) attention_query_gradient(
    const __grid_constant__ TensorMap query, const __grid_constant__ TensorMap key, const __grid_constant__ TensorMap value,
    const __grid_constant__ TensorMap gradient, const __grid_constant__ GradientArgs args)
{
    __shared__ u64 barriers[2 + 4 * STAGES];
    __shared__ int work;
    GradientShared shared;
    shared.query = tile_memory();
    shared.gradient = shared.query + QueryBytes;
    shared.key = shared.gradient + GradientBytes;
    shared.value = shared.key + STAGES * KeyBytes;
    Barriers free{shared_address(barriers)};
    shared.rows = free.take(1);
    shared.keys = free.take(STAGES);
    shared.values = free.take(STAGES);
    shared.work = &work;
    take_roles([&] { produce(shared, query, key, value, gradient, args); }, [&](int group) { consume(shared, args, group); });
}
