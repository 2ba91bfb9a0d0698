// Gradients of attention by recomputation (Dao 2023, FlashAttention-2, algorithm 2), without tensor cores: for every type,
// mask, score modification and head size. Blocks of four warps take tiles of 32 queries and 32 keys. A tile of scores is
// made with a key a lane and eight queries a warp; sums have every 32nd feature a lane and eight rows a warp.
//
// Before this text stand: types Query, Key, Value, Output, OutputGradient, QueryGradient, KeyGradient, ValueGradient;
// HEAD_SIZE, VALUE_SIZE, SCALE, MASKED; admits, modified, slope; EXTRA_PARAMETERS and EXTRA_ARGUMENTS, what those three read.

#define TILE 32
#define ROWS 8
#define HEAD_LANES ((HEAD_SIZE + 31) / 32)
#define VALUE_LANES ((VALUE_SIZE + 31) / 32)

#define PARAMETERS \
  const Query* query, const long long queryBatch, const long long queryPosition, const long long queryHead, \
  const Key* key, const long long keyBatch, const long long keyPosition, const long long keyHead, \
  const Value* value, const long long valueBatch, const long long valuePosition, const long long valueHead, \
  const Output* output, const long long outputBatch, const long long outputPosition, const long long outputHead, \
  const OutputGradient* outGradient, const long long outGradientBatch, const long long outGradientPosition, const long long outGradientHead, \
  QueryGradient* queryGradient, const long long queryGradientBatch, const long long queryGradientPosition, const long long queryGradientHead, \
  KeyGradient* keyGradient, const long long keyGradientBatch, const long long keyGradientPosition, const long long keyGradientHead, \
  ValueGradient* valueGradient, const long long valueGradientBatch, const long long valueGradientPosition, const long long valueGradientHead, \
  const float* logSumExp, float* rowDot, const long long heads, const long long keyHeads, const long long queries, \
  const long long keys, const unsigned char* tiles, const long long keyTiles EXTRA_PARAMETERS

// 32 rows of a tensor, zeros beyond its end.
template <int SIZE, typename T>
__device__ __forceinline__ void load_tile(float* to, const T* from, long long stride, int rows) {
  for (int i = threadIdx.x; i < TILE * SIZE; i += 128) {
    const int row = i / SIZE, d = i % SIZE;
    to[row * (SIZE + 1) + d] = row < rows ? widen(from[row * stride + d]) : 0.0f;
  }
}

extern "C" __global__ void __launch_bounds__(128) row_dots(PARAMETERS) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, h = blockIdx.y, b = blockIdx.z;
  for (int r = 0; r < ROWS; r++) {
    const int row = blockIdx.x * TILE + warp * ROWS + r;
    if (row >= queries) return;
    const Output* o = output + b * outputBatch + row * outputPosition + h * outputHead;
    const OutputGradient* g = outGradient + b * outGradientBatch + row * outGradientPosition + h * outGradientHead;
    float dot = 0.0f;
    for (int d = lane; d < VALUE_SIZE; d += 32) dot += widen(o[d]) * widen(g[d]);
    dot = sum_of_warp<32>(dot, 0xffffffffu);
    if (lane == 0) rowDot[((long long)b * heads + h) * queries + row] = dot;
  }
}

// Probabilities and gradients of q · k of a tile: rows are queries.
__device__ __forceinline__ void score_tile(
    const float* qs, const float* ks, const float* vs, const float* gs, float* ps, float* ds, int b, int h, int top, int start,
    int queries, int keys, int kind, const float* lse, const float* dots EXTRA_PARAMETERS) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, k = start + lane;
  float products[ROWS], changes[ROWS];
#pragma unroll
  for (int r = 0; r < ROWS; r++) products[r] = changes[r] = 0.0f;
  for (int d = 0; d < HEAD_SIZE; d++) {
    const float x = ks[lane * (HEAD_SIZE + 1) + d];
#pragma unroll
    for (int r = 0; r < ROWS; r++) products[r] += qs[(warp * ROWS + r) * (HEAD_SIZE + 1) + d] * x;
  }
  for (int d = 0; d < VALUE_SIZE; d++) {
    const float x = vs[lane * (VALUE_SIZE + 1) + d];
#pragma unroll
    for (int r = 0; r < ROWS; r++) changes[r] += gs[(warp * ROWS + r) * (VALUE_SIZE + 1) + d] * x;
  }
