// The queries' gradient, to which all blocks that hold keys they see add a part, in float32: a warpgroup multiplies what the
// others leave of a tile's score gradients by the keys, and adds when it is the block's turn. The order is fixed, so that the
// bits are the same every time. A counter a tile of queries tells how many have added.

/// Warps that sum; stages of score gradients, and of turns.
constexpr int SumWarps = 4, ScoreStages = 2, TurnStages = 4;

/// When a block may add to the gradient of a tile of queries: after how many others; whether it is the last; whether it has anything to add.
struct Turn
{
    int index, before = 0;
    bool visible = false, last = true;

    DEVICE Turn(const GradientArgs& args, const QueryTiles& tile) : index(tile.index(args))
    {
        int own = tile.row / Rows;
        for (int first = 0; first < args.tiles; first += 32)
        {
            int other = first + lane_index();
            bool sees = other < args.tiles && tile.kind(args, tile.h, tile.query, other * Rows) != 0;
            u32 lower = __ballot_sync(0xffffffffu, sees && other < own), upper = __ballot_sync(0xffffffffu, sees && other > own);
            visible |= __ballot_sync(0xffffffffu, sees && other == own) != 0;
            before += __popc(tile.ascends ? lower : upper);
            last &= (tile.ascends ? upper : lower) == 0;
        }
    }
};

/// A warp that waits for turns, ahead of those who take them.
DEVICE void await_turns(const GradientShared& shared, const GradientArgs& args)
{
    KeyRing keys;
    RingOf<TurnStages> ring;
    for (KeyTile own; (own = shared.await_keys(keys)).row >= 0; keys.advance())
    {
        for (QueryTiles tile(args, own); tile.advance(args); ring.advance())
        {
            Turn turn(args, tile);
            shared.turn.await_empty(ring);
            if (lane_index() == 0)
            {
                if (turn.visible && turn.before > 0)
                    while (load_acquire(args.turns + turn.index) != turn.before)
                        ;
                shared.turns[ring.stage] = turn;
                barrier_arrive(shared.turn.full + 8 * ring.stage);
            }
            __syncwarp();
        }
        shared.keys.release(keys);
    }
    shared.turn.await_empty(ring);
    if (lane_index() == 0)
    {
        shared.turns[ring.stage].index = -1;
        barrier_arrive(shared.turn.full + 8 * ring.stage);
    }
}

/// A warp that ends turns: only it waits until what was added is there for others. The last one leaves the counter as it was at first.
DEVICE void end_turns(const GradientShared& shared, const GradientArgs& args)
{
    for (RingOf<TurnStages> ring;; ring.advance())
    {
        shared.turn.await_full(ring);
        Turn turn = shared.turns[ring.stage];
        if (turn.index < 0)
            return;
        shared.added.await_full(ring);
        __syncwarp();
        shared.turn.release(ring);
        if (lane_index() == 0 && turn.visible)
            store_release(args.turns + turn.index, turn.last ? 0 : turn.before + 1);
        __syncwarp();
    }
}

/// Adds a part of the queries' gradient to the sum of those before, or stores the whole.
DEVICE void add_part(float (&dq)[HEAD / 2], const GradientArgs& args, const QueryTiles& tile, const Turn& turn)
{
    int row = tile.query * QUERIES + (threadIdx.x & 127) / 32 * 16;
    float4* sums = (float4*)(args.sums + (i64)turn.index * QUERIES * HEAD) + (threadIdx.x & 127);
    if (!turn.last && turn.before > 0)
#pragma unroll
        for (int i = 0; i < HEAD / 2; i += 4)
            add_four(sums + i / 4 * Warpgroup, make_float4(dq[i], dq[i + 1], dq[i + 2], dq[i + 3]));
    else if (!turn.last)
#pragma unroll
        for (int i = 0; i < HEAD / 2; i += 4)
            store_four(sums + i / 4 * Warpgroup, make_float4(dq[i], dq[i + 1], dq[i + 2], dq[i + 3]));
    else
    {
        if (turn.before > 0)
#pragma unroll
            for (int i = 0; i < HEAD / 2; i += 4)
            {
                float4 four = load_four(sums + i / 4 * Warpgroup);
                dq[i] += four.x;
                dq[i + 1] += four.y;
                dq[i + 2] += four.z;
                dq[i + 3] += four.w;
            }
        store_rows(dq, SCALE, SCALE, row_pointer(args.queryTarget, tile.b, row, tile.h), args.queryTarget.position, args.queries - row, args.headSize);
    }
}

/// The queries' gradient: the warpgroup that multiplies score gradients by keys.
DEVICE void sum_queries(const GradientShared& shared, const GradientArgs& args)
{
    float dq[HEAD / 2];
    RingOf<ScoreStages> staged;
    RingOf<TurnStages> ring;
    KeyRing keys;
    for (KeyTile own; (own = shared.await_keys(keys)).row >= 0; keys.advance())
    {
        QueryTiles tile(args, own);
        int seen = 0;
        u64 right = matrix(shared.key + keys.stage * KeyBytes, Rows * RowBytes);
        for (; tile.advance(args); ring.advance())
        {
            shared.staged.await_full(staged);
            u64 left = matrix(shared.scores + staged.stage * ScoreBytes);
            product_fence();
#pragma unroll
            for (int i = 0; i < Rows / 16; i++)
                product<1, 1>(dq, left + ((i * 16 * RowBytes) >> 4), right + ((i * 16 * RowBytes) >> 4), i);
            product_commit();
            shared.turn.await_full(ring);
            Turn turn = shared.turns[ring.stage];
            product_wait<0>();
            pin(dq);
            shared.staged.release(staged);
            staged.advance();
            if (turn.visible)
                add_part(dq, args, tile, turn);
            seen += turn.visible;
            __syncwarp();
            if (WARP_ARRIVALS > 1 || lane_index() == 0)
                barrier_arrive(shared.added.full + 8 * ring.stage);
        }
        shared.keys.release(keys);
        // What no key is seen by has a gradient too.
        if (tile.row == 0 && seen < tile.count * args.group)
            for (tile.h = tile.keyHead * args.group; tile.h < (tile.keyHead + 1) * args.group; tile.h++)
                for (tile.query = 0; tile.query < tile.count; tile.query++)
                {
                    Turn turn(args, tile);
                    clear(dq);
                    if (!turn.visible && turn.before == 0 && turn.last)
                        add_part(dq, args, tile, turn);
                }
    }
}
