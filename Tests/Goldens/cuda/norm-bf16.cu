// 512 blocks of 256 threads, 256 a row
extern "C" __global__ void __launch_bounds__(256) fused(const bf16* __restrict__ p0, const float* __restrict__ p1, bf16* __restrict__ p2) {
  __shared__ float slots[2][1][8];
  int turn = 0;
  const int lane = threadIdx.x;
  const bool first = lane == 0;
  int row = (int)(blockIdx.x);
  const int i_1 = row;
  float s_1 = 0.0f;
  Vec<bf16, 8> kept_1[2];
  {
    float partial_1[8];
    #pragma unroll
    for (int v = 0; v < 8; v++) partial_1[v] = 0.0f;
    #pragma unroll
    for (int sweep = 0; sweep < 2; sweep++) {
      const int at_1 = (lane * 8) + sweep * 2048;
      kept_1[sweep] = fetch<8>(p0 + ((i_1 * 4096) + at_1));
      #pragma unroll
      for (int v = 0; v < 8; v++) {
        partial_1[v] = partial_1[v] + (widen(kept_1[sweep].e[v]) * widen(kept_1[sweep].e[v]));
      }
    }
    #pragma unroll
    for (int v = 1; v < 8; v++) partial_1[0] = partial_1[0] + partial_1[v];
    partial_1[0] = sum_of_warp<32>(partial_1[0], 0xffffffffu);
    if (threadIdx.x % 32 == 0) slots[turn][0][threadIdx.x / 32] = partial_1[0];
    __syncthreads();
    partial_1[0] = sum_of_slots<8>(slots[turn][0]);
    turn ^= 1;
    s_1 = s_1 + partial_1[0];
  }
  const float r_1 = rsqrtf(((s_1 * 0.00024414062f) + 1E-05f));
  {
    #pragma unroll
    for (int sweep = 0; sweep < 2; sweep++) {
      const int at_2 = (lane * 8) + sweep * 2048;
      const Vec<bf16, 8> in_1 = kept_1[sweep];
      const Vec<float, 8> in_2 = fetch<8>(p1 + at_2);
      Vec<bf16, 8> out_1;
      #pragma unroll
      for (int v = 0; v < 8; v++) {
        out_1.e[v] = narrow<bf16>(((widen(in_1.e[v]) * r_1) * in_2.e[v]));
      }
      store(p2 + ((i_1 * 4096) + at_2), out_1);
    }
  }
}
