// 1024 blocks of 256 threads, 256 a row
extern "C" __global__ void __launch_bounds__(256) fused(const float* __restrict__ p0, const float* __restrict__ p1, float* __restrict__ p2, float* __restrict__ p3, float* __restrict__ p4, const long long chunks) {
  const int lane = threadIdx.x;
  const int chunk = blockIdx.x;
  const bool first = lane == 0 && chunk == 0;
  const float clip_1 = minimum(1.0f, (1.0f / p0[0]));
  {
    #pragma unroll
    for (int sweep = 0; sweep < 1; sweep++) {
      const int at_1 = (((int)chunk * 256 + lane) * 4) + sweep * 1024;
      const Vec<float, 4> in_1 = fetch<4>(p1 + at_1);
      const Vec<float, 4> in_2 = fetch<4>(p3 + at_1);
      const Vec<float, 4> in_3 = fetch<4>(p4 + at_1);
      const Vec<float, 4> in_4 = fetch<4>(p2 + at_1);
      Vec<float, 4> out_1;
      Vec<float, 4> out_2;
      Vec<float, 4> out_3;
      #pragma unroll
      for (int v = 0; v < 4; v++) {
        const float d_1 = (in_1.e[v] * clip_1);
        const float m1_1 = ((0.9f * in_2.e[v]) + (0.1f * d_1));
        const float v1_1 = ((0.95f * in_3.e[v]) + (0.05f * (d_1 * d_1)));
        out_1.e[v] = (in_4.e[v] - (0.001f * (m1_1 / (sqrtf(v1_1) + 1E-08f))));
        out_2.e[v] = m1_1;
        out_3.e[v] = v1_1;
      }
      store(p2 + at_1, out_1);
      store(p3 + at_1, out_2);
      store(p4 + at_1, out_3);
    }
  }
}
