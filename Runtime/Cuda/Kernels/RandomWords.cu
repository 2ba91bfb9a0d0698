// Words whose halves, and which themselves, are random numbers of every floating type: sign and mantissa by a hash of the place
// (Wellons 2018, lowbias32), one exponent.

extern "C" __global__ void __launch_bounds__(256) random_words(unsigned* words, const long long count) {
  const long long i = blockIdx.x * 256ll + threadIdx.x;
  if (i >= count) return;
  unsigned x = (unsigned)i;
  x = (x ^ x >> 16) * 0x7feb352du;
  x = (x ^ x >> 15) * 0x846ca68bu;
  words[i] = 0x3f003f00u | ((x ^ x >> 16) & 0x807f807fu);
}
