// 32 blocks of 192 threads, 192 a row
extern "C" __global__ void __launch_bounds__(192) fused(const float* __restrict__ p0, const float* __restrict__ p1, float* __restrict__ p2, float* __restrict__ p3) {
  __shared__ float slots[2][1][6];
  int turn = 0;
  const int lane = threadIdx.x;
  const bool first = lane == 0;
  int row = (int)(blockIdx.x);
  const int part_1 = row;
  const int chunk_1 = (543 / 32);
  Vec<float, 4> carried_1[1];
  #pragma unroll
  for (int sweep = 0; sweep < 1; sweep++) {
    const int at_1 = (lane * 4) + sweep * 768;
    for (int v = 0; v < 4; v++) carried_1[sweep].e[v] = 0.0f;
  }
  for (int row_1 = (part_1 * chunk_1); row_1 < lesser<int>(((part_1 * chunk_1) + chunk_1), 512); row_1++) {
    if (row_1 + 1 < lesser<int>(((part_1 * chunk_1) + chunk_1), 512)) {
      #pragma unroll
      for (int sweep = 0; sweep < 1; sweep++) {
        const int at_2 = (lane * 4) + sweep * 768;
        prefetch(p0 + (((row_1 + 1) * 768) + at_2));
      }
      #pragma unroll
      for (int sweep = 0; sweep < 1; sweep++) {
        const int at_3 = (lane * 4) + sweep * 768;
        prefetch(p1 + (((row_1 + 1) * 768) + at_3));
      }
    }
    float s_1 = 0.0f;
    Vec<float, 4> kept_1[1];
    Vec<float, 4> kept_2[1];
    {
      float partial_1[4];
      #pragma unroll
      for (int v = 0; v < 4; v++) partial_1[v] = 0.0f;
      #pragma unroll
      for (int sweep = 0; sweep < 1; sweep++) {
        const int at_4 = (lane * 4) + sweep * 768;
        kept_1[sweep] = fetch<4>(p0 + ((row_1 * 768) + at_4));
        kept_2[sweep] = fetch<4>(p1 + ((row_1 * 768) + at_4));
        #pragma unroll
        for (int v = 0; v < 4; v++) {
          partial_1[v] = partial_1[v] + (kept_1[sweep].e[v] * kept_2[sweep].e[v]);
          carried_1[sweep].e[v] = (carried_1[sweep].e[v] + kept_2[sweep].e[v]);
        }
      }
      #pragma unroll
      for (int v = 1; v < 4; v++) partial_1[0] = partial_1[0] + partial_1[v];
      partial_1[0] = sum_of_warp<32>(partial_1[0], 0xffffffffu);
      if (threadIdx.x % 32 == 0) slots[turn][0][threadIdx.x / 32] = partial_1[0];
      __syncthreads();
      partial_1[0] = sum_of_slots<6>(slots[turn][0]);
      turn ^= 1;
      s_1 = s_1 + partial_1[0];
    }
    {
      #pragma unroll
      for (int sweep = 0; sweep < 1; sweep++) {
        const int at_5 = (lane * 4) + sweep * 768;
        const Vec<float, 4> in_1 = kept_2[sweep];
        const Vec<float, 4> in_2 = kept_1[sweep];
        Vec<float, 4> out_1;
        #pragma unroll
        for (int v = 0; v < 4; v++) {
          out_1.e[v] = (in_1.e[v] - (s_1 * in_2.e[v]));
        }
        store(p3 + ((row_1 * 768) + at_5), out_1);
      }
    }
  }
  #pragma unroll
  for (int sweep = 0; sweep < 1; sweep++) {
    const int at_6 = (lane * 4) + sweep * 768;
    store(p2 + ((part_1 * 768) + at_6), carried_1[sweep]);
  }
}
