// What products without tensor cores share: a block of 256 threads makes a tile of 32 by 32 in float32, a thread 4 by 1.

/// sum[r] = Σ left(y + 8 r, k) right(k, x) over `depth`, x and y the thread's column and first row. `left` and `right` give zero beyond
/// the ends of what they read.
template <class Left, class Right>
__device__ __forceinline__ void tile_product(float (&sum)[4], const long long depth, const Left left, const Right right) {
  __shared__ float a[32][33], b[32][33];
  const int x = threadIdx.x % 32, y = threadIdx.x / 32;
#pragma unroll
  for (int r = 0; r < 4; r++) sum[r] = 0.0f;
  for (long long start = 0; start < depth; start += 32) {
    __syncthreads();
    for (int i = y; i < 32; i += 8) {
      a[i][x] = start + x < depth ? left(i, start + x) : 0.0f;
      b[i][x] = start + i < depth ? right(start + i, x) : 0.0f;
    }
    __syncthreads();
    for (int i = 0; i < 32; i++)
#pragma unroll
      for (int r = 0; r < 4; r++) sum[r] += a[y + 8 * r][i] * b[i][x];
  }
}
