// 512 blocks of 512 threads, 512 a row
extern "C" __global__ void __launch_bounds__(512, 2) fused(const int* __restrict__ p0, const bf16* __restrict__ p1, float* __restrict__ p2, bf16* __restrict__ p3) {
  extern __shared__ __align__(16) unsigned char shared[];
  __shared__ float slots[2][2][16];
  int turn = 0;
  const int lane = threadIdx.x;
  const bool first = lane == 0;
  int row = (int)(blockIdx.x);
  const int i_1 = row;
  const int l_1 = p0[i_1];
  float m_1 = -infinity();
  float p_1 = 0.0f;
  Vec<bf16, 8>* const kept_1 = reinterpret_cast<Vec<bf16, 8>*>(shared + 0);
  {
    float partial_1[8];
    #pragma unroll
    for (int v = 0; v < 8; v++) partial_1[v] = -infinity();
    float partial_2[8];
    #pragma unroll
    for (int v = 0; v < 8; v++) partial_2[v] = 0.0f;
    #pragma unroll 4
    for (int at_1 = (lane * 8), sweep = 0; at_1 < 50256; at_1 += 4096, sweep++) {
      const Vec<bf16, 8> in_1 = fetch<8>(p1 + ((i_1 * 50304) + at_1));
      kept_1[sweep * 512 + lane] = in_1;
      #pragma unroll
      for (int v = 0; v < 8; v++) {
        partial_1[v] = maximum(partial_1[v], widen(in_1.e[v]));
        partial_2[v] = partial_2[v] + (((at_1 + v) == l_1) ? widen(in_1.e[v]) : 0.0f);
      }
    }
    if (lane < 1) {
      const int at_2 = 50256 + lane;
      const Vec<bf16, 1> in_2 = fetch<1>(p1 + ((i_1 * 50304) + at_2));
      #pragma unroll
      for (int v = 0; v < 1; v++) {
        partial_1[v] = maximum(partial_1[v], widen(in_2.e[v]));
        partial_2[v] = partial_2[v] + (((at_2 + v) == l_1) ? widen(in_2.e[v]) : 0.0f);
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
    partial_1[0] = maximum_of_slots<16>(slots[turn][0]);
    partial_2[0] = sum_of_slots<16>(slots[turn][1]);
    turn ^= 1;
    m_1 = maximum(m_1, partial_1[0]);
    p_1 = p_1 + partial_2[0];
  }
  float s_1 = 0.0f;
  {
    float partial_3[8];
    #pragma unroll
    for (int v = 0; v < 8; v++) partial_3[v] = 0.0f;
    #pragma unroll 4
    for (int at_3 = (lane * 8), sweep = 0; at_3 < 50256; at_3 += 4096, sweep++) {
      const Vec<bf16, 8> in_3 = kept_1[sweep * 512 + lane];
      #pragma unroll
      for (int v = 0; v < 8; v++) {
        partial_3[v] = partial_3[v] + exponential((widen(in_3.e[v]) - m_1));
      }
    }
    if (lane < 1) {
      const int at_4 = 50256 + lane;
      const Vec<bf16, 1> in_4 = fetch<1>(p1 + ((i_1 * 50304) + at_4));
      #pragma unroll
      for (int v = 0; v < 1; v++) {
        partial_3[v] = partial_3[v] + exponential((widen(in_4.e[v]) - m_1));
      }
    }
    #pragma unroll
    for (int v = 1; v < 8; v++) partial_3[0] = partial_3[0] + partial_3[v];
    partial_3[0] = sum_of_warp<32>(partial_3[0], 0xffffffffu);
    if (threadIdx.x % 32 == 0) slots[turn][0][threadIdx.x / 32] = partial_3[0];
    __syncthreads();
    partial_3[0] = sum_of_slots<16>(slots[turn][0]);
    turn ^= 1;
    s_1 = s_1 + partial_3[0];
  }
  if (first) p2[i_1] = ((logf(s_1) + m_1) - p_1);
  {
    #pragma unroll 4
    for (int at_5 = (lane * 8), sweep = 0; at_5 < 50256; at_5 += 4096, sweep++) {
      const Vec<bf16, 8> in_5 = kept_1[sweep * 512 + lane];
      Vec<bf16, 8> out_1;
      #pragma unroll
      for (int v = 0; v < 8; v++) {
        out_1.e[v] = narrow<bf16>(((exponential((widen(in_5.e[v]) - m_1)) / s_1) - (((at_5 + v) == l_1) ? 1.0f : 0.0f)));
      }
      store(p3 + ((i_1 * 50304) + at_5), out_1);
    }
    if (lane < 1) {
      const int at_6 = 50256 + lane;
      const Vec<bf16, 1> in_6 = fetch<1>(p1 + ((i_1 * 50304) + at_6));
      Vec<bf16, 1> out_2;
      #pragma unroll
      for (int v = 0; v < 1; v++) {
        out_2.e[v] = narrow<bf16>(((exponential((widen(in_6.e[v]) - m_1)) / s_1) - (((at_6 + v) == l_1) ? 1.0f : 0.0f)));
      }
      store(p3 + ((i_1 * 50304) + at_6), out_2);
    }
  }
}
