// Attention of one query a batch row: bound by reading keys and values once. The query heads that share a key head are the
// rows of one tensor-core tile. A row's keys are parts of so many, however large the batch; a block takes every gridDim.x-th part
// of a row, so that all blocks run at once, and streams its keys and values through a ring of shared memory. In each round
// its warps share the keys while scores are computed, and the values' columns while those are weighed. The parts are added in order, whoever
// computed them: where a row's blocks are a cluster, each has a share of the columns, which the others send it, else by the last to finish.
// Stands after AttentionDecodeRing.cu and AttentionDecodeParts.cu.
// HEAD, VALUE: head sizes, multiples of 64. GROUP: query heads of a key head, 16 at most. STAGES of the ring, 2 at least. CLUSTERED. CACHED: whether
// all keys and values but the last were there before the kernels ahead; they are fetched while those still run.

/// Of a warp, of eight columns of values each.
constexpr int Tiles = VALUE / 8 / Warps;

/// Rows of the tile's lower half are computed only where there are heads for them.
constexpr int Halves = GROUP > 8 ? 2 : 1;

/// A round's scores, of which pairs are read; padded, so that eight of its rows lie in different banks.
typedef float Scores[8 * Halves][RoundKeys + 8];

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
            upper[w] = load(args, b, keyHead, row, 4 * w + quad);
            lower[w] = load(args, b, keyHead, row + 8, 4 * w + quad);
        }
    }

    DEVICE static uint4 load(const DecodeArgs& args, int b, int keyHead, int row, int chunk)
    {
        return row < GROUP ? *chunk_of(args.query, b, 0, keyHead * GROUP + row, chunk) : make_uint4(0, 0, 0, 0);
    }
};

/// Scores of a warp's keys of a round, times log₂ e; hidden ones are -∞.
DEVICE void score(Scores& scores, const QueryRows& queries, const uint4* keyRows, const DecodeArgs& args, int b, int keyHead, int position, int first, int keys)
{
    int warp = threadIdx.x / 32, row = lane_index() / 4, quad = lane_index() & 3;
    float even[4] = {}, odd[4] = {};
#pragma unroll
    for (int w = 0; w < HEAD / 32; w++)
    {
        const uint4 &u = queries.upper[w], &l = queries.lower[w], k = keyRows[place<KeyChunks>(WarpKeys * warp + row, 4 * w + quad)];
        multiply_fragment(even, u.x, l.x, u.y, l.y, k.x, k.y);
        multiply_fragment(odd, u.z, l.z, u.w, l.w, k.z, k.w);
    }
#pragma unroll
    for (int i = 0; i < 2 * Halves; i++)
    {
        int member = row + accumulator_row(i), h = keyHead * GROUP + member, column = WarpKeys * warp + 2 * quad + (i & 1), k = first + column;
        bool isVisible = member < GROUP && visible_pair(args.extra, b, h, position, k, keys);
        scores[member][column] = isVisible ? modified(args.extra, b, h, position, k, (even[i] + odd[i]) * SCALE) * Log2E : -infinity();
    }
}

/// What a warp has summed over a part's keys in its columns: two rows a thread.
struct PartSums
{
    float sums[Tiles][4] = {}, largest[2] = {-infinity(), -infinity()}, total[2] = {0, 0};

    DEVICE void add(const Scores& scores, const uint4* values)
    {
        float s[RoundKeys / 8][4];
        soften(scores, s);
#pragma unroll
        for (int step = 0; step < RoundKeys / 32; step++)
#pragma unroll
            for (int tile = 0; tile < Tiles; tile++)
            {
                u32 v[4];
                load_transposed(v, (u32)__cvta_generic_to_shared(values + place<ValueChunks>(32 * step + lane_index(), threadIdx.x / 32 * Tiles + tile)));
#pragma unroll
                for (int half = 0; half < 2; half++)
                {
                    const float(&x)[4] = s[4 * step + 2 * half], (&y)[4] = s[4 * step + 2 * half + 1];
                    multiply_fragment(sums[tile], pack(x[0], x[1]), pack(x[2], x[3]), pack(y[0], y[1]), pack(y[2], y[3]), v[2 * half], v[2 * half + 1]);
                }
            }
    }

    /// A round's exponentials as a left operand; what was summed before shrinks accordingly.
    DEVICE void soften(const Scores& scores, float (&s)[RoundKeys / 8][4])
    {
        int row = lane_index() / 4, quad = lane_index() & 3;
#pragma unroll
        for (int r = 0; r < 2; r++)
        {
            if (r >= Halves)
            {
#pragma unroll
                for (int t = 0; t < RoundKeys / 8; t++)
                    s[t][2 * r] = s[t][2 * r + 1] = 0;
                continue;
            }
            float most = largest[r], sum = 0;
#pragma unroll
            for (int t = 0; t < RoundKeys / 8; t++)
            {
                float2 two = *(const float2*)&scores[row + 8 * r][8 * t + 2 * quad];
                s[t][2 * r] = two.x, s[t][2 * r + 1] = two.y;
                most = fmaxf(most, fmaxf(two.x, two.y));
            }
            most = quad_max(most);
            float origin = most == -infinity() ? 0 : most, shrink = exp2_fast(largest[r] - origin);
#pragma unroll
            for (int t = 0; t < RoundKeys / 8; t++)
            {
                s[t][2 * r] = exp2_fast(s[t][2 * r] - origin);
                s[t][2 * r + 1] = exp2_fast(s[t][2 * r + 1] - origin);
                sum += s[t][2 * r] + s[t][2 * r + 1];
            }
            largest[r] = most;
            total[r] = total[r] * shrink + sum;
#pragma unroll
            for (int tile = 0; tile < Tiles; tile++)
            {
                sums[tile][2 * r] *= shrink;
                sums[tile][2 * r + 1] *= shrink;
            }
        }
    }

