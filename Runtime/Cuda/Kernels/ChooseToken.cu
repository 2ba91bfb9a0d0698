// A token a row from its logits: the largest, or a drawn one. A block a row. What candidate a number falls on, in the order of
// (distance, token), is found digit by digit: of the first digit there are sums over all candidates, of the next ones over
// those that share the digits before. Weights are whole numbers, so that no sum depends on its order.
// The compiler's constants before: POINT, LARGEST, NEVER, as the weights have them; NONE: no token.

typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;

#define DEVICE __device__ __forceinline__

constexpr int Threads = 1024, Warps = Threads / 32, DigitBits = 10, Digits = 1 << DigitBits, KeyBits = 64;

struct Row
{
    const float* logits;
    u32* listed;
    i64 width;
    float largest, temperature;

    DEVICE u32 distance(u32 token) const
    {
        float powers = __fmul_rn(__fdiv_rn(__fsub_rn(largest, logits[token]), temperature), 1.44269504f);
        return powers < LARGEST ? (u32)__fmul_rn(powers, 1 << POINT) : NEVER;
    }

    /// What candidates are ordered by.
    DEVICE u64 key(u32 token) const { return (u64)distance(token) << 32 | token; }
};

DEVICE u64 weight(u32 distance)
{
    float x = __fsub_rn(0.5f, __fmul_rn((float)(distance & (1u << POINT) - 1), 1.0f / (1 << POINT))), y = 1.535336188e-4f;
    y = __fmaf_rn(y, x, 1.339887440e-3f);
    y = __fmaf_rn(y, x, 9.618437357e-3f);
    y = __fmaf_rn(y, x, 5.550332471e-2f);
    y = __fmaf_rn(y, x, 2.402264791e-1f);
    y = __fmaf_rn(y, x, 6.931472028e-1f);
    y = __fmaf_rn(y, x, 1.0f);
    return (u64)(u32)__fmul_rn(__fmul_rn(y, 0.70710678f), 1 << 24) << LARGEST - 24 >> (distance >> POINT);
}

/// The part of a sum that a fixed-point number of 32 bits, all behind the point, is.
DEVICE u64 part(u64 sum, u32 share) { return __umul64hi(sum, (u64)share << 32); }

/// Numbers that order as the floats do; both zeros have one.
DEVICE u32 ordered(float x)
{
    u32 bits = __float_as_uint(__fadd_rn(x, 0.0f));
    return bits >> 31 ? ~bits : bits | 1u << 31;
}

DEVICE u64 larger(u64 x, u64 y) { return x > y ? x : y; }

/// How many candidates there are, and what they weigh together.
struct Sum
{
    u64 count, weight;

    DEVICE Sum operator+(const Sum& other) const { return {count + other.count, weight + other.weight}; }

    DEVICE u64 of(bool counts) const { return counts ? count : weight; }
};

DEVICE Sum shuffled_up(const Sum& x, int distance)
{
    return {__shfl_up_sync(0xffffffffu, x.count, distance), __shfl_up_sync(0xffffffffu, x.weight, distance)};
}

/// Sums of the candidates that have each digit.
struct Bins
{
    u32 counts[Digits];
    u64 weights[Digits];

    DEVICE void clear()
    {
        counts[threadIdx.x] = 0;
        weights[threadIdx.x] = 0;
        __syncthreads();
    }

    DEVICE void add(u32 digit, u32 distance)
    {
        atomicAdd(&counts[digit], 1);
        atomicAdd(&weights[digit], weight(distance));
    }
};

/// A digit, what is before it in the order, and what has it.
struct Found
{
    u32 digit;
    Sum before, here;
};

/// The digit on which the target falls. All threads.
DEVICE Found find(const Bins& bins, bool counts, u64 target, const Sum& before)
{
    __shared__ Sum warps[Warps];
    __shared__ Found found;
    int lane = threadIdx.x & 31, warp = threadIdx.x / 32;
    Sum here = {bins.counts[threadIdx.x], bins.weights[threadIdx.x]}, through = here;
#pragma unroll
    for (int distance = 1; distance < 32; distance *= 2)
    {
        Sum other = shuffled_up(through, distance);
        if (lane >= distance)
            through = through + other;
    }
    if (lane == 31)
        warps[warp] = through;
    __syncthreads();
    Sum start = before;
    for (int w = 0; w < warp; w++)
        start = start + warps[w];
    through = start + through;
    if (through.of(counts) > target && through.of(counts) - here.of(counts) <= target)
        found = {threadIdx.x, {through.count - here.count, through.weight - here.weight}, here};
    __syncthreads();
    Found result = found;
    __syncthreads();
    return result;
}

