// The gradients of attention on sm_90a by five products a tile. A block holds keys and values and streams queries and output
// gradients; scores are computed transposed, keys down, so that probabilities and score gradients are left operands straight
// from registers. Consumers have the next tile's first products under way while they work on one. What they leave in shared memory, one
// warpgroup multiplies by the keys: a part of the queries' gradient, which blocks add up in float32, in an order that is fixed.

constexpr int GradientThreads = Warpgroup * (CONSUMERS + 2), TileRegisters = 192, SumRegisters = 88, OtherRegisters = 40;

DEVICE void produce(
    const GradientShared& shared, const TensorMap& query, const TensorMap& key, const TensorMap& value, const TensorMap& gradient, const GradientArgs& args)
{
    bool elected = lane_index() == 0;
    Ring ring;
    KeyRing keys;
    for (int work = blockIdx.x; work < args.work; keys.advance())
    {
        KeyTile tile;
        tile.find(args, work);
        QueryTiles tiles(args, tile);
        shared.keys.await_empty(keys);
        if (elected)
        {
            u32 full = shared.keys.full + 8 * keys.stage;
            shared.work[keys.stage] = tile;
            shared.keys.expect(keys, KeyBytes + ValueBytes);
            copy_tile(shared.key + keys.stage * KeyBytes, key, full, Rows, HEAD, tiles.row, tiles.keyHead, tiles.b);
            copy_tile(shared.value + keys.stage * ValueBytes, value, full, Rows, VALUE, tiles.row, tiles.keyHead, tiles.b);
        }
        for (; tiles.advance(args); ring.advance())
        {
            u32 full = shared.tiles.full + 8 * ring.stage;
            shared.tiles.await_empty(ring);
            if (elected)
            {
                shared.tiles.expect(ring, QueryBytes + GradientBytes + TileRowBytes);
                copy_bytes(shared_address(shared.rows + ring.stage * 2 * QUERIES), args.rowSums + (i64)tiles.index(args) * 2 * QUERIES, TileRowBytes, full);
                copy_tile(shared.query + ring.stage * QueryBytes, query, full, QUERIES, HEAD, tiles.query * QUERIES, tiles.h, tiles.b);
                copy_tile(shared.gradient + ring.stage * GradientBytes, gradient, full, QUERIES, VALUE, tiles.query * QUERIES, tiles.h, tiles.b);
            }
        }
        // As late as that: who adds before others should not have drawn long before it begins.
        work = __shfl_sync(0xffffffffu, draw(args.schedule), 0);
    }
    shared.keys.await_empty(keys);
    if (elected)
    {
        shared.work[keys.stage].row = -1;
        barrier_arrive(shared.keys.full + 8 * keys.stage);
    }
    leave(args.schedule);
}

/// Probabilities of a transposed tile in place of the products, and what their gradients are multiplied by.
DEVICE void probabilities(float (&s)[QUERIES / 2], u32 (&p)[QUERIES / 4], u32 (&change)[QUERIES / 4], const GradientArgs& args, const QueryTiles& tile, int k, const float* logSumExp)
{
    float slope[QUERIES / 2];
    int q = tile.query * QUERIES + 2 * (lane_index() & 3);
#pragma unroll
    for (int i = 0; i < QUERIES / 2; i += 2)
    {
        float2 rows = *(const float2*)(logSumExp + accumulator_column(i));
        s[i] = probability(args.extra, s[i], rows.x, tile.b, tile.h, q + accumulator_column(i), k + accumulator_row(i), slope[i]);
        s[i + 1] = probability(args.extra, s[i + 1], rows.y, tile.b, tile.h, q + accumulator_column(i + 1), k + accumulator_row(i), slope[i + 1]);
    }
    if (tile.some)
#pragma unroll
        for (int i = 0; i < QUERIES / 2; i++)
            if (!visible_pair(args.extra, tile.b, tile.h, q + accumulator_column(i), k + accumulator_row(i), args.keys))
                s[i] = 0;
    pack_rows(p, s);
#pragma unroll
    for (int i = 0; i < QUERIES / 4; i++)
        change[i] = MODIFIED ? pack(s[2 * i] * slope[2 * i], s[2 * i + 1] * slope[2 * i + 1]) : p[i];
}

/// Leaves a warp's 16 rows of score gradients in shared memory, swizzled as products want them.
DEVICE void leave_scores(u32 target, const u32 (&ds)[QUERIES / 4])
{
    int row = lane_index() & 15;
#pragma unroll
    for (int i = 0; i < QUERIES / 4; i += 4)
        store_matrices(target + row * RowBytes + (((i / 2 + lane_index() / 16) ^ (row & 7)) << 4), ds[i], ds[i + 1], ds[i + 2], ds[i + 3]);
}

