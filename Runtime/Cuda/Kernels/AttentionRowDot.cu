// Σ output · outputGradient of each row of attention: what the gradient of the softmax subtracts (FlashAttention-2, algorithm 2, line 4).
// LANES: lanes that share a row, 8 elements each. TILE: 0, or so many rows to a tile, of which the log-sum-exps in base 2 stand before
// the sums. Rows that see no key, and those that fill up a head's last tile, have there what makes all their probabilities 0.

extern "C" __global__ void __launch_bounds__(256) attention_row_dot(
    Heads output, Heads gradient, const float* logSumExp, float* rowDot, int rows, int queries, int heads, int valueSize)
{
    int row = (blockIdx.x * 256 + threadIdx.x) / LANES, column = threadIdx.x % LANES * 8;
    // Rows run head by head within a position, as the elements mostly do.
    int positions = TILE ? (queries + TILE - 1) / max(TILE, 1) * TILE : queries;
    int h = row % heads, q = row / heads % positions, b = row / heads / positions;
    bool exists = row < rows && q < queries;
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
    if (row >= rows || column != 0)
        return;
#if TILE
    float* tile = rowDot + ((i64)(b * heads + h) * positions + q / TILE * TILE) * 2 + q % TILE;
    bool sees = exists && logSumExp[(i64)(b * heads + h) * queries + q] != -infinity();
    tile[0] = sees ? logSumExp[(i64)(b * heads + h) * queries + q] * Log2E : infinity();
    tile[TILE] = sees ? sum : 0;
#else
    rowDot[(i64)(b * heads + h) * queries + q] = sum;
#endif
}
