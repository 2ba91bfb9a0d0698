// output[m, n] = Σ_k left[m, k] · right[n, k] for at most ROWS rows m, for several right operands at once: bound by reading
// those once. Left and right have their k contiguous. The blocks share the columns of all products evenly; the warps of a
// block split k between them, in the same way whatever m is, and their sums are added in order. Each warp streams its part
// through a ring of shared memory of its own. Products form chains of MEMBERS, and a thread finishes an element in all of
// a chain's: they are products of one shape, or the members are columns of one product at some distance (PAIRED). Which k an
// operand's fragment holds is free as long as both operands agree, so a lane reads 16 contiguous bytes of a row, enough for two
// products.
// The compiler's text before: struct Epilogues, and finish(epilogues, chain, m, n, sums) for the members' sums; where each block makes
// the rows of left for itself (PREPARES), struct Prologue, expect(prologue) and prepare(prologue, rows, m, start).
// CHAINS; MEMBERS; TILES: groups of 8 columns in hand, MEMBERS at least; WARPS; SLOTS of a ring; PREFETCHES: whether
// right operands are there before the kernels ahead have ended.

struct Right
{
    const Element* data;
    i64 stride, columns, distance;

    /// The column of a number in the chain: that of the first member, where members are columns at a distance.
    DEVICE int column(int number) const { return PAIRED ? number + number / (int)distance * (int)distance : number; }
};

struct SkinnyArgs
{
    const Element* left;
    i64 leftStride, m, k;
    Right rights[CHAINS * MEMBERS];
#if PREPARES
    Prologue prologue;
#endif
    Epilogues epilogues;
};

constexpr int Window = 128, Steps = Window / 32, RowChunks = Window / 8, ItemChunks = 8 * RowChunks, Threads = 32 * WARPS, Groups = TILES / MEMBERS;

/// The groups of columns that a block goes through, some at a time: neighbours in one chain.
struct Pass
{
    int group, last, count, product, column;

    DEVICE Pass(const SkinnyArgs& args)
    {
        u32 groups = 0;
#pragma unroll
        for (int chain = 0; chain < CHAINS; chain++)
            groups += groups_of(args, chain);
        group = groups * blockIdx.x / gridDim.x;
        last = groups * (blockIdx.x + 1) / gridDim.x;
        begin(args);
    }

    DEVICE static int groups_of(const SkinnyArgs& args, int chain) { return (int)((args.rights[chain * MEMBERS].columns + 7) / 8); }

    DEVICE void begin(const SkinnyArgs& args)
    {
        int within = group, left = 0;
        product = 0;
#pragma unroll
        for (int chain = 0; chain < CHAINS; chain++)
        {
            left = groups_of(args, chain) - within;
            if (left > 0 || chain == CHAINS - 1)
                break;
            within = -left;
            product += MEMBERS;
        }
        column = 8 * within;
        count = min(min(Groups, last - group), left);
    }

    DEVICE bool is_over() const { return group >= last; }

    DEVICE void next(const SkinnyArgs& args)
    {
        group += count;
        begin(args);
    }
};

/// What a warp fetches next: windows of its part of k, in each of them a tile after another.
struct Fetch
{
    Pass pass;
    int first, end, window, tile;

    DEVICE Fetch(const SkinnyArgs& args, int first, int end) : pass(args), first(first), end(end), window(first), tile(0)
    {
        if (first >= end)
            pass.group = pass.last;
    }

    DEVICE void start(const SkinnyArgs& args, uint4* slot)
    {
        if (!pass.is_over())
        {
            const Right& right = args.rights[pass.product + tile % MEMBERS];
            int odd = lane_index() / 16, chunk = lane_index() & 15, number = pass.column + tile / MEMBERS * 8, k = window * Window + 8 * chunk;
            const Element* from = right.data + (right.column(number) + odd) * right.stride + k;
#pragma unroll
            for (int row = 0; row < 8; row += 2)
            {
                bool exists = number + odd + row < right.columns && k < args.k;
                copy_async(slot + (row + odd) * RowChunks + (chunk ^ odd * 4), exists ? from + row * right.stride : right.data, exists);
            }
            if (++tile == pass.count * MEMBERS)
            {
                tile = 0;
                if (++window == end)
                {
                    window = first;
                    pass.next(args);
                }
            }
        }
        end_copies();
    }
};