    /// Gives a part away: pairs of its rows' weighted values, and the rows' largest scores and sums.
    template <class Parts> DEVICE void give(const Parts& parts, int part) const
    {
        int quad = lane_index() & 3;
#pragma unroll
        for (int r = 0; r < Halves; r++)
        {
            float sum = quad_sum(total[r]);
            int h = lane_index() / 4 + 8 * r;
            if (h >= GROUP)
                continue;
#pragma unroll
            for (int tile = 0; tile < Tiles; tile++)
                parts.put(part, h, threadIdx.x / 32 * Tiles + tile, 2 * quad, sums[tile][2 * r], sums[tile][2 * r + 1]);
            if (quad == 0)
                parts.end(part, h, largest[r], sum);
        }
    }
};

/// Weighs row h's parts against each other: part i's factor goes to factors[i], and the weighted sum of their totals is the result. One warp.
DEVICE float weigh_parts(const Parts& parts, int h, float* factors)
{
    float largest = -infinity(), total = 0;
    for (int i = lane_index(); i < parts.count; i += 32)
        largest = fmaxf(largest, parts.all[i][h][VALUE]);
    largest = maximum_of_warp<32>(largest, 0xffffffffu);
    for (int i = lane_index(); i < parts.count; i += 32)
    {
        float shrink = largest == -infinity() ? 0 : exp2_fast(parts.all[i][h][VALUE] - largest);
        factors[i] = shrink;
        total += parts.all[i][h][VALUE + 1] * shrink;
    }
    return sum_of_warp<32>(total, 0xffffffffu);
}

/// The result of a row's parts, in the columns that this block has.
DEVICE void add_parts(const DecodeArgs& args, const Parts& parts)
{
    __shared__ float factors[GROUP][MostParts], totals[GROUP];
    for (int h = threadIdx.x / 32; h < GROUP; h += Warps)
    {
        float total = weigh_parts(parts, h, factors[h]);
        if (lane_index() == 0)
            totals[h] = total;
    }
    __syncthreads();
    for (int i = threadIdx.x; i < GROUP * VALUE; i += Threads)
    {
        int h = i / VALUE, column = i % VALUE;
        if (!parts.has(column / 8))
            continue;
        float sum = 0;
#pragma unroll 8
        for (int p = 0; p < parts.count; p++)
            sum += parts.all[p][h][column] * factors[h][p];
        row_pointer(args.output, blockIdx.z, 0, blockIdx.y * GROUP + h)[column] = narrow<Output>(totals[h] == 0 ? 0 : sum / totals[h]);
    }
}

extern "C" __global__ void __launch_bounds__(Threads, HEAD > 128 ? 1 : 2) attention_decode(const __grid_constant__ DecodeArgs args)
{
    extern __shared__ uint4 memory[];
    __shared__ alignas(8) Scores scores;
    let_next_start();
    if (!CACHED)
        await_inputs();
    int keyHead = blockIdx.y, b = blockIdx.z;
    int position = args.past ? args.past[b] : 0, keys = args.past ? position + 1 : args.keys, count = (keys + args.partKeys - 1) / args.partKeys;
#if CLUSTERED
    __shared__ u64 barrier;
    Parts parts((Part*)(memory + STAGES * StageChunks), &barrier, count);
#else
    int row = b * gridDim.y + keyHead;
    Parts parts{(Part*)args.parts + (i64)row * args.mostParts, args.counters + row, count, max(1, min(count, (int)gridDim.x))};
    if (blockIdx.x >= parts.blocks)
        return;
#endif
    Ring ring(args, memory, b, keyHead, keys);
#pragma unroll 1
    for (int i = 0; i < STAGES - 1; i++)
        ring.fetch(i % 2 == 1, CACHED ? position : -1);
    if (CACHED)
        await_inputs();
    QueryRows queries(args, b, keyHead);
    if (CACHED)
        ring.place_late(b, keyHead, position);
#if CLUSTERED
    parts.open();
#endif
    PartSums sums;
    for (Rounds rounds(args, keys); !rounds.is_over(); rounds.next(args, keys))
    {
        score(scores, queries, ring.next(false), args, b, keyHead, position, rounds.first, keys);
        sums.add(scores, ring.next(true));
        if (rounds.ends_part())
        {
            sums.give(parts, rounds.part);
            sums = PartSums();
        }
    }
    if (parts.gather())
        add_parts(args, parts);
}
