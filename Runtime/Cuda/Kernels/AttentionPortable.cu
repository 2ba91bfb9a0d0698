// Attention forward (Dao et al. 2022, FlashAttention, algorithm 1: online softmax), without tensor cores: for every type,
// mask, score modification and head size. A block of four warps takes 32 queries of a head; in turn it loads 32 keys and
// values. In scores a lane has a key and a warp eight queries; in sums over values a lane has every 32nd feature.
//
// Before this text stand: types Query, Key, Value, Output; HEAD_SIZE, VALUE_SIZE, SCALE, MASKED; admits, modified, slope;
// EXTRA_PARAMETERS and EXTRA_ARGUMENTS, what those three read.

#define TILE 32
#define ROWS 8
#define VALUE_LANES ((VALUE_SIZE + 31) / 32)

extern "C" __global__ void __launch_bounds__(128) attention(
    const Query* query, const long long queryBatch, const long long queryPosition, const long long queryHead,
    const Key* key, const long long keyBatch, const long long keyPosition, const long long keyHead,
    const Value* value, const long long valueBatch, const long long valuePosition, const long long valueHead,
    Output* output, const long long outputBatch, const long long outputPosition, const long long outputHead,
    float* logSumExp, const int* past, const long long heads, const long long keyHeads, const long long queries,
    const long long keys, const unsigned char* tiles, const long long keyTiles EXTRA_PARAMETERS) {
  extern __shared__ float shared[];
  float* qs = shared;
  float* ks = qs + TILE * (HEAD_SIZE + 1);
  float* vs = ks + TILE * (HEAD_SIZE + 1);
  float* ps = vs + TILE * (VALUE_SIZE + 1);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int h = blockIdx.y, b = blockIdx.z, top = blockIdx.x * TILE, kh = h / (int)(heads / keyHeads);
  const int first = past ? past[b] : 0;
  const int seen = past ? first + (int)queries : (int)keys;

  for (int i = threadIdx.x; i < TILE * HEAD_SIZE; i += 128) {
    const int row = i / HEAD_SIZE, d = i % HEAD_SIZE;
    qs[row * (HEAD_SIZE + 1) + d] =
        top + row < queries ? widen(query[b * queryBatch + (top + row) * queryPosition + h * queryHead + d]) : 0.0f;
  }

  float sums[ROWS][VALUE_LANES], largest[ROWS], total[ROWS];
#pragma unroll
  for (int r = 0; r < ROWS; r++) {
    largest[r] = -infinity();
    total[r] = 0.0f;
#pragma unroll
    for (int c = 0; c < VALUE_LANES; c++) sums[r][c] = 0.0f;
  }

  for (int start = 0; start < seen; start += TILE) {
    const int kind = tiles ? tiles[blockIdx.x * keyTiles + start / TILE] : MASKED ? 1 : 2;
    if (kind == 0) continue;
    __syncthreads();
    for (int i = threadIdx.x; i < TILE * HEAD_SIZE; i += 128) {
      const int row = i / HEAD_SIZE, d = i % HEAD_SIZE;
      ks[row * (HEAD_SIZE + 1) + d] =
          start + row < seen ? widen(key[b * keyBatch + (start + row) * keyPosition + kh * keyHead + d]) : 0.0f;
    }
    for (int i = threadIdx.x; i < TILE * VALUE_SIZE; i += 128) {
      const int row = i / VALUE_SIZE, d = i % VALUE_SIZE;
      vs[row * (VALUE_SIZE + 1) + d] =
          start + row < seen ? widen(value[b * valueBatch + (start + row) * valuePosition + kh * valueHead + d]) : 0.0f;
    }
    __syncthreads();

    float scores[ROWS];
#pragma unroll
    for (int r = 0; r < ROWS; r++) scores[r] = 0.0f;
    for (int d = 0; d < HEAD_SIZE; d++) {
      const float x = ks[lane * (HEAD_SIZE + 1) + d];
#pragma unroll
      for (int r = 0; r < ROWS; r++) scores[r] += qs[(warp * ROWS + r) * (HEAD_SIZE + 1) + d] * x;
    }
    const int k = start + lane;
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
      const int q = first + top + warp * ROWS + r;
      const bool isVisible = k < seen && (kind == 2 || admits(b, h, q, k EXTRA_ARGUMENTS));
      const float score = isVisible ? modified(b, h, q, k, SCALE * scores[r] EXTRA_ARGUMENTS) : -infinity();
      const float most = fmaxf(largest[r], maximum_of_warp<32>(score, 0xffffffffu));
      const float p = score == -infinity() ? 0.0f : expf(score - most);
      const float shrink = largest[r] == -infinity() ? 0.0f : expf(largest[r] - most);
      total[r] = total[r] * shrink + sum_of_warp<32>(p, 0xffffffffu);
      largest[r] = most;
      ps[(warp * ROWS + r) * (TILE + 1) + lane] = p;
#pragma unroll
      for (int c = 0; c < VALUE_LANES; c++) sums[r][c] *= shrink;
    }
    __syncwarp();
    for (int j = 0; j < TILE; j++) {
      float x[VALUE_LANES];
#pragma unroll
      for (int c = 0; c < VALUE_LANES; c++) x[c] = c * 32 + lane < VALUE_SIZE ? vs[j * (VALUE_SIZE + 1) + c * 32 + lane] : 0.0f;
#pragma unroll
      for (int r = 0; r < ROWS; r++) {
        const float p = ps[(warp * ROWS + r) * (TILE + 1) + j];
#pragma unroll
        for (int c = 0; c < VALUE_LANES; c++) sums[r][c] += p * x[c];
      }
    }
  }

#pragma unroll
  for (int r = 0; r < ROWS; r++) {
    const int row = top + warp * ROWS + r;
    if (row >= queries) continue;
    const float inverse = total[r] > 0.0f ? 1.0f / total[r] : 0.0f;
#pragma unroll
    for (int c = 0; c < VALUE_LANES; c++)
      if (c * 32 + lane < VALUE_SIZE)
        output[b * outputBatch + row * outputPosition + h * outputHead + c * 32 + lane] = narrow<Output>(sums[r][c] * inverse);
    if (logSumExp && lane == 0)
      logSumExp[((long long)b * heads + h) * queries + row] = total[r] > 0.0f ? largest[r] + logf(total[r]) : -infinity();
  }
}
