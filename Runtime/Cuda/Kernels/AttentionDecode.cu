// Attention of one query a batch row: bound by reading keys and values once. The query heads that share a key head are the
// rows of one tensor-core tile. A block takes so many keys of one key head, however long the row and large the batch. The
// parts are added in order: by all blocks of a row together where they are a cluster, which read each other's shared memory,
// else by the last to finish.
// HEAD, VALUE: head sizes, multiples of 64. GROUP: query heads of a key head, 16 at most. CLUSTERED. CACHED: whether all keys
// and values but the last were there before the kernels ahead; they are fetched while those still run.

struct DecodeArgs
{
    Heads query, key, value, output;
    int keys, blockKeys, mostSplits;
    const int* past;
    float* parts;
    int* counters;
    Extra extra;
};

constexpr int Warps = 4, WarpKeys = 32, RoundKeys = Warps * WarpKeys, Threads = 32 * Warps, MostSplits = 32;

/// Rows of the tile's lower half are computed only where there are heads for them.
constexpr int Halves = GROUP > 8 ? 2 : 1;

/// Floats of a part's row: its weighted values, then its largest score (times log₂ e) and its sum.
constexpr int PartFloats = VALUE + 2;

/// Eight elements of a row, or zeros.
DEVICE uint4 load_row(const Heads& heads, int b, int q, int h, int column, bool exists)
{
    return exists ? *(const uint4*)((const Element*)heads.data + heads.offset(b, q, h) + column) : make_uint4(0, 0, 0, 0);
}

/// The queries of a group as left operands. An operand's depth may be in any order that both follow: a lane has eight
/// neighbouring elements of every 32, for two products.
struct QueryRows
{
    uint4 upper[HEAD / 32], lower[HEAD / 32];

    DEVICE QueryRows(const DecodeArgs& args, int b, int keyHead)
    {
        int row = lane_index() / 4, quad = lane_index() & 3;
#pragma unroll
        for (int w = 0; w < HEAD / 32; w++)
        {
            upper[w] = load_row(args.query, b, 0, keyHead * GROUP + row, 32 * w + 8 * quad, row < GROUP);
            lower[w] = load_row(args.query, b, 0, keyHead * GROUP + row + 8, 32 * w + 8 * quad, row + 8 < GROUP);
        }
    }
};

struct KeyRows
{
    uint4 rows[WarpKeys / 8][HEAD / 32];

    DEVICE void load(const DecodeArgs& args, int b, int keyHead, int first, int keys)
    {
        int row = lane_index() / 4, quad = lane_index() & 3;
#pragma unroll
        for (int t = 0; t < WarpKeys / 8; t++)
#pragma unroll
            for (int w = 0; w < HEAD / 32; w++)
                rows[t][w] = load_row(args.key, b, first + 8 * t + row, keyHead, 32 * w + 8 * quad, first + 8 * t + row < keys);
    }

    DEVICE void load_one(const DecodeArgs& args, int b, int keyHead, int first, int k)
    {
        int row = lane_index() / 4, quad = lane_index() & 3;
#pragma unroll
        for (int t = 0; t < WarpKeys / 8; t++)
            if (first + 8 * t + row == k)
#pragma unroll
                for (int w = 0; w < HEAD / 32; w++)
                    rows[t][w] = load_row(args.key, b, k, keyHead, 32 * w + 8 * quad, true);
    }
};

/// A lane has eight neighbouring columns of four keys to each product: column 8·slot + i of a piece of 64 is slot `slot` of product i.
struct ValueRows
{
    uint4 rows[WarpKeys / 16][VALUE / 64][4];

    DEVICE static int key(int step, int i) { return 16 * step + 2 * (lane_index() & 3) + (i & 1) + (i & 2) * 4; }