struct Candidate
{
    u32 token;
    /// Weights up to it, with its own.
    u64 through;
};

/// The first candidate with which the count or the weights exceed the target. All threads.
DEVICE Candidate descend(const Row& row, const Bins& first, Bins& next, bool counts, u64 target)
{
    __shared__ u32 listed, token;
    if (threadIdx.x == 0)
        listed = 0;
    Found found = find(first, counts, target, {0, 0});
    u64 digits = found.digit;
    int shift = KeyBits - DigitBits;
    for (i64 i = threadIdx.x; i < row.width; i += Threads)
        if (row.key(i) >> shift == digits)
            row.listed[atomicAdd(&listed, 1)] = i;
    __syncthreads();
    while (found.here.count > 1)
    {
        int bits = shift < DigitBits ? shift : DigitBits;
        next.clear();
        for (u32 i = threadIdx.x; i < listed; i += Threads)
        {
            u64 key = row.key(row.listed[i]);
            if (key >> shift == digits)
                next.add((u32)(key >> shift - bits) & (1u << bits) - 1, (u32)(key >> 32));
        }
        __syncthreads();
        found = find(next, counts, target, found.before);
        digits = digits << bits | found.digit;
        shift -= bits;
    }
    for (u32 i = threadIdx.x; i < listed; i += Threads)
        if (row.key(row.listed[i]) >> shift == digits)
            token = row.listed[i];
    __syncthreads();
    Candidate result = {token, found.before.weight + found.here.weight};
    __syncthreads();
    return result;
}

extern "C" __global__ void __launch_bounds__(Threads) choose_token(
    const float* logits, const float* settings, const int* streams, const int* places, int* tokens, u32* listed, i64 width)
{
    __shared__ u64 best[Warps];
    __shared__ Bins first, next;
    int number = blockIdx.x, lane = threadIdx.x & 31;
    float temperature = settings[0], share = settings[2];
    u64 top = (u64)settings[1], most = 0;
    bool bad = false;
    Row row = {logits + number * width, listed + number * width, width, 0, temperature};
    for (i64 i = threadIdx.x; i < width; i += Threads)
    {
        float x = row.logits[i];
        bad |= x != x;
        most = larger(most, (u64)ordered(x) << 32 | ~(u32)i);
    }
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2)
        most = larger(most, __shfl_xor_sync(0xffffffffu, most, distance));
    if (lane == 0)
        best[threadIdx.x / 32] = most;
    bad = __syncthreads_or(bad);
    for (int w = 0; w < Warps; w++)
        most = larger(most, best[w]);
    int chosen = (int)~(u32)most;
    row.largest = row.logits[chosen];
    if (bad || !is_finite(row.largest))
        chosen = NONE;
    else if (temperature != 0 && top != 1)
    {
        first.clear();
        for (i64 i = threadIdx.x; i < width; i += Threads)
        {
            u32 distance = row.distance(i);
            if (distance != NEVER)
                first.add(distance >> 32 - DigitBits, distance);
        }
        __syncthreads();
        Sum all = {first.counts[threadIdx.x], first.weights[threadIdx.x]};
        __shared__ Sum sums[Warps];
#pragma unroll
        for (int distance = 16; distance > 0; distance /= 2)
            all = all + Sum{__shfl_xor_sync(0xffffffffu, all.count, distance), __shfl_xor_sync(0xffffffffu, all.weight, distance)};
        if (lane == 0)
            sums[threadIdx.x / 32] = all;
        __syncthreads();
        all = sums[0];
        for (int w = 1; w < Warps; w++)
            all = all + sums[w];
        u64 sum = all.weight;
        if (top > 0 && top < all.count)
            sum = descend(row, first, next, true, top - 1).through;
        if (share < 1)
        {
            u64 reached = part(sum, (u32)(share * 4294967296.0f));
            sum = descend(row, first, next, false, reached > 0 ? reached - 1 : 0).through;
        }
        u32 word = random_word(streams[2 * number], ((u64)(u32)streams[2 * number + 1] << 32) + (u32)places[number]);
        chosen = descend(row, first, next, false, part(sum, word)).token;
    }
    if (threadIdx.x == 0)
        tokens[number] = chosen;
}
