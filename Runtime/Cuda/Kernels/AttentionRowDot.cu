// Σ output · outputGradient of each row of attention: what the gradient of the softmax subtracts (FlashAttention-2, algorithm 2, line 4).
// LANES: lanes that share a row, 8 elements each.

extern "C" __global__ void __launch_bounds__(256) attention_row_dot(Heads output, Heads gradient, float* rowDot, int rows, int queries, int heads, int valueSize)
{
    int row = (blockIdx.x * 256 + threadIdx.x) / LANES, column = threadIdx.x % LANES * 8;
    // Rows run head by head within a position, as the elements mostly do.
    int h = row % heads, q = row / heads % queries, b = row / heads / queries;
    float sum = 0;
    if (row < rows && column < valueSize)
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
    if (row < rows && column == 0)
        rowDot[(i64)(b * heads + h) * queries + q] = sum;
}