    DEVICE void load(const DecodeArgs& args, int b, int keyHead, int first, int keys)
    {
#pragma unroll
        for (int step = 0; step < WarpKeys / 16; step++)
#pragma unroll
            for (int piece = 0; piece < VALUE / 64; piece++)
#pragma unroll
                for (int i = 0; i < 4; i++)
                    rows[step][piece][i] = load_row(args.value, b, first + key(step, i), keyHead, 64 * piece + 8 * (lane_index() / 4), first + key(step, i) < keys);
    }

    DEVICE void load_one(const DecodeArgs& args, int b, int keyHead, int first, int k)
    {
#pragma unroll
        for (int step = 0; step < WarpKeys / 16; step++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                if (first + key(step, i) == k)
#pragma unroll
                    for (int piece = 0; piece < VALUE / 64; piece++)
                        rows[step][piece][i] = load_row(args.value, b, k, keyHead, 64 * piece + 8 * (lane_index() / 4), true);
    }
};

DEVICE u32 word(const uint4& x, int i) { return i == 0 ? x.x : i == 1 ? x.y : i == 2 ? x.z : x.w; }

/// What a warp has summed over its keys: two rows a thread.
struct WarpPart
{
    float sums[VALUE / 8][4] = {}, largest[2] = {-infinity(), -infinity()}, total[2] = {0, 0};

    /// Scores become exponentials; what was summed before shrinks accordingly.
    DEVICE void soften(float (&s)[WarpKeys / 8][4])
    {
#pragma unroll
        for (int r = 0; r < Halves; r++)
        {
            float most = largest[r], sum = 0;
#pragma unroll
            for (int t = 0; t < WarpKeys / 8; t++)
                most = fmaxf(most, fmaxf(s[t][2 * r], s[t][2 * r + 1]));
            most = quad_max(most);
            float origin = most == -infinity() ? 0 : most, shrink = exp2_fast(largest[r] - origin);
#pragma unroll
            for (int t = 0; t < WarpKeys / 8; t++)
            {
                s[t][2 * r] = exp2_fast(s[t][2 * r] - origin);
                s[t][2 * r + 1] = exp2_fast(s[t][2 * r + 1] - origin);
                sum += s[t][2 * r] + s[t][2 * r + 1];
            }
            largest[r] = most;
            total[r] = total[r] * shrink + sum;
#pragma unroll
            for (int i = 0; i < VALUE / 8; i++)
            {
                sums[i][2 * r] *= shrink;
                sums[i][2 * r + 1] *= shrink;
            }
        }
    }

    DEVICE void weigh(const float (&s)[WarpKeys / 8][4], const ValueRows& values)
    {
#pragma unroll
        for (int step = 0; step < WarpKeys / 16; step++)
        {
            const float(&x)[4] = s[2 * step], (&y)[4] = s[2 * step + 1];
            u32 p0 = pack(x[0], x[1]), p2 = pack(y[0], y[1]), p1 = Halves > 1 ? pack(x[2], x[3]) : 0, p3 = Halves > 1 ? pack(y[2], y[3]) : 0;
#pragma unroll
            for (int piece = 0; piece < VALUE / 64; piece++)
#pragma unroll
                for (int i = 0; i < 8; i++)
                {
                    const uint4(&v)[4] = values.rows[step][piece];
                    u32 pick = i & 1 ? 0x7632 : 0x5410;
                    multiply_fragment(sums[piece * 8 + i], p0, p1, p2, p3,
                        __byte_perm(word(v[0], i / 2), word(v[1], i / 2), pick), __byte_perm(word(v[2], i / 2), word(v[3], i / 2), pick));
                }
        }
    }

