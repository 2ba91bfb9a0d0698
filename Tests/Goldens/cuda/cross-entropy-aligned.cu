// 512 blocks of 1024 threads, 1024 a row
extern "C" __global__ void __launch_bounds__(1024) fused(const int* __restrict__ p0, const bf16* __restrict__ p1, float* __restrict__ p2, bf16* __restrict__ p3) {
  __shared__ float slots[2][2][32];
  int turn = 0;
  const int lane = threadIdx.x;
  const bool first = lane == 0;
  int row = (int)(blockIdx.x);
  const int i_1 = row;
  const int l_1 = p0[i_1];
  float m_1 = -infinity();
  float p_1 = 0.0f;
  Vec<bf16, 8> kept_1[7];
  {
    float partial_1[8];
    #pragma unroll
    for (int v = 0; v < 8; v++) partial_1[v] = -infinity();
    float partial_2[8];
    #pragma unroll
    for (int v = 0; v < 8; v++) partial_2[v] = 0.0f;
    #pragma unroll
    for (int sweep = 0; sweep < 7; sweep++) {
      const int at_1 = (lane * 8) + sweep * 8192;
      if (at_1 < 50256) {
        kept_1[sweep] = fetch<8>(p1 + ((i_1 * 50304) + at_1));
        #pragma unroll
        for (int v = 0; v < 8; v++) {
          partial_1[v] = maximum(partial_1[v], widen(kept_1[sweep].e[v]));
          partial_2[v] = partial_2[v] + (((at_1 + v) == l_1) ? widen(kept_1[sweep].e[v]) : 0.0f);
        }
      }
    }
    if (lane < 1) {
      const int at_2 = 50256 + lane;
      const Vec<bf16, 1> in_1 = fetch<1>(p1 + ((i_1 * 50304) + at_2));
      #pragma unroll
      for (int v = 0; v < 1; v++) {
        partial_1[v] = maximum(partial_1[v], widen(in_1.e[v]));
        partial_2[v] = partial_2[v] + (((at_2 + v) == l_1) ? widen(in_1.e[v]) : 0.0f);
      }
    }
    #pragma unroll
    for (int v = 1; v < 8; v++) partial_1[0] = maximum(partial_1[0], partial_1[v]);
    partial_1[0] = maximum_of_warp<32>(partial_1[0], 0xffffffffu);
    #pragma unroll
    for (int v = 1; v < 8; v++) partial_2[0] = partial_2[0] + partial_2[v];
    partial_2[0] = sum_of_warp<32>(partial_2[0], 0xffffffffu);
    if (threadIdx.x % 32 == 0) slots[turn][0][threadIdx.x / 32] = partial_1[0];
    if (threadIdx.x % 32 == 0) slots[turn][1][threadIdx.x / 32] = partial_2[0];
    __syncthreads();
    partial_1[0] = maximum_of_slots<32>(slots[turn][0]);
    partial_2[0] = sum_of_slots<32>(slots[turn][1]);
    turn ^= 1;
    m_1 = maximum(m_1, partial_1[0]);
    p_1 = p_1 + partial_2[0];
  }
  float s_1 = 0.0f;
  {
    float partial_3[8];
    #pragma unroll
    for (int v = 0; v < 8; v++) partial_3[v] = 0.0f;
    #pragma unroll
    for (int sweep = 0; sweep < 7; sweep++) {
      const int at_3 = (lane * 8) + sweep * 8192;
      if (at_3 < 50256) {
        #pragma unroll
        for (int v = 0; v < 8; v++) {
          partial_3[v] = partial_3[v] + expf((widen(kept_1[sweep].e[v]) - m_1));
        }
      }
    }
    if (lane < 1) {
      const int at_4 = 50256 + lane;
      const Vec<bf16, 1> in_2 = fetch<1>(p1 + ((i_1 * 50304) + at_4));
      #pragma unroll
      for (int v = 0; v < 1; v++) {
        partial_3[v] = partial_3[v] + expf((widen(in_2.e[v]) - m_1));
      }
    }
    #pragma unroll
    for (int v = 1; v < 8; v++) partial_3[0] = partial_3[0] + partial_3[v];
    partial_3[0] = sum_of_warp<32>(partial_3[0], 0xffffffffu);
    if (threadIdx.x % 32 == 0) slots[turn][0][threadIdx.x / 32] = partial_3[0];
    __syncthreads();
    partial_3[0] = sum_of_slots<32>(slots[turn][0]);
    turn ^= 1;
    s_1 = s_1 + partial_3[0];
  }
  if (first) p2[i_1] = ((logf(s_1) + m_1) - p_1);
  {
    #pragma unroll
    for (int sweep = 0; sweep < 7; sweep++) {
      const int at_5 = (lane * 8) + sweep * 8192;
      if (at_5 < 50256) {
        Vec<bf16, 8> out_1;
        #pragma unroll
        for (int v = 0; v < 8; v++) {
          out_1.e[v] = narrow<bf16>(((expf((widen(kept_1[sweep].e[v]) - m_1)) / s_1) - (((at_5 + v) == l_1) ? 1.0f : 0.0f)));
        }
        store(p3 + ((i_1 * 50304) + at_5), out_1);
      }
    }
    if (lane < 1) {
      const int at_6 = 50256 + lane;
      const Vec<bf16, 1> in_3 = fetch<1>(p1 + ((i_1 * 50304) + at_6));
      Vec<bf16, 1> out_2;
      #pragma unroll
      for (int v = 0; v < 1; v++) {
        out_2.e[v] = narrow<bf16>(((expf((widen(in_3.e[v]) - m_1)) / s_1) - (((at_6 + v) == l_1) ? 1.0f : 0.0f)));
      }
      store(p3 + ((i_1 * 50304) + at_6), out_2);
    }
  }
}
