// Attention forward on the tensor cores of sm_80 and up (Dao 2023, FlashAttention-2): a block of four warps takes 64 query rows of a
// head; keys and values pass through shared memory tile by tile.
// HEAD, VALUE: head sizes padded to 32; KEYS: keys of a tile.

struct ForwardArgs
{
    Heads query, key, value, output;
    int queries, keys, heads, group, headSize, valueSize;
    float* logSumExp;
    const int* past;
    Extra extra;
};

constexpr int Rows = 4 * WarpRows;

extern "C" __global__ void __launch_bounds__(128) attention_forward(const __grid_constant__ ForwardArgs args)
{
    extern __shared__ Element tiles[];
    Element *query = tiles, *key = query + Rows * RowElements<HEAD>, *value = key + KEYS * RowElements<HEAD>;
    // Late rows first: under a causal mask they are longest.
    int b = blockIdx.z, h = blockIdx.y, top = (gridDim.x - 1 - blockIdx.x) * Rows, warp = threadIdx.x / 32, quad = lane_index() & 3;
    int past = args.past ? args.past[b] : 0, keys = args.past ? past + args.queries : args.keys;
    int row = top + warp * WarpRows, q = past + row + lane_index() / 4, last = past + min(top + Rows, args.queries) - 1;
    load_tile<Rows, HEAD>(query, args.query, b, top, h, args.queries, args.headSize);

    float o[VALUE / 2] = {};
    Softmax softmax;
    TileWalk walk;
    bool some;
    for (int tile; (tile = walk.advance((keys + KEYS - 1) / KEYS, [&](int t) {
             return tile_kind(args.extra, b, h, past + top, last, t * KEYS, t * KEYS + KEYS - 1, keys);
         }, some)) >= 0;)
    {
        load_tile<KEYS, HEAD>(key, args.key, b, tile * KEYS, h / args.group, keys, args.headSize);
        load_tile<KEYS, VALUE>(value, args.value, b, tile * KEYS, h / args.group, keys, args.valueSize);
        await_tiles();
        float s[KEYS / 2], shrink[2];
        multiply<HEAD, KEYS>(s, query + warp * WarpRows * RowElements<HEAD>, key);
        modify(s, args.extra, b, h, q, tile * KEYS + 2 * quad, some, keys);
        softmax.update(s, shrink);
#pragma unroll
        for (int i = 0; i < VALUE / 2; i++)
            o[i] *= shrink[(i >> 1) & 1];
        multiply_rows<KEYS, VALUE, RowElements<VALUE>>(o, s, value);
        __syncthreads();
    }
    store_result(o, softmax, args.output, args.logSumExp, b, h, args.heads, row, args.queries, args.valueSize);
}