    /// As rows of parts.
    DEVICE void write(float (*rows)[PartFloats]) const
    {
        int quad = lane_index() & 3;
#pragma unroll
        for (int r = 0; r < Halves; r++)
        {
            float sum = quad_sum(total[r]);
            if (lane_index() / 4 + 8 * r >= GROUP)
                continue;
            float* row = rows[lane_index() / 4 + 8 * r];
#pragma unroll
            for (int i = 0; i < VALUE / 8; i++)
            {
                row[i / 8 * 64 + 16 * quad + i % 8] = sums[i][2 * r];
                row[i / 8 * 64 + 16 * quad + 8 + i % 8] = sums[i][2 * r + 1];
            }
            if (quad == 0)
                row[VALUE] = largest[r], row[VALUE + 1] = sum;
        }
    }
};

/// Scores of 32 keys, times log₂ e; hidden ones are -∞.
DEVICE void score(float (&s)[WarpKeys / 8][4], const QueryRows& queries, const KeyRows& keyRows, const DecodeArgs& args, int b, int keyHead, int position, int first, int keys)
{
#pragma unroll
    for (int t = 0; t < WarpKeys / 8; t++)
    {
#pragma unroll
        for (int i = 0; i < 4; i++)
            s[t][i] = 0;
#pragma unroll
        for (int w = 0; w < HEAD / 32; w++)
        {
            const uint4 &u = queries.upper[w], &l = queries.lower[w], &k = keyRows.rows[t][w];
            multiply_fragment(s[t], u.x, l.x, u.y, l.y, k.x, k.y);
            multiply_fragment(s[t], u.z, l.z, u.w, l.w, k.z, k.w);
        }
#pragma unroll
        for (int i = 0; i < 2 * Halves; i++)
        {
            int k = first + 8 * t + 2 * (lane_index() & 3) + (i & 1), h = keyHead * GROUP + lane_index() / 4 + accumulator_row(i);
            s[t][i] = visible_pair(args.extra, b, h, position, k, keys) ? modified(args.extra, b, h, position, k, s[t][i] * SCALE) * Log2E : -infinity();
        }
    }
}

/// Weighs the parts of row h against each other: part i's factor goes to factors[i], so that all of them add up to the result. One warp.
template <class Row> DEVICE float2 weigh_parts(int count, Row row, float* factors)
{
    float largest = -infinity(), total = 0;
    for (int i = lane_index(); i < count; i += 32)
        largest = fmaxf(largest, row(i)[VALUE]);
#pragma unroll
    for (int distance = 16; distance > 0; distance >>= 1)
        largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, distance));
    for (int i = lane_index(); i < count; i += 32)
    {
        float shrink = largest == -infinity() ? 0 : exp2_fast(row(i)[VALUE] - largest);
        factors[i] = shrink;
        total += row(i)[VALUE + 1] * shrink;
    }
#pragma unroll
    for (int distance = 16; distance > 0; distance >>= 1)
        total += __shfl_xor_sync(0xffffffffu, total, distance);
    return make_float2(largest, total);
}

#if CLUSTERED
/// All threads of a row's blocks meet; each then sees what the others have written to shared memory.
DEVICE void meet_cluster() { asm volatile("barrier.cluster.arrive.release;\n\tbarrier.cluster.wait.acquire;" ::: "memory"); }

/// Floats of shared memory, as another block of the cluster has them.
struct ClusterRow
{
    u32 address;

    DEVICE ClusterRow(const float* mine, int block)
    {
        asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(address) : "r"((u32)__cvta_generic_to_shared(mine)), "r"(block));
    }

    DEVICE float operator[](int i) const
    {
        float x;
        asm volatile("ld.shared::cluster.f32 %0, [%1];" : "=f"(x) : "r"(address + i * (int)sizeof(float)) : "memory");
        return x;
    }
};
#else
/// Whether this block is the last of its row to have written its part; all its threads then see every part.
DEVICE bool is_last(int* counter, int blocks)
{
    __shared__ bool last;
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0)
    {
        last = atomicAdd(counter, 1) == blocks - 1;
        if (last)
            *counter = 0;
        __threadfence();
    }
    __syncthreads();
    return last;
}
#endif

