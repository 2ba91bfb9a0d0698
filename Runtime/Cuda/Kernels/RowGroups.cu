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

/// Writes the rows of a group in their order, a block a group: after those of the groups before, which it counts. A warp
/// looks at 16 times 32 neighbouring rows at once.
extern "C" __global__ void __launch_bounds__(1024) dispatch(const int* index, int* offsets, int* order, const long long count) {
  constexpr int Looks = 16;
  __shared__ int found[32];
  const int group = blockIdx.x, lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  int before = 0;
#pragma unroll 16
  for (int row = threadIdx.x; row < count; row += 1024) before += index[row] < group;
  const int start = sum_of_block(before);
  int end = start;
  for (int first = 0; first < count; first += Looks * 1024) {
    const int top = first + warp * Looks * 32 + lane;
    int groups[Looks], own = 0;
    unsigned mine[Looks];
#pragma unroll
    for (int i = 0; i < Looks; i++) groups[i] = top + 32 * i < count ? index[top + 32 * i] : -1;
#pragma unroll
    for (int i = 0; i < Looks; i++) {
      mine[i] = __ballot_sync(0xffffffffu, groups[i] == group);
      own += __popc(mine[i]);
    }
    __syncthreads();
    if (lane == 0) found[warp] = own;
    __syncthreads();
    int place = end;
#pragma unroll
    for (int i = 0; i < 32; i++) {
      if (i < warp) place += found[i];
      end += found[i];
    }
#pragma unroll
    for (int i = 0; i < Looks; i++) {
      if (groups[i] == group) order[place + __popc(mine[i] & ((1u << lane) - 1))] = top + 32 * i;
      place += __popc(mine[i]);
    }
  }
  if (threadIdx.x == 0) {
    offsets[group] = start;
    if (group == gridDim.x - 1) offsets[group + 1] = end;
  }
}

struct alignas(16) Piece { unsigned words[4]; };

/// Copies the row that each row of a group reads, each group's from a multiple of 64 rows on, zeros in between. A row is so
/// many pieces of 16 bytes, `stride` apart in the source; a warp a row. Warps go through the groups side by side: where those are
/// alike, what several of them read is read at one time.
extern "C" __global__ void __launch_bounds__(256) gather_rows(
    const Piece* source, Piece* target, const int* offsets, const int* order, const long long groups, const long long rows,
    const long long pieces, const long long stride, const long long share) {
  const int warp = blockIdx.x * 8 + threadIdx.x / 32, lane = threadIdx.x % 32, each = (int)((rows + groups - 1) / groups);
  const int row = warp % (int)groups * each + warp / (int)groups;
  if (warp / (int)groups >= each || row >= rows) return;
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
