// Output[m, n] (+)= sum over k of Left[m, k] Right[k, n], for each of a batch, in float32. Types Left, Right and Output and
// the macro ACCUMULATE stand before this text.

extern "C" __global__ void __launch_bounds__(256) product(
    const Left* left, const Right* right, Output* output, const long long m, const long long n, const long long k,
    const long long leftRow, const long long leftColumn, const long long rightRow, const long long rightColumn,
    const long long outputRow, const long long outputColumn, const long long batch, const long long leftBatch,
    const long long rightBatch, const long long outputBatch) {
  const int x = threadIdx.x % 32, y = threadIdx.x / 32;
  const long long first = (long long)blockIdx.x * 32, column = first + x;
  for (long long z = blockIdx.z; z < batch; z += gridDim.z)
    for (long long top = (long long)blockIdx.y * 32; top < m; top += (long long)gridDim.y * 32) {
      float sum[4];
      tile_product(
          sum, k,
          [&](int i, long long d) { return top + i < m ? widen(left[z * leftBatch + (top + i) * leftRow + d * leftColumn]) : 0.0f; },
          [&](long long d, int j) { return first + j < n ? widen(right[z * rightBatch + d * rightRow + (first + j) * rightColumn]) : 0.0f; });
#pragma unroll
      for (int r = 0; r < 4; r++) {
        const long long row = top + y + 8 * r;
        if (row < m && column < n) {
          Output* at = output + z * outputBatch + row * outputRow + column * outputColumn;
          *at = narrow<Output>(ACCUMULATE ? widen(*at) + sum[r] : sum[r]);
        }
      }
    }
}
