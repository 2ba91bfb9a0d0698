// Rows by group: which rows each group has, and copies of rows that lie group by group.

/// The sum of x over a block of 1024 threads, in all of them.
__device__ __forceinline__ int sum_of_block(int x) {
  __shared__ int slots[32];
#pragma unroll
  for (int o = 16; o > 0; o /= 2) x += __shfl_xor_sync(0xffffffffu, x, o);
  if (threadIdx.x % 32 == 0) slots[threadIdx.x / 32] = x;
  __syncthreads();
  int sum = 0;
#pragma unroll
  for (int i = 0; i < 32; i++) sum += slots[i];
  return sum;
}

/// The sum of x over the lanes of a warp up to this one.
__device__ __forceinline__ int sum_up_to_lane(int x) {
#pragma unroll
  for (int o = 1; o < 32; o *= 2) {
    const int before = __shfl_up_sync(0xffffffffu, x, o);
    if (threadIdx.x % 32 >= o) x += before;
  }
  return x;
}

/// Writes the rows of a group in their order, a block a group: after those of the groups before, which it counts. A thread
/// looks at eight neighbouring rows at a time.
extern "C" __global__ void __launch_bounds__(1024) dispatch(const int* index, int* offsets, int* order, const long long count) {
  __shared__ int found[32];
  const int group = blockIdx.x, lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  int before = 0;
#pragma unroll 8
  for (int row = threadIdx.x; row < count; row += 1024) before += index[row] < group;
  const int start = sum_of_block(before);
  int end = start;
  for (int first = 0; first < count; first += 8 * 1024) {
    const int top = first + 8 * threadIdx.x;
    bool isMine[8];
    int own = 0;
#pragma unroll
    for (int i = 0; i < 8; i++) isMine[i] = top + i < count && index[top + i] == group;
#pragma unroll
    for (int i = 0; i < 8; i++) own += isMine[i];
    const int upTo = sum_up_to_lane(own);
    __syncthreads();
    if (lane == 31) found[warp] = upTo;
    __syncthreads();
    int place = end + upTo - own;
#pragma unroll
    for (int i = 0; i < 32; i++) {
      if (i < warp) place += found[i];
      end += found[i];
    }
#pragma unroll
    for (int i = 0; i < 8; i++)
      if (isMine[i]) order[place++] = top + i;
  }
  if (threadIdx.x == 0) {
    offsets[group] = start;
    if (group == gridDim.x - 1) offsets[group + 1] = end;
  }
}

struct alignas(16) Piece { unsigned words[4]; };

/// Copies the row that each row of a group reads, each group's from a multiple of 64 rows on, zeros in between. A row is so
/// many pieces of 16 bytes, `stride` apart in the source; a warp a row.
extern "C" __global__ void __launch_bounds__(256) gather_rows(
    const Piece* source, Piece* target, const int* offsets, const int* order, const long long groups, const long long rows,
    const long long pieces, const long long stride, const long long share) {
  const int row = blockIdx.x * 8 + threadIdx.x / 32, lane = threadIdx.x % 32;
  if (row >= rows) return;
  // The group whose room the row falls in: 32 groups at a time, one a lane.
  int aligned = 0, start = 0, size = 0;
  bool isFound = false;
  for (int first = 0; first < groups && !isFound; first += 32) {
    const int group = first + lane, from = group < groups ? offsets[group] : 0, rowsOf = group < groups ? offsets[group + 1] - from : 0;
    const int room = (rowsOf + 63) / 64 * 64, upTo = aligned + sum_up_to_lane(room);
    const unsigned beyond = __ballot_sync(0xffffffffu, row < upTo);
    isFound = beyond != 0;
    const int at = isFound ? __ffs(beyond) - 1 : 31;
    start = __shfl_sync(0xffffffffu, from, at);
    size = __shfl_sync(0xffffffffu, rowsOf, at);
    aligned = __shfl_sync(0xffffffffu, isFound ? upTo - room : upTo, at);
  }
  if (!isFound) return;
  Piece* to = target + row * pieces;
  if (row - aligned >= size) {
    for (int i = lane; i < pieces; i += 32) to[i] = Piece{0, 0, 0, 0};
    return;
  }
  const Piece* from = source + order[start + row - aligned] / share * stride;
#pragma unroll 4
  for (int i = lane; i < pieces; i += 32) to[i] = from[i];
}
