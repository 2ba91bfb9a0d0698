// Σ output · outputGradient of each row of attention: what the gradient of the softmax subtracts (FlashAttention-2, algorithm 2, line 4).
// LANES: lanes that share a row, 8 elements each. TILE: 0, or so many rows of a head, one block's, of which the log-sum-exps in base 2 stand
// before the sums. Rows that see no key, and those that fill up the last tile, have there what makes all their probabilities 0.

/// The sum of one row, in the first of its lanes.
DEVICE float row_dot(const Heads& output, const Heads& gradient, int b, int q, int h, bool exists, int valueSize)
{
    int column = threadIdx.x % LANES * 8;
    float sum = 0;
    if (exists && column < valueSize)
    {
        auto x = fetch<8>((const Output*)output.data + output.offset(b, q, h) + column);
        auto y = fetch<8>((const Element*)gradient.data + gradient.offset(b, q, h) + column);
#pragma unroll
        for (int i = 0; i < 8; i++)
            sum += widen(x.e[i]) * widen(y.e[i]);
    }
#pragma unroll
    for (int distance = LANES / 2; distance > 0; distance >>= 1)
        sum += __shfl_xor_sync(0xffffffffu, sum, distance);
    return sum;
}

extern "C" __global__ void __launch_bounds__(256) attention_row_dot(
    Heads output, Heads gradient, const float* logSumExp, float* target, int rows, int queries, int heads, int valueSize)
{
    bool first = threadIdx.x % LANES == 0;
#if TILE
    // Blocks run head by head within a position, as the elements mostly do.
    int tiles = (queries + TILE - 1) / TILE, h = blockIdx.x % heads, q = blockIdx.x / heads % tiles * TILE, b = blockIdx.x / heads / tiles;
    i64 head = b * heads + h;
    target += (head * tiles * TILE + q) * 2;
    if (threadIdx.x < TILE)
    {
        float known = q + threadIdx.x < queries ? logSumExp[head * queries + q + threadIdx.x] : -infinity();
        target[threadIdx.x] = known == -infinity() ? infinity() : known * Log2E;
    }
#pragma unroll
    for (int row = threadIdx.x / LANES; row < TILE; row += 256 / LANES)
    {
        float sum = row_dot(output, gradient, b, q + row, h, q + row < queries, valueSize);
        if (first)
            target[TILE + row] = sum;
    }
#else
    // Rows run head by head within a position, as the elements mostly do.
    int row = (blockIdx.x * 256 + threadIdx.x) / LANES, h = row % heads, q = row / heads % queries, b = row / heads / queries;
    float sum = row_dot(output, gradient, b, q, h, row < rows, valueSize);
    if (row < rows && first)
        target[(i64)(b * heads + h) * queries + q] = sum;
#endif
}
