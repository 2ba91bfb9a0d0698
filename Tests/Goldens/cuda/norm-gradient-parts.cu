// 32 blocks of 256 threads, 256 a row
extern "C" __global__ void __launch_bounds__(256) fused(float* __restrict__ p0, const float* __restrict__ p1) {
  const int lane = threadIdx.x;
  const bool first = lane == 0;
  int row = (int)(blockIdx.x);
  const int part_1 = row;
  {
    #pragma unroll
    for (int sweep = 0; sweep < 1; sweep++) {
      const int at_1 = (lane * 4) + sweep * 1024;
      if (at_1 < 768) {
        Vec<float, 4> out_1;
        #pragma unroll
        for (int v = 0; v < 4; v++) {
          out_1.e[v] = 0.0f;
        }
        store(p0 + ((part_1 * 768) + at_1), out_1);
      }
    }
  }
  for (int piece_1 = 0; piece_1 < 16; piece_1++) {
    {
      #pragma unroll
      for (int sweep = 0; sweep < 1; sweep++) {
        const int at_2 = (lane * 4) + sweep * 1024;
        if (at_2 < 768) {
          const Vec<float, 4> in_1 = fetch<4>(p0 + ((part_1 * 768) + at_2));
          const Vec<float, 4> in_2 = fetch<4>(p1 + ((at_2 + (part_1 * 12288)) + (piece_1 * 768)));
          Vec<float, 4> out_2;
          #pragma unroll
          for (int v = 0; v < 4; v++) {
            out_2.e[v] = (in_1.e[v] + in_2.e[v]);
          }
          store(p0 + ((part_1 * 768) + at_2), out_2);
        }
      }
    }
  }
}
