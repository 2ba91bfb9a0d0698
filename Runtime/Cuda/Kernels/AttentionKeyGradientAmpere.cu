// The keys' and values' gradients: a block holds 64 keys of a key head and streams the queries of all its heads. Scores lie transposed: rows
// are keys. Where both gradients of a row don't fit into registers, SPLIT warps share its columns.

constexpr int HeadPart = HEAD / SPLIT, ValuePart = VALUE / SPLIT;

extern "C" __global__ void __launch_bounds__(128 * SPLIT) attention_key_gradient(const __grid_constant__ GradientArgs args)
{
    extern __shared__ Element tiles[];
    __shared__ float logSumExp2[STREAMED], dots[STREAMED];
    Element *key = tiles, *value = key + Rows * RowElements<HEAD>, *query = value + Rows * RowElements<VALUE>;
    Element* gradient = query + STREAMED * RowElements<HEAD>;
    int b = blockIdx.z, keyHead = blockIdx.y, start = blockIdx.x * Rows, warp = threadIdx.x / 32 % 4, part = threadIdx.x / 128;
    int row = start + warp * WarpRows, k = row + lane_index() / 4, column = 2 * (lane_index() & 3), last = min(start + Rows, args.keys) - 1;
    load_tile<Rows, HEAD>(key, args.key, b, start, keyHead, args.keys, args.headSize);
    load_tile<Rows, VALUE>(value, args.value, b, start, keyHead, args.keys, args.valueSize);

    float dk[HeadPart / 2] = {}, dv[ValuePart / 2] = {};
    for (int h = keyHead * args.group; h < (keyHead + 1) * args.group; h++)
    {
        TileWalk walk;
        bool some;
        for (int tile; (tile = walk.advance((args.queries + STREAMED - 1) / STREAMED, [&](int t) {
                 return tile_kind(args.extra, b, h, t * STREAMED, min(t * STREAMED + STREAMED, args.queries) - 1, start, start + Rows - 1, args.keys);
             }, some)) >= 0;)
        {
            load_tile<STREAMED, HEAD>(query, args.query, b, tile * STREAMED, h, args.queries, args.headSize);
            load_tile<STREAMED, VALUE>(gradient, args.gradient, b, tile * STREAMED, h, args.queries, args.valueSize);
            if (threadIdx.x < STREAMED)
            {
                logSumExp2[threadIdx.x] = log_sum_exp2(args, b, h, tile * STREAMED + threadIdx.x);
                dots[threadIdx.x] = row_dot(args, b, h, tile * STREAMED + threadIdx.x);
            }
            await_tiles();
            float s[STREAMED / 2], dp[STREAMED / 2];
            multiply<HEAD, STREAMED>(s, key + warp * WarpRows * RowElements<HEAD>, query);
            multiply<VALUE, STREAMED>(dp, value + warp * WarpRows * RowElements<VALUE>, gradient);
#pragma unroll
            for (int i = 0; i < STREAMED / 2; i++)
            {
                int q = column + accumulator_column(i);
                differentiate(s[i], dp[i], args, b, h, tile * STREAMED + q, k + accumulator_row(i), some, logSumExp2[q], dots[q]);
            }
            multiply_rows<STREAMED, ValuePart, RowElements<VALUE>>(dv, s, gradient + part * ValuePart);
            multiply_rows<STREAMED, HeadPart, RowElements<HEAD>>(dk, dp, query + part * HeadPart);
            __syncthreads();
        }
    }
    int rows = args.keys - row;
    store_rows(
        dk, SCALE, SCALE, row_pointer(args.target, b, row, keyHead) + part * HeadPart, args.target.position, rows, args.headSize - part * HeadPart);
    store_rows(dv, 1, 1, row_pointer(args.valueTarget, b, row, keyHead) + part * ValuePart, args.valueTarget.position, rows, args.valueSize - part * ValuePart);
}
