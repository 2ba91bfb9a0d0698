// 32 blocks of 128 threads, 128 a row
extern "C" __global__ void __launch_bounds__(128) fused(const float* __restrict__ p0, const float* __restrict__ p1, float* __restrict__ p2, float* __restrict__ p3) {
  __shared__ float slots[2][1][4];
  int turn = 0;
  const int lane = threadIdx.x;
  const bool first = lane == 0;
  int row = (int)(blockIdx.x);
  const int part_1 = row;
  const int chunk_1 = (543 / 32);
  {
    #pragma unroll
    for (int sweep = 0; sweep < 2; sweep++) {
      const int at_1 = (lane * 4) + sweep * 512;
      if (at_1 < 768) {
        Vec<float, 4> out_1;
        #pragma unroll
        for (int v = 0; v < 4; v++) {
          out_1.e[v] = 0.0f;
        }
        store(p2 + ((part_1 * 768) + at_1), out_1);
      }
    }
  }
  for (int row_1 = (part_1 * chunk_1); row_1 < lesser<int>(((part_1 * chunk_1) + chunk_1), 512); row_1++) {
    float s_1 = 0.0f;
    Vec<float, 4> kept_1[2];
    Vec<float, 4> kept_2[2];
    {
      float partial_1[4];
      #pragma unroll
      for (int v = 0; v < 4; v++) partial_1[v] = 0.0f;
      #pragma unroll
      for (int sweep = 0; sweep < 2; sweep++) {
        const int at_2 = (lane * 4) + sweep * 512;
        if (at_2 < 768) {
          kept_1[sweep] = fetch<4>(p0 + ((row_1 * 768) + at_2));
          kept_2[sweep] = fetch<4>(p1 + ((row_1 * 768) + at_2));
          const Vec<float, 4> in_1 = fetch<4>(p2 + ((part_1 * 768) + at_2));
          Vec<float, 4> out_2;
          #pragma unroll
          for (int v = 0; v < 4; v++) {
            partial_1[v] = partial_1[v] + (kept_1[sweep].e[v] * kept_2[sweep].e[v]);
            out_2.e[v] = (in_1.e[v] + kept_2[sweep].e[v]);
          }
          store(p2 + ((part_1 * 768) + at_2), out_2);
        }
      }
      #pragma unroll
      for (int v = 1; v < 4; v++) partial_1[0] = partial_1[0] + partial_1[v];
      partial_1[0] = sum_of_warp<32>(partial_1[0], 0xffffffffu);
      if (threadIdx.x % 32 == 0) slots[turn][0][threadIdx.x / 32] = partial_1[0];
      __syncthreads();
      partial_1[0] = sum_of_slots<4>(slots[turn][0]);
      turn ^= 1;
      s_1 = s_1 + partial_1[0];
    }
    {
      #pragma unroll
      for (int sweep = 0; sweep < 2; sweep++) {
        const int at_3 = (lane * 4) + sweep * 512;
        if (at_3 < 768) {
          Vec<float, 4> out_3;
          #pragma unroll
          for (int v = 0; v < 4; v++) {
            out_3.e[v] = (kept_2[sweep].e[v] - (s_1 * kept_1[sweep].e[v]));
          }
          store(p3 + ((row_1 * 768) + at_3), out_3);
        }
      }
    }
  }
}