#pragma unroll
  for (int r = 0; r < ROWS; r++) {
    const int q = top + warp * ROWS + r;
    const bool isVisible = q < queries && k < keys && (kind == 2 || admits(b, h, q, k EXTRA_ARGUMENTS));
    float p = 0.0f, change = 0.0f;
    if (isVisible) {
      const float score = SCALE * products[r];
      p = expf(modified(b, h, q, k, score EXTRA_ARGUMENTS) - lse[q]);
      change = p * (changes[r] - dots[q]) * slope(b, h, q, k, score EXTRA_ARGUMENTS) * SCALE;
    }
    ps[(warp * ROWS + r) * (TILE + 1) + lane] = p;
    ds[(warp * ROWS + r) * (TILE + 1) + lane] = change;
  }
}

extern "C" __global__ void __launch_bounds__(128) key_gradients(PARAMETERS) {
  extern __shared__ float shared[];
  float* qs = shared;
  float* ks = qs + TILE * (HEAD_SIZE + 1);
  float* vs = ks + TILE * (HEAD_SIZE + 1);
  float* gs = vs + TILE * (VALUE_SIZE + 1);
  float* ps = gs + TILE * (VALUE_SIZE + 1);
  float* ds = ps + TILE * (TILE + 1);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int kh = blockIdx.y, b = blockIdx.z, start = blockIdx.x * TILE, group = (int)(heads / keyHeads);

  load_tile<HEAD_SIZE>(ks, key + b * keyBatch + start * keyPosition + kh * keyHead, keyPosition, (int)keys - start);
  load_tile<VALUE_SIZE>(vs, value + b * valueBatch + start * valuePosition + kh * valueHead, valuePosition, (int)keys - start);

  float keySums[ROWS][HEAD_LANES], valueSums[ROWS][VALUE_LANES];
#pragma unroll
  for (int r = 0; r < ROWS; r++) {
#pragma unroll
    for (int c = 0; c < HEAD_LANES; c++) keySums[r][c] = 0.0f;
#pragma unroll
    for (int c = 0; c < VALUE_LANES; c++) valueSums[r][c] = 0.0f;
  }

  for (int h = kh * group; h < (kh + 1) * group; h++)
    for (int top = 0; top < queries; top += TILE) {
      const int kind = tiles ? tiles[top / TILE * keyTiles + blockIdx.x] : MASKED ? 1 : 2;
      if (kind == 0) continue;
      __syncthreads();
      load_tile<HEAD_SIZE>(qs, query + b * queryBatch + top * queryPosition + h * queryHead, queryPosition, (int)queries - top);
      load_tile<VALUE_SIZE>(gs, outGradient + b * outGradientBatch + top * outGradientPosition + h * outGradientHead, outGradientPosition, (int)queries - top);
      __syncthreads();
      const long long rows = ((long long)b * heads + h) * queries;
      score_tile(qs, ks, vs, gs, ps, ds, b, h, top, start, (int)queries, (int)keys, kind, logSumExp + rows, rowDot + rows EXTRA_ARGUMENTS);
      __syncthreads();
      for (int i = 0; i < TILE; i++) {
        float x[HEAD_LANES], y[VALUE_LANES];
#pragma unroll
        for (int c = 0; c < HEAD_LANES; c++) x[c] = c * 32 + lane < HEAD_SIZE ? qs[i * (HEAD_SIZE + 1) + c * 32 + lane] : 0.0f;
#pragma unroll
        for (int c = 0; c < VALUE_LANES; c++) y[c] = c * 32 + lane < VALUE_SIZE ? gs[i * (VALUE_SIZE + 1) + c * 32 + lane] : 0.0f;
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
          const float p = ps[i * (TILE + 1) + warp * ROWS + r], d = ds[i * (TILE + 1) + warp * ROWS + r];
#pragma unroll
          for (int c = 0; c < HEAD_LANES; c++) keySums[r][c] += d * x[c];
#pragma unroll
          for (int c = 0; c < VALUE_LANES; c++) valueSums[r][c] += p * y[c];
        }
      }
    }

