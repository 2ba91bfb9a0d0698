// The queries' gradient: a block holds 64 query rows of a head and streams keys and values.

extern "C" __global__ void __launch_bounds__(128) attention_query_gradient(const __grid_constant__ GradientArgs args)
{
    extern __shared__ Element tiles[];
    Element *query = tiles, *gradient = query + Rows * RowElements<HEAD>, *key = gradient + Rows * RowElements<VALUE>;
    Element* value = key + STREAMED * RowElements<HEAD>;
    int b = blockIdx.z, h = blockIdx.y, top = (gridDim.x - 1 - blockIdx.x) * Rows, warp = threadIdx.x / 32;
    int row = top + warp * WarpRows, q = row + lane_index() / 4, k = 2 * (lane_index() & 3), last = min(top + Rows, args.queries) - 1;
    load_tile<Rows, HEAD>(query, args.query, b, top, h, args.queries, args.headSize);
    load_tile<Rows, VALUE>(gradient, args.gradient, b, top, h, args.queries, args.valueSize);
    float logSumExp2[2] = {log_sum_exp2(args, b, h, q), log_sum_exp2(args, b, h, q + 8)}, dot[2] = {row_dot(args, b, h, q), row_dot(args, b, h, q + 8)};

    float dq[HEAD / 2] = {};
    TileWalk walk;
    bool some;
    for (int tile; (tile = walk.advance((args.keys + STREAMED - 1) / STREAMED, [&](int t) {
             return tile_kind(args.extra, b, h, top, last, t * STREAMED, t * STREAMED + STREAMED - 1, args.keys);
         }, some)) >= 0;)
    {
        load_tile<STREAMED, HEAD>(key, args.key, b, tile * STREAMED, h / args.group, args.keys, args.headSize);
        load_tile<STREAMED, VALUE>(value, args.value, b, tile * STREAMED, h / args.group, args.keys, args.valueSize);
        await_tiles();
        float s[STREAMED / 2], dp[STREAMED / 2];
        multiply<HEAD, STREAMED>(s, query + warp * WarpRows * RowElements<HEAD>, key);
        multiply<VALUE, STREAMED>(dp, gradient + warp * WarpRows * RowElements<VALUE>, value);
#pragma unroll
        for (int i = 0; i < STREAMED / 2; i++)
            differentiate(
                s[i], dp[i], args, b, h, q + accumulator_row(i), tile * STREAMED + k + accumulator_column(i), some, logSumExp2[(i >> 1) & 1], dot[(i >> 1) & 1]);
        multiply_rows<STREAMED, HEAD, RowElements<HEAD>>(dq, dp, key);
        __syncthreads();
    }
    store_rows(dq, SCALE, SCALE, row_pointer(args.target, b, row, h), args.target.position, args.queries - row, args.headSize);
}
