// output[m, n] = Σ_k left[m, k] · right[n, k] for at most 16 rows m: bound by reading right once. Both have their k
// contiguous. The warps of a block share its columns and split k between them, in the same way whatever m is; their sums are
// added in order. Which k an operand's fragment holds is free as long as both operands agree, so a lane
// reads 16 contiguous bytes of a row, enough for two products.
// The compiler's text before: struct Epilogue, and finish(epilogue, m, n, sum).
// TILES: groups of 8 columns of a block; WARPS; WINDOWS: loads in flight of each group.

struct SkinnyArgs
{
    const Element* left;
    const Element* right;
    i64 leftStride, rightStride;
    int m, n, k;
    Epilogue epilogue;
};

constexpr int Window = 32;

DEVICE uint4 load_stream(const void* address)
{
    uint4 x;
    asm volatile("ld.global.nc.L1::no_allocate.L2::256B.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(x.x), "=r"(x.y), "=r"(x.z), "=r"(x.w) : "l"(address));
    return x;
}

struct Batch
{
    uint4 rows[TILES][WINDOWS];

    DEVICE void load(const SkinnyArgs& args, int n, int k)
    {
#pragma unroll
        for (int w = 0; w < WINDOWS; w++)
#pragma unroll
            for (int t = 0; t < TILES; t++)
                rows[t][w] = n + 8 * t < args.n && k + w * Window < args.k
                    ? load_stream(args.right + (n + 8 * t) * args.rightStride + k + w * Window) : make_uint4(0, 0, 0, 0);
    }
};

extern "C" __global__ void __launch_bounds__(32 * WARPS) skinny_product(const __grid_constant__ SkinnyArgs args)
{
    __shared__ float partial[WARPS][16][8 * TILES + 1];
    let_next_start();
    int warp = threadIdx.x / 32, row = lane_index() / 4, quad = lane_index() & 3, n = blockIdx.x * 8 * TILES + row;
    int windows = (args.k + Window - 1) / Window, share = (windows + WARPS - 1) / WARPS;
    int first = warp * share, last = min(first + share, windows);
    float sums[TILES][4] = {};
    Batch batch, following;
    if (first < last)
        batch.load(args, n, first * Window + 8 * quad);
    await_inputs();
    for (int window = first; window < last; window += WINDOWS)
    {
        int k = window * Window + 8 * quad;
        if (window + WINDOWS < last)
            following.load(args, n, k + WINDOWS * Window);
#pragma unroll
        for (int w = 0; w < WINDOWS; w++)
        {
            uint4 upper = make_uint4(0, 0, 0, 0), lower = make_uint4(0, 0, 0, 0);
            bool inside = k + w * Window < args.k && window + w < last;
            if (inside && row < args.m)
                upper = *(const uint4*)(args.left + row * args.leftStride + k + w * Window);
            if (inside && row + 8 < args.m)
                lower = *(const uint4*)(args.left + (row + 8) * args.leftStride + k + w * Window);
#pragma unroll
            for (int t = 0; t < TILES; t++)
            {
                multiply_fragment(sums[t], upper.x, lower.x, upper.y, lower.y, batch.rows[t][w].x, batch.rows[t][w].y);
                multiply_fragment(sums[t], upper.z, lower.z, upper.w, lower.w, batch.rows[t][w].z, batch.rows[t][w].w);
            }
        }
        batch = following;
    }
#pragma unroll
    for (int t = 0; t < TILES; t++)
#pragma unroll
        for (int i = 0; i < 4; i++)
            partial[warp][row + (i & 2) * 4][8 * t + 2 * quad + (i & 1)] = sums[t][i];
    __syncthreads();
    for (int i = threadIdx.x; i < args.m * 8 * TILES; i += 32 * WARPS)
    {
        int m = i / (8 * TILES), column = i % (8 * TILES);
        float sum = 0;
#pragma unroll
        for (int w = 0; w < WARPS; w++)
            sum += partial[w][m][column];
        if (blockIdx.x * 8 * TILES + column < args.n)
            finish(args.epilogue, m, blockIdx.x * 8 * TILES + column, sum);
    }
}