/// A window of left as operands of the tensor cores.
struct LeftRows
{
    uint4 upper[Steps], lower[ROWS > 8 ? Steps : 1];

    DEVICE void load(const SkinnyArgs& args, const Element* left, int window)
    {
        int row = lane_index() / 4;
#pragma unroll
        for (int s = 0; s < Steps; s++)
        {
            int k = window * Window + 32 * s + 8 * (lane_index() & 3);
            const Element* from = left + row * args.leftStride + k;
            upper[s] = row < args.m && k < args.k ? *(const uint4*)from : make_uint4(0, 0, 0, 0);
            if (ROWS > 8)
                lower[s] = row + 8 < args.m && k < args.k ? *(const uint4*)(from + 8 * args.leftStride) : make_uint4(0, 0, 0, 0);
        }
    }

    DEVICE void multiply(float (&sums)[4], const uint4* slot) const
    {
        int row = lane_index() / 4, quad = lane_index() & 3;
#pragma unroll
        for (int s = 0; s < Steps; s++)
        {
            uint4 right = slot[row * RowChunks + (4 * s + quad ^ (row & 1) * 4)], below = ROWS > 8 ? lower[s] : make_uint4(0, 0, 0, 0);
            multiply_fragment(sums, upper[s].x, below.x, upper[s].y, below.y, right.x, right.y);
            multiply_fragment(sums, upper[s].z, below.z, upper[s].w, below.w, right.z, right.w);
        }
    }
};

extern "C" __global__ void __launch_bounds__(Threads, 2) skinny_product(const __grid_constant__ SkinnyArgs args)
{
    extern __shared__ uint4 memory[];
    __shared__ float partial[2][WARPS][ROWS][8 * TILES + 1];
    let_next_start();
    int warp = threadIdx.x / 32, windows = (int)((args.k + Window - 1) / Window), share = (windows + WARPS - 1) / WARPS;
    int first = min(warp * share, windows), end = min(first + share, windows), slot = 0;
    uint4* ring = memory + warp * SLOTS * ItemChunks;
    Fetch fetch(args, first, end);
#if PREPARES
    expect(args.prologue);
#endif
    int start = PREFETCHES ? 0 : await_inputs();
#pragma unroll 1
    for (int i = 0; i < SLOTS - 1; i++)
        fetch.start(args, ring + i * ItemChunks);
    if (PREFETCHES)
        start = await_inputs();
#if PREPARES
    Element* left = (Element*)(memory + WARPS * SLOTS * ItemChunks);
    prepare(args.prologue, left, (int)args.m, start);
#else
    const Element* left = args.left + start;
#endif

    LeftRows now, following;
    now.load(args, left, first);
    int buffer = 0;
    for (Pass pass(args); !pass.is_over(); pass.next(args), buffer ^= 1)
    {
        float sums[TILES][4] = {};
        for (int window = first; window < end; window++)
        {
            following.load(args, left, window + 1 < end ? window + 1 : first);
#pragma unroll
            for (int tile = 0; tile < TILES; tile++)
                if (tile < pass.count * MEMBERS)
                {
                    await_copies<SLOTS - 2>();
                    __syncwarp();
                    fetch.start(args, ring + (slot == 0 ? SLOTS - 1 : slot - 1) * ItemChunks);
                    now.multiply(sums[tile], ring + slot * ItemChunks);
                    slot = slot == SLOTS - 1 ? 0 : slot + 1;
                }
            now = following;
        }
        int row = lane_index() / 4, quad = lane_index() & 3;
#pragma unroll
        for (int tile = 0; tile < TILES; tile++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                if (row + accumulator_row(i) < ROWS)
                    partial[buffer][warp][row + accumulator_row(i)][8 * tile + 2 * quad + (i & 1)] = sums[tile][i];
        __syncthreads();
        int columns = 8 * pass.count;
        for (int i = threadIdx.x; i < args.m * columns; i += Threads)
        {
            int m = i / columns, column = i % columns;
            const Right& right = args.rights[pass.product];
            float sums[MEMBERS] = {};
#pragma unroll
            for (int member = 0; member < MEMBERS; member++)
#pragma unroll
                for (int w = 0; w < WARPS; w++)
                    sums[member] += partial[buffer][w][m][(column / 8 * MEMBERS + member) * 8 + column % 8];
            if (pass.column + column < right.columns)
                finish(args.epilogues, pass.product / MEMBERS, m, right.column(pass.column + column), sums);
        }
    }
}
