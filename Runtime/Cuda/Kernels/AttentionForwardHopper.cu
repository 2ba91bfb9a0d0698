// Attention forward on sm_90a, after FlashAttention-3 (Shah et al. 2024): keys and values stream through shared memory,
// two or three warpgroups take turns on the tensor cores and the exponentials, and each overlaps its
// product with the values of one tile with the scores of the next.
// HEAD, VALUE: head sizes padded to 64; KEYS: keys of a tile; STAGES; CONSUMERS.

struct ForwardArgs
{
    int queries, keys, heads, group, queryTiles, work, valueSize, band;
    Heads output;
    float* logSumExp;
    const int* past;
    int* schedule;
    Extra extra;
};

constexpr int QueryBytes = TileBytes<Rows, HEAD>, KeyBytes = TileBytes<KEYS, HEAD>, ValueBytes = TileBytes<KEYS, VALUE>;

/// A block of query rows of one head, and the keys that exist for it. Late rows first: under a causal mask they are longest. A band of heads,
/// whose keys and values stay in the second-level cache, goes through them together, so that what is drawn last is short.
struct QueryTile
{
    int b, h, row, past, keys;

    DEVICE QueryTile(const ForwardArgs& args, int work)
    {
        int first = work / (args.band * args.queryTiles) * args.band, count = min(args.band, args.work / args.queryTiles - first);
        int local = work - first * args.queryTiles, head = first + local % count;
        row = (args.queryTiles - 1 - local / count) * Rows;
        h = head % args.heads;
        b = head / args.heads;
        past = args.past ? args.past[b] : 0;
        keys = args.past ? past + args.queries : args.keys;
    }

    DEVICE int next(const ForwardArgs& args, TileWalk& walk, bool& some) const
    {
        int first = past + row, last = past + min(row + Rows, args.queries) - 1;
        return walk.advance((keys + KEYS - 1) / KEYS, [&](int tile) {
            return tile_kind(args.extra, b, h, first, last, tile * KEYS, tile * KEYS + KEYS - 1, keys);
        }, some);
    }
};

struct ForwardShared
{
    u32 query, key, value;
    Gates queries, keys, values;
    volatile int* work;
};

DEVICE void produce(const ForwardShared& shared, const TensorMap& query, const TensorMap& key, const TensorMap& value, const ForwardArgs& args)
{
    bool elected = lane_index() == 0;
    Ring ring, round;
    int work = blockIdx.x;
    while (work < args.work)
    {
        int following = draw(args.schedule);
        QueryTile tile(args, work);
        shared.queries.await_empty({0, round.phase});
        if (elected)
        {
            *shared.work = work;
            shared.queries.expect({}, QueryBytes);
            copy_tile(shared.query, query, shared.queries.full, Rows, HEAD, tile.row, tile.h, tile.b);
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
    shared.queries.await_empty({0, round.phase});
    if (elected)
    {
        *shared.work = -1;
        barrier_arrive(shared.queries.full);
    }
    leave(args.schedule);
}

/// The 64 rows of one warpgroup against all visible keys.
DEVICE void attend(const ForwardShared& shared, const ForwardArgs& args, const QueryTile& tile, int group, Ring& ring, float (&o)[VALUE / 2], Softmax& softmax)
{
    float s[KEYS / 2], shrink[2];
    u32 p[KEYS / 4];
    int quad = lane_index() & 3, q = tile.past + tile.row + group * 64 + (threadIdx.x & 127) / 32 * 16 + lane_index() / 4;
    u32 query = shared.query + group * 64 * RowBytes;
    TileWalk walk;
    bool some;
    int k = tile.next(args, walk, some);
    if (k < 0)
    {
        shared.queries.release({});
        return;
    }
    shared.keys.await_full(ring);
    product_fence();
    multiply<HEAD>(s, query, Rows, shared.key + ring.stage * KeyBytes, KEYS);
    product_commit();
    product_wait<0>();
    pin(s);
    shared.keys.release(ring);
    modify(s, args.extra, tile.b, tile.h, q, k * KEYS + 2 * quad, some, tile.keys);
    softmax.update(s, shrink);
    pack_rows(p, s);
    while ((k = tile.next(args, walk, some)) >= 0)
    {
        Ring before = ring;
        ring.advance();
        shared.keys.await_full(ring);
        named_sync(1 + group, 2 * Warpgroup);
        product_fence();
        multiply<HEAD>(s, query, Rows, shared.key + ring.stage * KeyBytes, KEYS);
        product_commit();
        shared.values.await_full(before);
        multiply_rows<KEYS>(o, p, shared.value + before.stage * ValueBytes, KEYS);
        product_commit();
        named_arrive(1 + (group + 1) % CONSUMERS, 2 * Warpgroup);
        product_wait<1>();
        pin(s);
        shared.keys.release(ring);
        modify(s, args.extra, tile.b, tile.h, q, k * KEYS + 2 * quad, some, tile.keys);
        softmax.update(s, shrink);
        product_wait<0>();
        pin(o);
        shared.values.release(before);
        pack_rows(p, s);
#pragma unroll
        for (int i = 0; i < VALUE / 2; i++)
            o[i] *= shrink[(i >> 1) & 1];
    }
    shared.queries.release({});
    shared.values.await_full(ring);
    product_fence();
    multiply_rows<KEYS>(o, p, shared.value + ring.stage * ValueBytes, KEYS);
    product_commit();
    product_wait<0>();
    pin(o);
    shared.values.release(ring);
    ring.advance();
}

DEVICE void consume(const ForwardShared& shared, const ForwardArgs& args, int group)
{
    Ring ring;
    u32 phase = 0;
    if (group == CONSUMERS - 1)
        named_arrive(1, 2 * Warpgroup);
    for (;;)
    {
        barrier_wait(shared.queries.full, phase);
        phase ^= 1;
        int work = *shared.work;
        __syncwarp();
        if (work < 0)
            return;
        QueryTile tile(args, work);
        float o[VALUE / 2];
        clear(o);
        Softmax softmax;
        attend(shared, args, tile, group, ring, o, softmax);

        int row = tile.row + group * 64 + (threadIdx.x & 127) / 32 * 16;
        store_result(o, softmax, args.output, args.logSumExp, tile.b, tile.h, args.heads, row, args.queries, args.valueSize);
    }
}

extern "C" __global__ void __launch_bounds__(Threads, 1) attention_forward(
    const __grid_constant__ TensorMap query, const __grid_constant__ TensorMap key, const __grid_constant__ TensorMap value,
    const __grid_constant__ ForwardArgs args)
{
    __shared__ u64 barriers[2 + 4 * STAGES];
    __shared__ int work;
    ForwardShared shared;
    shared.query = tile_memory();
    shared.key = shared.query + QueryBytes;
    shared.value = shared.key + STAGES * KeyBytes;
    Barriers free{shared_address(barriers)};
    shared.queries = free.take(1);
    shared.keys = free.take(STAGES);
    shared.values = free.take(STAGES);
    shared.work = &work;
    take_roles([&] { produce(shared, query, key, value, args); }, [&](int group) { consume(shared, args, group); });
}
