// Output[m, n] (+)= sum over k of Left[m, k] Right[k, n], for each of a batch, in float32. Types Left, Right and Output and
// the macro ACCUMULATE stand before this text. A block of 256 threads makes tiles of 32 by 32; a thread makes 4 by 1.

extern "C" __global__ void __launch_bounds__(256) product(
    const Left* left, const Right* right, Output* output, const long long m, const long long n, const long long k,
    const long long leftRow, const long long leftColumn, const long long rightRow, const long long rightColumn,
    const long long outputRow, const long long outputColumn, const long long batch, const long long leftBatch,
    const long long rightBatch, const long long outputBatch) {
  __shared__ float a[32][33], b[32][33];
  const int x = threadIdx.x % 32, y = threadIdx.x / 32;
  const long long column = (long long)blockIdx.x * 32 + x;
  for (long long z = blockIdx.z; z < batch; z += gridDim.z)
    for (long long top = (long long)blockIdx.y * 32; top < m; top += (long long)gridDim.y * 32) {
      float sum[4] = {0.0f, 0.0f, 0.0f, 0.0f};
      for (long long start = 0; start < k; start += 32) {
        __syncthreads();
        for (int i = y; i < 32; i += 8) {
          const long long row = top + i, depth = start + i;
          a[i][x] = row < m && start + x < k ? widen(left[z * leftBatch + row * leftRow + (start + x) * leftColumn]) : 0.0f;
          b[i][x] = depth < k && column < n ? widen(right[z * rightBatch + depth * rightRow + column * rightColumn]) : 0.0f;
        }
        __syncthreads();
        for (int i = 0; i < 32; i++)
#pragma unroll
          for (int r = 0; r < 4; r++) sum[r] += a[y + 8 * r][i] * b[i][x];
      }
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
