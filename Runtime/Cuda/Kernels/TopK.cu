// The K largest of each row of a matrix, largest first, ties to the lower index: a warp a row. Round r looks for the
// largest of all that come after round r - 1's in that order.

extern "C" __global__ void __launch_bounds__(128) top_k(
    const Input* input, Value* values, int* indices, const long long rows, const long long width, const long long k) {
  const long long row = (long long)blockIdx.x * 4 + threadIdx.x / 32;
  const int lane = threadIdx.x % 32;
  if (row >= rows) return;
  const Input* elements = input + row * width;
  float last = infinity();
  int at = -1;
  for (int round = 0; round < k; round++) {
    float best = -infinity();
    int where = 0x7fffffff;
    for (int i = lane; i < width; i += 32) {
      const float x = widen(elements[i]);
      const bool isAfter = x < last || (x == last && i > at);
      if (isAfter && (x > best || where == 0x7fffffff)) {
        best = x;
        where = i;
      }
    }
    for (int o = 16; o > 0; o /= 2) {
      const float x = __shfl_xor_sync(0xffffffffu, best, o);
      const int i = __shfl_xor_sync(0xffffffffu, where, o);
      if (i != 0x7fffffff && (where == 0x7fffffff || x > best || (x == best && i < where))) {
        best = x;
        where = i;
      }
    }
    last = best;
    at = where;
    if (lane == 0) {
      values[row * k + round] = narrow<Value>(best);
      indices[row * k + round] = where;
    }
  }
}
