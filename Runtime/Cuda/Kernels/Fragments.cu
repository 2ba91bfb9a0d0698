// What the kernels on tensor cores share: pairs of 16-bit elements, the fragments they make, and the quads of lanes that
// hold a row of one. Stands after the prelude; Element is the 16-bit type, ELEMENT its name in PTX.

typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;

#define DEVICE __device__ __forceinline__

constexpr float Log2E = 1.4426950408889634f, Ln2 = 0.6931471805599453f;

DEVICE int lane_index() { return threadIdx.x & 31; }

/// Shared memory as a 32-bit number.
DEVICE u32 shared_address(const void* pointer)
{
    u64 address;
    asm("cvta.to.shared.u64 %0, %1;" : "=l"(address) : "l"(pointer));
    return (u32)address;
}

/// 2^x.
DEVICE float exp2_fast(float x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

DEVICE float log2_fast(float x)
{
    float y;
    asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

/// Two floats rounded to the 16-bit type, the first in the low half.
DEVICE u32 pack(float low, float high)
{
    u32 pair;
    asm("cvt.rn." ELEMENT "x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    return pair;
}

DEVICE float low_float(u32 pair) { return widen(Element{(unsigned short)pair}); }

DEVICE float high_float(u32 pair) { return widen(Element{(unsigned short)(pair >> 16)}); }

/// The maximum of each quad of lanes: four lanes share a row of a tensor core's accumulator.
DEVICE float quad_max(float x)
{
    x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 1));
    return fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 2));
}

DEVICE float quad_sum(float x)
{
    x += __shfl_xor_sync(0xffffffffu, x, 1);
    return x + __shfl_xor_sync(0xffffffffu, x, 2);
}

/// Transposes the 4×4 matrix whose row i lies in lane i of each quad.
DEVICE uint4 quad_transpose(u32 a, u32 b, u32 c, u32 d)
{
    bool odd = lane_index() & 1, upper = lane_index() & 2;
    u32 ab = __shfl_xor_sync(0xffffffffu, odd ? a : b, 1), cd = __shfl_xor_sync(0xffffffffu, odd ? c : d, 1);
    (odd ? a : b) = ab;
    (odd ? c : d) = cd;
    u32 ac = __shfl_xor_sync(0xffffffffu, upper ? a : c, 2), bd = __shfl_xor_sync(0xffffffffu, upper ? b : d, 2);
    (upper ? a : c) = ac;
    (upper ? b : d) = bd;
    return make_uint4(a, b, c, d);
}

/// Stores eight elements of 16 bits, or as many as are inside.
template <class E> DEVICE void store_eight(E* at, uint4 eight, int inside)
{
    if (inside >= 8)
        *(uint4*)at = eight;
    else
    {
        u32 pairs[4] = {eight.x, eight.y, eight.z, eight.w};
#pragma unroll
        for (int i = 0; i < 7; i++)
            if (i < inside)
                at[i].bits = (unsigned short)(pairs[i / 2] >> i % 2 * 16);
    }
}

/// Four 8×8 matrices, transposed, as right operands have them: each lane has the address of a row, eight lanes those of a matrix.
DEVICE void load_transposed(u32 (&pairs)[4], u32 address)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(pairs[0]), "=r"(pairs[1]), "=r"(pairs[2]), "=r"(pairs[3]) : "r"(address) : "memory");
}

/// sums += a · b, by the tensor cores of one warp: 16 rows, 8 columns, 16 deep.
DEVICE void multiply_fragment(float (&sums)[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1)
{
    asm("mma.sync.aligned.m16n8k16.row.col.f32." ELEMENT "." ELEMENT ".f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3]) : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

/// Column of the element i of a fragment's or a product's sums, but for the quad's lane, and its row, 8 further down for every
/// second pair.
DEVICE constexpr int accumulator_column(int i) { return i / 4 * 8 + (i & 1); }

DEVICE constexpr int accumulator_row(int i) { return (i & 2) * 4; }
