// 512 blocks of 512 threads, 512 a row
extern "C" __global__ void __launch_bounds__(512, 2) fused(const float* __restrict__ p0, const float* __restrict__ p1, float* __restrict__ p2) {
  __shared__ float slots[2][1][16];
  int turn = 0;
  const int lane = threadIdx.x;
  const bool first = lane == 0;
  int row = (int)(blockIdx.x);
  const int i_1 = row;
  float s_1 = 0.0f;
  Vec<float, 4> kept_1[2];
  {
    float partial_1[4];
    #pragma unroll
    for (int v = 0; v < 4; v++) partial_1[v] = 0.0f;
    #pragma unroll
    for (int sweep = 0; sweep < 2; sweep++) {
      const int at_1 = (lane * 4) + sweep * 2048;
      kept_1[sweep] = fetch<4>(p0 + ((i_1 * 4096) + at_1));
      #pragma unroll
      for (int v = 0; v < 4; v++) {
        partial_1[v] = partial_1[v] + (kept_1[sweep].e[v] * kept_1[sweep].e[v]);
      }
    }
    #pragma unroll
    for (int v = 1; v < 4; v++) partial_1[0] = partial_1[0] + partial_1[v];
    partial_1[0] = sum_of_warp<32>(partial_1[0], 0xffffffffu);
    if (threadIdx.x % 32 == 0) slots[turn][0][threadIdx.x / 32] = partial_1[0];
    __syncthreads();
    partial_1[0] = sum_of_slots<16>(slots[turn][0]);
    turn ^= 1;
    s_1 = s_1 + partial_1[0];
  }
  const float r_1 = rsqrtf(((s_1 * 0.00024414062f) + 1E-05f));
  {
    #pragma unroll
    for (int sweep = 0; sweep < 2; sweep++) {
      const int at_2 = (lane * 4) + sweep * 2048;
      const Vec<float, 4> in_1 = kept_1[sweep];
      const Vec<float, 4> in_2 = fetch<4>(p1 + at_2);
      Vec<float, 4> out_1;
      #pragma unroll
      for (int v = 0; v < 4; v++) {
        out_1.e[v] = ((in_1.e[v] * r_1) * in_2.e[v]);
      }
      store(p2 + ((i_1 * 4096) + at_2), out_1);
    }
  }
}