/// The 64 keys of one warpgroup. While the gradients of one tile's scores are made the next tile's scores are under way, and while
/// those become probabilities, the products with what is left of the first. Nothing is under way where the loop turns: the compiler wants it so.
DEVICE void consume(const GradientShared& shared, const GradientArgs& args, int group)
{
    KeyRing keys;
    QueryTiles tile(args, shared.await_keys(keys));
    int warp = (threadIdx.x & 127) / 32, own = group * 64 * RowBytes;
    float s[QUERIES / 2], dp[QUERIES / 2], dk[HEAD / 2], dv[VALUE / 2];
    u32 p[QUERIES / 4], change[QUERIES / 4], ds[QUERIES / 4];
    int offset = 2 * (lane_index() & 3), first = group * 64 + warp * 16;
    Ring ring;
    RingOf<ScoreStages> staged;
    tile.advance(args);
    clear(dk);
    clear(dv);
    shared.tiles.await_full(ring);
    product_fence();
    multiply<HEAD>(s, shared.key + own, Rows, shared.query, QUERIES);
    product_commit();
    multiply<VALUE>(dp, shared.value + own, Rows, shared.gradient, QUERIES);
    product_commit();
    product_wait<1>();
    pin(s);
    probabilities(s, p, change, args, tile, tile.row + first + lane_index() / 4, shared.rows + offset);
    product_wait<0>();
    pin(dp);
    for (bool more = true; more;)
    {
        KeyTile at = tile;
        KeyRing following = keys;
        Ring next = ring;
        next.advance();
        bool ends = !tile.advance(args);
        if (ends)
        {
            following.advance();
            KeyTile other = shared.await_keys(following);
            more = other.row >= 0;
            if (more)
            {
                tile = QueryTiles(args, other);
                tile.advance(args);
            }
            else
            {
                // What is under way at the end is this tile once more, for nothing.
                following = keys;
                next = ring;
            }
        }
        if (more)
            shared.tiles.await_full(next);
        u32 gradient = shared.gradient + ring.stage * GradientBytes;
        product_fence();
        multiply<HEAD>(s, shared.key + following.stage * KeyBytes + own, Rows, shared.query + next.stage * QueryBytes, QUERIES);
        product_commit();
        multiply_rows<QUERIES>(dv, p, gradient, QUERIES);
        product_commit();
        const float* dots = shared.rows + (2 * ring.stage + 1) * QUERIES + offset;
#pragma unroll
        for (int i = 0; i < QUERIES / 2; i += 2)
        {
            float2 rows = *(const float2*)(dots + accumulator_column(i));
            dp[i] = low_float(change[i / 2]) * (dp[i] - rows.x);
            dp[i + 1] = high_float(change[i / 2]) * (dp[i + 1] - rows.y);
        }
        pack_rows(ds, dp);
        product_fence();
        multiply_rows<QUERIES>(dk, ds, shared.query + ring.stage * QueryBytes, QUERIES);
        product_commit();
        multiply<VALUE>(dp, shared.value + following.stage * ValueBytes + own, Rows, shared.gradient + next.stage * GradientBytes, QUERIES);
        product_commit();
        shared.staged.await_empty(staged);
        leave_scores(shared.scores + staged.stage * ScoreBytes + own + warp * 16 * RowBytes, ds);
        pieces_fence();
        __syncwarp();
        if (WARP_ARRIVALS > 1 || lane_index() == 0)
            barrier_arrive(shared.staged.full + 8 * staged.stage);
        staged.advance();
        product_wait<2>();
        pin(s);
        probabilities(s, p, change, args, tile, tile.row + first + lane_index() / 4, shared.rows + next.stage * 2 * QUERIES + offset);
        product_wait<0>();
        pin(dp);
        pin(dk);
        pin(dv);
        shared.tiles.release(ring);
        if (ends)
        {
            shared.keys.release(keys);
            int row = at.row + first;
            store_rows(dk, SCALE, SCALE, row_pointer(args.keyTarget, at.b, row, at.keyHead), args.keyTarget.position, args.keys - row, args.headSize);
            store_rows(dv, 1, 1, row_pointer(args.valueTarget, at.b, row, at.keyHead), args.valueTarget.position, args.keys - row, args.valueSize);
            clear(dk);
            clear(dv);
        }
        ring = next;
        keys = following;
    }
}

extern "C" __global__ void __launch_bounds__(GradientThreads, 1) attention_gradient(
    const __grid_constant__ TensorMap query, const __grid_constant__ TensorMap key, const __grid_constant__ TensorMap value,
    const __grid_constant__ TensorMap gradient, const __grid_constant__ GradientArgs args)
{
    __shared__ u64 barriers[2 * (KEY_STAGES + STAGES + ScoreStages + 2 * TurnStages)];
    __shared__ alignas(128) float rows[STAGES * 2 * QUERIES];
    __shared__ alignas(16) char turns[TurnStages * sizeof(Turn)];
    __shared__ KeyTile work[KEY_STAGES];
    GradientShared shared;
    shared.key = tile_memory();
    shared.value = shared.key + KEY_STAGES * KeyBytes;
    shared.query = shared.value + KEY_STAGES * ValueBytes;
    shared.gradient = shared.query + STAGES * QueryBytes;
    shared.scores = shared.gradient + STAGES * GradientBytes;
    shared.rows = rows;
    shared.work = work;
    shared.turns = (Turn*)turns;
    Barriers free{shared_address(barriers)};
    shared.keys = free.take(KEY_STAGES, 1, ConsumerWarps + SumWarps + 1);
    shared.tiles = free.take(STAGES);
    shared.staged = free.take(ScoreStages, ConsumerWarps * WARP_ARRIVALS, SumWarps);
    shared.turn = free.take(TurnStages, 1, 1);
    shared.added = free.take(TurnStages, SumWarps * WARP_ARRIVALS);
    if (threadIdx.x == 0)
        barrier_init_fence();
    __syncthreads();
    int warpgroup = threadIdx.x / Warpgroup;
    if (warpgroup == 0)
    {
        release_registers<OtherRegisters>();
        if (threadIdx.x < 32)
            produce(shared, query, key, value, gradient, args);
        else if (threadIdx.x < 64)
            await_turns(shared, args);
        else if (threadIdx.x < 96)
            end_turns(shared, args);
    }
    else if (warpgroup == 1)
    {
        release_registers<SumRegisters>();
        sum_queries(shared, args);
    }
    else
    {
        claim_registers<TileRegisters>();
        consume(shared, args, warpgroup - 2);
    }
}