#pragma unroll
  for (int r = 0; r < ROWS; r++) {
    const int row = start + warp * ROWS + r;
    if (row >= keys) continue;
#pragma unroll
    for (int c = 0; c < HEAD_LANES; c++)
      if (c * 32 + lane < HEAD_SIZE)
        keyGradient[b * keyGradientBatch + row * keyGradientPosition + kh * keyGradientHead + c * 32 + lane] = narrow<KeyGradient>(keySums[r][c]);
#pragma unroll
    for (int c = 0; c < VALUE_LANES; c++)
      if (c * 32 + lane < VALUE_SIZE)
        valueGradient[b * valueGradientBatch + row * valueGradientPosition + kh * valueGradientHead + c * 32 + lane] = narrow<ValueGradient>(valueSums[r][c]);
  }
}

extern "C" __global__ void __launch_bounds__(128) query_gradients(PARAMETERS) {
  extern __shared__ float shared[];
  float* qs = shared;
  float* ks = qs + TILE * (HEAD_SIZE + 1);
  float* vs = ks + TILE * (HEAD_SIZE + 1);
  float* gs = vs + TILE * (VALUE_SIZE + 1);
  float* ps = gs + TILE * (VALUE_SIZE + 1);
  float* ds = ps + TILE * (TILE + 1);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int h = blockIdx.y, b = blockIdx.z, top = blockIdx.x * TILE, kh = h / (int)(heads / keyHeads);
  const long long rows = ((long long)b * heads + h) * queries;

  load_tile<HEAD_SIZE>(qs, query + b * queryBatch + top * queryPosition + h * queryHead, queryPosition, (int)queries - top);
  load_tile<VALUE_SIZE>(gs, outGradient + b * outGradientBatch + top * outGradientPosition + h * outGradientHead, outGradientPosition, (int)queries - top);

  float sums[ROWS][HEAD_LANES];
#pragma unroll
  for (int r = 0; r < ROWS; r++)
#pragma unroll
    for (int c = 0; c < HEAD_LANES; c++) sums[r][c] = 0.0f;

  for (int start = 0; start < keys; start += TILE) {
    const int kind = tiles ? tiles[blockIdx.x * keyTiles + start / TILE] : MASKED ? 1 : 2;
    if (kind == 0) continue;
    __syncthreads();
    load_tile<HEAD_SIZE>(ks, key + b * keyBatch + start * keyPosition + kh * keyHead, keyPosition, (int)keys - start);
    load_tile<VALUE_SIZE>(vs, value + b * valueBatch + start * valuePosition + kh * valueHead, valuePosition, (int)keys - start);
    __syncthreads();
    score_tile(qs, ks, vs, gs, ps, ds, b, h, top, start, (int)queries, (int)keys, kind, logSumExp + rows, rowDot + rows EXTRA_ARGUMENTS);
    __syncwarp();
    for (int j = 0; j < TILE; j++) {
      float x[HEAD_LANES];
#pragma unroll
      for (int c = 0; c < HEAD_LANES; c++) x[c] = c * 32 + lane < HEAD_SIZE ? ks[j * (HEAD_SIZE + 1) + c * 32 + lane] : 0.0f;
#pragma unroll
      for (int r = 0; r < ROWS; r++) {
        const float d = ds[(warp * ROWS + r) * (TILE + 1) + j];
#pragma unroll
        for (int c = 0; c < HEAD_LANES; c++) sums[r][c] += d * x[c];
      }
    }
  }

#pragma unroll
  for (int r = 0; r < ROWS; r++) {
    const int row = top + warp * ROWS + r;
    if (row >= queries) continue;
#pragma unroll
    for (int c = 0; c < HEAD_LANES; c++)
      if (c * 32 + lane < HEAD_SIZE)
        queryGradient[b * queryGradientBatch + row * queryGradientPosition + h * queryGradientHead + c * 32 + lane] = narrow<QueryGradient>(sums[r][c]);
  }
}
