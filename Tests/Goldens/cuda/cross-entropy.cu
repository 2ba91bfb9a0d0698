// 512 blocks of 512 threads, 512 a row
extern "C" __global__ void __launch_bounds__(512, 2) fused(const int* __restrict__ p0, const float* __restrict__ p1, float* __restrict__ p2, float* __restrict__ p3) {
  __shared__ float slots[2][2][16];
  int turn = 0;
  const int lane = threadIdx.x;
  const bool first = lane == 0;
  int row = (int)(blockIdx.x);
  const int i_1 = row;
  const int l_1 = p0[i_1];
  float m_1 = -infinity();
  float p_1 = 0.0f;
  {
    float partial_1[1];
    #pragma unroll
    for (int v = 0; v < 1; v++) partial_1[v] = -infinity();
    float partial_2[1];
    #pragma unroll
    for (int v = 0; v < 1; v++) partial_2[v] = 0.0f;
    #pragma unroll 4
    for (int at_1 = (lane * 1); at_1 < 50257; at_1 += 512) {
      const Vec<float, 1> in_1 = fetch<1>(p1 + ((i_1 * 50257) + at_1));
      #pragma unroll
      for (int v = 0; v < 1; v++) {
        partial_1[v] = maximum(partial_1[v], in_1.e[v]);
        partial_2[v] = partial_2[v] + (((at_1 + v) == l_1) ? in_1.e[v] : 0.0f);
      }
    }
    #pragma unroll
    for (int v = 1; v < 1; v++) partial_1[0] = maximum(partial_1[0], partial_1[v]);
    partial_1[0] = maximum_of_warp<32>(partial_1[0], 0xffffffffu);
    #pragma unroll
    for (int v = 1; v < 1; v++) partial_2[0] = partial_2[0] + partial_2[v];
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
    float partial_3[1];
    #pragma unroll
    for (int v = 0; v < 1; v++) partial_3[v] = 0.0f;
    #pragma unroll 4
    for (int at_2 = (lane * 1); at_2 < 50257; at_2 += 512) {
      const Vec<float, 1> in_2 = fetch<1>(p1 + ((i_1 * 50257) + at_2));
      #pragma unroll
      for (int v = 0; v < 1; v++) {
        partial_3[v] = partial_3[v] + exponential((in_2.e[v] - m_1));
      }
    }
    #pragma unroll
    for (int v = 1; v < 1; v++) partial_3[0] = partial_3[0] + partial_3[v];
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
    for (int at_3 = (lane * 1); at_3 < 50257; at_3 += 512) {
      const Vec<float, 1> in_3 = fetch<1>(p1 + ((i_1 * 50257) + at_3));
      Vec<float, 1> out_1;
      #pragma unroll
      for (int v = 0; v < 1; v++) {
        out_1.e[v] = ((exponential((in_3.e[v] - m_1)) / s_1) - (((at_3 + v) == l_1) ? 1.0f : 0.0f));
      }
      store(p3 + ((i_1 * 50257) + at_3), out_1);
    }
  }
}
