// Products with a matrix for each group of rows, and the gradients of those matrices, without tensor cores. The rows of
// group g are order[offsets[g]] to order[offsets[g + 1]]; row r of an operand is its row r / share. Types Left, Right
// and Output stand before this text.

/// Output[r, n] = sum over k of Left[r, k] Right[g, k, n]. Blocks in x are tiles of a group's rows, more of them than there can be.
extern "C" __global__ void __launch_bounds__(256) grouped_product(
    const Left* left, const Right* right, Output* output, const int* offsets, const int* order, const long long groups, const long long n,
    const long long k, const long long leftRow, const long long leftShare, const long long rightGroup, const long long rightRow,
    const long long rightColumn, const long long outputRow) {
  int tile = blockIdx.x, group = 0;
  for (int tiles; group < groups && tile >= (tiles = (offsets[group + 1] - offsets[group] + 31) / 32); group++) tile -= tiles;
  if (group == groups) return;
  const int top = offsets[group] + 32 * tile, end = offsets[group + 1], x = threadIdx.x % 32, y = threadIdx.x / 32;
  const long long first = (long long)blockIdx.y * 32, column = first + x;
  float sum[4];
  tile_product(
      sum, k,
      [&](int i, long long d) { return top + i < end ? widen(left[order[top + i] / leftShare * leftRow + d]) : 0.0f; },
      [&](long long d, int j) { return first + j < n ? widen(right[group * rightGroup + d * rightRow + (first + j) * rightColumn]) : 0.0f; });
#pragma unroll
  for (int r = 0; r < 4; r++) {
    const int place = top + y + 8 * r;
    if (place < end && column < n) output[order[place] * outputRow + column] = narrow<Output>(sum[r]);
  }
}

/// Output[g, m, n] = sum over the rows r of group g of Left[r, m] Right[r, n].
extern "C" __global__ void __launch_bounds__(256) grouped_gradient(
    const Left* left, const Right* right, Output* output, const int* offsets, const int* order, const long long m, const long long n,
    const long long leftRow, const long long leftShare, const long long rightRow, const long long rightShare, const long long outputGroup,
    const long long outputRow) {
  const int group = blockIdx.z, start = offsets[group], x = threadIdx.x % 32, y = threadIdx.x / 32;
  const long long top = (long long)blockIdx.y * 32, first = (long long)blockIdx.x * 32, column = first + x;
  float sum[4];
  tile_product(
      sum, offsets[group + 1] - start,
      [&](int i, long long d) { return top + i < m ? widen(left[order[start + d] / leftShare * leftRow + top + i]) : 0.0f; },
      [&](long long d, int j) { return first + j < n ? widen(right[order[start + d] / rightShare * rightRow + first + j]) : 0.0f; });
#pragma unroll
  for (int r = 0; r < 4; r++) {
    const long long row = top + y + 8 * r;
    if (row < m && column < n) output[group * outputGroup + row * outputRow + column] = narrow<Output>(sum[r]);
  }
}
