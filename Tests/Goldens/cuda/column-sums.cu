// 64 blocks of 192 threads, 192 a row
extern "C" __global__ void __launch_bounds__(192) fused(const bf16* __restrict__ p0, float* __restrict__ p1, const long long chunks) {
  const int lane = threadIdx.x;
  const int chunk = blockIdx.x % (unsigned)chunks;
  const bool first = lane == 0 && chunk == 0;
  int row = (int)(blockIdx.x / (unsigned)chunks);
  const int part_1 = row;
  const int chunk_1 = (543 / 32);
  Vec<float, 8> carried_1[1];
  #pragma unroll
  for (int sweep = 0; sweep < 1; sweep++) {
    const int at_1 = (((int)chunk * 192 + lane) * 8) + sweep * 1536;
    for (int v = 0; v < 8; v++) carried_1[sweep].e[v] = 0.0f;
  }
  #pragma unroll 8
  for (int row_1 = (part_1 * chunk_1); row_1 < lesser<int>(((part_1 * chunk_1) + chunk_1), 512); row_1++) {
    {
      #pragma unroll
      for (int sweep = 0; sweep < 1; sweep++) {
        const int at_2 = (((int)chunk * 192 + lane) * 8) + sweep * 1536;
        const Vec<bf16, 8> in_1 = fetch<8>(p0 + ((row_1 * 3072) + at_2));
        #pragma unroll
        for (int v = 0; v < 8; v++) {
          carried_1[sweep].e[v] = (carried_1[sweep].e[v] + widen(in_1.e[v]));
        }
      }
    }
  }
  #pragma unroll
  for (int sweep = 0; sweep < 1; sweep++) {
    const int at_3 = (((int)chunk * 192 + lane) * 8) + sweep * 1536;
    store(p1 + ((part_1 * 3072) + at_3), carried_1[sweep]);
  }
}
