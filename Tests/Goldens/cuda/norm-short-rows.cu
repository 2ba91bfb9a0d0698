// 32 blocks of 256 threads, 16 a row
extern "C" __global__ void __launch_bounds__(256) fused(const float* __restrict__ p0, const float* __restrict__ p1, float* __restrict__ p2) {
  const int lane = threadIdx.x % 16;
  const unsigned mask = 65535u << (threadIdx.x % 32 / 16 * 16);
  const bool first = lane == 0;
  int row = (int)(blockIdx.x) * 16 + threadIdx.x / 16;
  if (row >= 512) return;
  const int i_1 = row;
  float s_1 = 0.0f;
  Vec<float, 4> kept_1[1];
  {
    float partial_1[4];
    #pragma unroll
    for (int v = 0; v < 4; v++) partial_1[v] = 0.0f;
    #pragma unroll
    for (int sweep = 0; sweep < 1; sweep++) {
      const int at_1 = (lane * 4) + sweep * 64;
      kept_1[sweep] = fetch<4>(p0 + ((i_1 * 64) + at_1));
      #pragma unroll
      for (int v = 0; v < 4; v++) {
        partial_1[v] = partial_1[v] + (kept_1[sweep].e[v] * kept_1[sweep].e[v]);
      }
    }
    #pragma unroll
    for (int v = 1; v < 4; v++) partial_1[0] = partial_1[0] + partial_1[v];
    partial_1[0] = sum_of_warp<16>(partial_1[0], mask);
    s_1 = s_1 + partial_1[0];
  }
  const float r_1 = rsqrtf(((s_1 * 0.015625f) + 1E-05f));
  {
    #pragma unroll
    for (int sweep = 0; sweep < 1; sweep++) {
      const int at_2 = (lane * 4) + sweep * 64;
      const Vec<float, 4> in_1 = kept_1[sweep];
      const Vec<float, 4> in_2 = fetch<4>(p1 + at_2);
      Vec<float, 4> out_1;
      #pragma unroll
      for (int v = 0; v < 4; v++) {
        out_1.e[v] = ((in_1.e[v] * r_1) * in_2.e[v]);
      }
      store(p2 + ((i_1 * 64) + at_2), out_1);
    }
  }
}
