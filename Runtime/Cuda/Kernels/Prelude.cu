// What generated kernels are written with. No headers: the compiler's own names and these.

struct bf16 { unsigned short bits; };
struct f16 { unsigned short bits; };

__device__ __forceinline__ float infinity() { return __int_as_float(0x7f800000); }
__device__ __forceinline__ float not_a_number() { return __int_as_float(0x7fffffff); }
__device__ __forceinline__ bool is_finite(float x) { return (__float_as_int(x) & 0x7f800000) != 0x7f800000; }

__device__ __forceinline__ float maximum(float x, float y) { float z; asm("max.NaN.f32 %0, %1, %2;" : "=f"(z) : "f"(x), "f"(y)); return z; }
__device__ __forceinline__ float minimum(float x, float y) { float z; asm("min.NaN.f32 %0, %1, %2;" : "=f"(z) : "f"(x), "f"(y)); return z; }

// e^x in two instructions, right to 2^-22 + |x|·2^-24 of itself.
__device__ __forceinline__ float exponential(float x) { float y; asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x * 1.44269504f)); return y; }

// tanh x without a branch: by e^(-2|x|), and by its series where that would cancel.
__device__ __forceinline__ float hyperbolic_tangent(float x) {
  const float t = exponential(-2.0f * fabsf(x)), s = x * x;
  float inverse;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(inverse) : "f"(1.0f + t));
  const float near = x + x * s * (-0.333333333f + s * (0.133333333f + s * (-0.0539682540f + s * 0.0218694885f)));
  return fabsf(x) < 0.3f ? near : copysignf((1.0f - t) * inverse, x);
}

__device__ __forceinline__ float widen(float x) { return x; }
__device__ __forceinline__ float widen(bf16 x) { return __int_as_float((int)x.bits << 16); }
__device__ __forceinline__ float widen(f16 x) { float y; asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits)); return y; }

template <typename T> __device__ __forceinline__ T narrow(float x);
template <> __device__ __forceinline__ float narrow<float>(float x) { return x; }
template <> __device__ __forceinline__ bf16 narrow<bf16>(float x) { bf16 y; asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y.bits) : "f"(x)); return y; }
template <> __device__ __forceinline__ f16 narrow<f16>(float x) { f16 y; asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y.bits) : "f"(x)); return y; }

template <typename T> __device__ __forceinline__ T lesser(T x, T y) { return x < y ? x : y; }
template <typename T> __device__ __forceinline__ T greater(T x, T y) { return x > y ? x : y; }
template <typename T> __device__ __forceinline__ T floor_remainder(T x, T y) { const T r = x % y; return r < 0 ? r + y : r; }
template <typename T> __device__ __forceinline__ T floor_quotient(T x, T y) { return (x - floor_remainder(x, y)) / y; }

// Neighbouring elements, moved 16 bytes at a time where they are that many.
template <typename T, int N> struct alignas(sizeof(T) * N < 16 ? sizeof(T) * N : 16) Vec { T e[N]; };

template <int N, typename T> __device__ __forceinline__ Vec<T, N> fetch(const T* from) { return *reinterpret_cast<const Vec<T, N>*>(from); }
template <int N, typename T> __device__ __forceinline__ void store(T* to, const Vec<T, N>& value) { *reinterpret_cast<Vec<T, N>*>(to) = value; }

// Brings what is read soon into the second-level cache.
__device__ __forceinline__ void prefetch(const void* from) { asm volatile("prefetch.global.L2 [%0];" :: "l"(from)); }

// The lanes of a group of N, all of which get the result.
template <int N> __device__ __forceinline__ float sum_of_warp(float x, unsigned mask) {
#pragma unroll
  for (int o = N / 2; o > 0; o /= 2) x = x + __shfl_xor_sync(mask, x, o);
  return x;
}
template <int N> __device__ __forceinline__ float maximum_of_warp(float x, unsigned mask) {
#pragma unroll
  for (int o = N / 2; o > 0; o /= 2) x = maximum(x, __shfl_xor_sync(mask, x, o));
  return x;
}
template <int N> __device__ __forceinline__ float sum_of_slots(const float* slots) {
  float x = slots[0];
#pragma unroll
  for (int i = 1; i < N; i++) x = x + slots[i];
  return x;
}
template <int N> __device__ __forceinline__ float maximum_of_slots(const float* slots) {
  float x = slots[0];
#pragma unroll
  for (int i = 1; i < N; i++) x = maximum(x, slots[i]);
  return x;
}

// Philox 2x32-10 (Salmon et al. 2011): the first word of a block.
__device__ __forceinline__ unsigned random_word(unsigned key, unsigned long long counter) {
  unsigned left = (unsigned)counter, right = (unsigned)(counter >> 32);
#pragma unroll
  for (int round = 0; round < 10; round++) {
    const unsigned high = __umulhi(0xD256D193u, left), low = 0xD256D193u * left;
    left = high ^ key ^ right;
    right = low;
    key += 0x9E3779B9u;
  }
  return left;
}

// A uniform number in [0, 1).
__device__ __forceinline__ float uniform(unsigned key, unsigned long long counter) {
  return (float)(random_word(key, counter) >> 8) * 5.9604644775390625e-08f;
}

// Where the launch allows it, the next kernel may start while this one runs, and this one may have started before those
// ahead of it have ended: what they write is there after await_inputs. Its result is 0: an address that it is added to is
// not read before.
__device__ __forceinline__ void let_next_start() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;");
#endif
}
__device__ __forceinline__ int await_inputs() {
  int zero = 0;
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;\n\tmov.u32 %0, 0;" : "=r"(zero) : : "memory");
#endif
  return zero;
}
