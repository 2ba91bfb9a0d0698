// 32 blocks of 192 threads, 192 a row
extern "C" __global__ void __launch_bounds__(192) fused(float* __restrict__ p0, const float* __restrict__ p1) {
  const int lane = threadIdx.x;
  const bool first = lane == 0;
  int row = (int)(blockIdx.x);
  const int part_1 = row;
  Vec<float, 4> carried_1[1];
  #pragma unroll
  for (int sweep = 0; sweep < 1; sweep++) {
    const int at_1 = (lane * 4) + sweep * 768;
    for (int v = 0; v < 4; v++) carried_1[sweep].e[v] = 0.0f;
  }
  #pragma unroll 8
  for (int piece_1 = 0; piece_1 < 2; piece_1++) {
    {
      #pragma unroll
      for (int sweep = 0; sweep < 1; sweep++) {
        const int at_2 = (lane * 4) + sweep * 768;
        const Vec<float, 4> in_1 = fetch<4>(p1 + ((at_2 + (part_1 * 1536)) + (piece_1 * 768)));
        #pragma unroll
        for (int v = 0; v < 4; v++) {
          carried_1[sweep].e[v] = (carried_1[sweep].e[v] + in_1.e[v]);
        }
      }
    }
  }
  #pragma unroll
  for (int sweep = 0; sweep < 1; sweep++) {
    const int at_3 = (lane * 4) + sweep * 768;
    store(p0 + ((part_1 * 768) + at_3), carried_1[sweep]);
  }
}