/// What a block has summed over its keys: the warps' parts, each in the block's shared memory, as one part a head.
DEVICE void add_warps(const float (*parts)[GROUP][PartFloats], float (*factors)[MostSplits], float* mine)
{
    for (int h = threadIdx.x / 32; h < GROUP; h += Warps)
    {
        float2 end = weigh_parts(Warps, [&](int w) { return parts[w][h]; }, factors[h]);
        __syncwarp();
        for (int column = lane_index(); column < VALUE; column += 32)
        {
            float sum = 0;
#pragma unroll
            for (int w = 0; w < Warps; w++)
                sum += parts[w][h][column] * factors[h][w];
            mine[h * PartFloats + column] = sum;
        }
        if (lane_index() == 0)
            mine[h * PartFloats + VALUE] = end.x, mine[h * PartFloats + VALUE + 1] = end.y;
    }
}

/// The result of the blocks' parts. The threads that share the work are `threads`, this one's number is `thread`.
template <class Row> DEVICE void add_blocks(const DecodeArgs& args, int splits, Row row, float (*factors)[MostSplits], int thread, int threads)
{
    __shared__ float totals[GROUP];
    for (int h = threadIdx.x / 32; h < GROUP; h += Warps)
    {
        float2 end = weigh_parts(splits, [&](int p) { return row(p, h); }, factors[h]);
        if (lane_index() == 0)
            totals[h] = end.y;
    }
    __syncthreads();
    for (int i = thread; i < GROUP * VALUE; i += threads)
    {
        int h = i / VALUE, column = i % VALUE;
        float sum = 0;
#pragma unroll 8
        for (int p = 0; p < splits; p++)
            sum += row(p, h)[column] * factors[h][p];
        row_pointer(args.output, blockIdx.z, 0, blockIdx.y * GROUP + h)[column] = narrow<Output>(totals[h] == 0 ? 0 : sum / totals[h]);
    }
}

extern "C" __global__ void __launch_bounds__(Threads) attention_decode(const __grid_constant__ DecodeArgs args)
{
    extern __shared__ float memory[];
    __shared__ float factors[GROUP][MostSplits];
    auto parts = (float(*)[GROUP][PartFloats])memory;
    let_next_start();
    if (!CACHED)
        await_inputs();
    int split = blockIdx.x, keyHead = blockIdx.y, b = blockIdx.z, warp = threadIdx.x / 32;
    int position = args.past ? args.past[b] : 0, keys = args.past ? position + 1 : args.keys, splits = max(1, (keys + args.blockKeys - 1) / args.blockKeys);
    if (!CLUSTERED && split >= splits)
        return;
    int begin = split * args.blockKeys + warp * WarpKeys, end = min((split + 1) * args.blockKeys, keys);
    KeyRows keyRows;
    ValueRows values;
    if (CACHED)
    {
        keyRows.load(args, b, keyHead, begin, position);
        values.load(args, b, keyHead, begin, position);
        await_inputs();
        keyRows.load_one(args, b, keyHead, begin, position);
        values.load_one(args, b, keyHead, begin, position);
    }
    QueryRows queries(args, b, keyHead);
    WarpPart part;
    for (int first = begin; first < end; first += RoundKeys)
    {
        if (!CACHED || first > begin)
        {
            keyRows.load(args, b, keyHead, first, keys);
            values.load(args, b, keyHead, first, keys);
        }
        float s[WarpKeys / 8][4];
        score(s, queries, keyRows, args, b, keyHead, position, first, keys);
        part.soften(s);
        part.weigh(s, values);
    }
    part.write(parts[warp]);
    __syncthreads();
#if CLUSTERED
    __shared__ float mine[GROUP * PartFloats];
    add_warps(parts, factors, mine);
    meet_cluster();
    add_blocks(args, splits, [&](int p, int h) { return ClusterRow(mine + h * PartFloats, p); }, factors, split * Threads + threadIdx.x, gridDim.x * Threads);
    meet_cluster();
#else
    int row = b * gridDim.y + keyHead;
    float* all = args.parts + (i64)row * args.mostSplits * GROUP * PartFloats;
    add_warps(parts, factors, all + split * GROUP * PartFloats);
    if (is_last(args.counters + row, splits))
        add_blocks(args, splits, [&](int p, int h) { return all + (p * GROUP + h) * PartFloats; }, factors, threadIdx.x, Threads);
#endif
}
