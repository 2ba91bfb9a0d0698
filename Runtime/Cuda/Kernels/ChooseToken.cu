// A token a row from its logits: the largest, or a drawn one. A row's candidates are shared out over BLOCKS blocks, a cluster, which
// read each other's shared memory. What candidate a number falls on, in the order of (distance, token), is found digit by digit:
// of the first digit there are sums over all candidates, of the next ones over those that share the digits before. Weights are
// whole numbers, so that no sum depends on its order, and all blocks find the same.
// The compiler's constants before: BLOCKS; POINT, LARGEST, NEVER, as the weights have them; NONE: no token.

typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;

#define DEVICE __device__ __forceinline__

constexpr int Threads = 1024, Warps = Threads / 32, DigitBits = 10, Digits = 1 << DigitBits, KeyBits = 64;

/// All threads of a row meet; each then sees what the others have written to shared memory.
DEVICE void meet()
{
#if BLOCKS > 1
    asm volatile("barrier.cluster.arrive.release;\n\tbarrier.cluster.wait.acquire;" ::: "memory");
#else
    __syncthreads();
#endif
}

/// What a block of the row has where this one has a variable of shared memory.
template <typename T> DEVICE T read(const T& mine, int block)
{
#if BLOCKS > 1
    u64 address;
    asm("mapa.u64 %0, %1, %2;" : "=l"(address) : "l"(&mine), "r"(block));
    return *(const volatile T*)address;
#else
    return mine;
#endif
}

/// Numbers that order as the floats do; both zeros have one.
DEVICE u32 ordered(float x)
{
    u32 bits = __float_as_uint(__fadd_rn(x, 0.0f));
    return bits >> 31 ? ~bits : bits | 1u << 31;
}

DEVICE float unordered(u32 number) { return __uint_as_float(number >> 31 ? number & ~(1u << 31) : ~number); }

DEVICE u64 larger(u64 x, u64 y) { return x > y ? x : y; }

/// A row as a block has it: its share of the candidates is those from `first` to `end`.
struct Row
{
    const float* logits;
    u32* listed;
    i64 first, end;
    float largest, temperature;

    DEVICE u32 distance(u32 token) const
    {
        float powers = __fmul_rn(__fdiv_rn(__fsub_rn(largest, logits[token]), temperature), 1.44269504f);
        return powers < LARGEST ? (u32)__fmul_rn(powers, 1 << POINT) : NEVER;
    }

    /// What candidates are ordered by.
    DEVICE u64 key(u32 token) const { return (u64)distance(token) << 32 | token; }

    /// Of the row's largest logit the ordered number and ~its token, the first of equals; all ones where a logit is NaN. All threads.
    DEVICE u64 best() const
    {
        constexpr int AtOnce = 8;
        __shared__ u64 warps[Warps], whole;
        u64 most = 0;
        for (i64 start = first + threadIdx.x; start < end; start += AtOnce * Threads)
        {
            float x[AtOnce];
#pragma unroll
            for (int i = 0; i < AtOnce; i++)
                x[i] = start + i * Threads < end ? logits[start + i * Threads] : -infinity();
#pragma unroll
            for (int i = 0; i < AtOnce; i++)
                most = larger(most, x[i] != x[i] ? ~0ull : (u64)ordered(x[i]) << 32 | ~(u32)(start + i * Threads));
        }
#pragma unroll
        for (int distance = 16; distance > 0; distance /= 2)
            most = larger(most, __shfl_xor_sync(0xffffffffu, most, distance));
        if (threadIdx.x % 32 == 0)
            warps[threadIdx.x / 32] = most;
        __syncthreads();
        if (threadIdx.x < 32)
        {
            most = warps[threadIdx.x];
#pragma unroll
            for (int distance = 16; distance > 0; distance /= 2)
                most = larger(most, __shfl_xor_sync(0xffffffffu, most, distance));
            whole = most;
        }
        meet();
        most = 0;
#pragma unroll
        for (int block = 0; block < BLOCKS; block++)
            most = larger(most, read(whole, block));
        return most;
    }
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

/// Sums of a block's candidates that have each digit.
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

    /// Of all blocks, once they have met.
    DEVICE Sum of(int digit) const
    {
        Sum sum = {0, 0};
#pragma unroll
        for (int block = 0; block < BLOCKS; block++)
            sum = sum + Sum{read(counts[digit], block), read(weights[digit], block)};
        return sum;
    }
};

/// A digit, what is before it in the order, and what has it.
struct Found
{
    u32 digit;
    Sum before, here;
};

/// The digit on which the target falls. All threads, after they have met; they meet again.
DEVICE Found find(const Bins& bins, bool counts, u64 target, const Sum& before)
{
    __shared__ Sum warps[Warps];
    __shared__ Found found;
    int lane = threadIdx.x & 31, warp = threadIdx.x / 32;
    Sum here = bins.of(threadIdx.x), through = here;
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
    meet();
    return result;
}

/// The first candidate with which the count or the weights exceed the target: the weights up to it, its own with them. All threads,
/// after they have met; they meet again.
/// @param token Is given its number, where there is a place for it.
DEVICE u64 descend(const Row& row, const Bins& first, Bins& next, bool counts, u64 target, int* token = nullptr)
{
    __shared__ u32 listed;
    if (threadIdx.x == 0)
        listed = 0;
    Found found = find(first, counts, target, {0, 0});
    u64 digits = found.digit;
    int shift = KeyBits - DigitBits;
    for (i64 i = row.first + threadIdx.x; i < row.end; i += Threads)
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
        meet();
        found = find(next, counts, target, found.before);
        digits = digits << bits | found.digit;
        shift -= bits;
    }
    if (token != nullptr)
        for (u32 i = threadIdx.x; i < listed; i += Threads)
            if (row.key(row.listed[i]) >> shift == digits)
                *token = row.listed[i];
    __syncthreads();
    return found.before.weight + found.here.weight;
}

/// What all candidates are and weigh. All threads, after they have met.
DEVICE Sum total(const Bins& bins)
{
    __shared__ Sum warps[Warps];
    Sum all = bins.of(threadIdx.x);
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2)
        all = all + Sum{__shfl_xor_sync(0xffffffffu, all.count, distance), __shfl_xor_sync(0xffffffffu, all.weight, distance)};
    if (threadIdx.x % 32 == 0)
        warps[threadIdx.x / 32] = all;
    __syncthreads();
    all = warps[0];
    for (int w = 1; w < Warps; w++)
        all = all + warps[w];
    return all;
}

/// Draws a token among those that the settings leave. All threads.
DEVICE void draw(const Row& row, u64 top, float share, u32 word, int* token)
{
    __shared__ Bins first, next;
    first.clear();
    for (i64 i = row.first + threadIdx.x; i < row.end; i += Threads)
    {
        u32 distance = row.distance(i);
        if (distance != NEVER)
            first.add(distance >> 32 - DigitBits, distance);
    }
    meet();
    Sum all = total(first);
    u64 sum = all.weight;
    if (top > 0 && top < all.count)
        sum = descend(row, first, next, true, top - 1);
    if (share < 1)
    {
        u64 reached = part(sum, (u32)(share * 4294967296.0f));
        sum = descend(row, first, next, false, reached > 0 ? reached - 1 : 0);
    }
    descend(row, first, next, false, part(sum, word), token);
}

extern "C" __global__ void __launch_bounds__(Threads) choose_token(
    const float* logits, const float* settings, const int* streams, const int* places, int* tokens, u32* listed, i64 width)
{
    let_next_start();
    await_inputs();
    int number = blockIdx.x / BLOCKS, share = blockIdx.x % BLOCKS;
    float temperature = settings[0];
    u64 top = (u64)settings[1];
    i64 first = width * share / BLOCKS, end = width * (share + 1) / BLOCKS;
    Row row = {logits + number * width, listed + number * width + first, first, end, 0, temperature};
    u64 best = row.best();
    row.largest = unordered((u32)(best >> 32));
    bool exists = is_finite(row.largest);
    if (exists && temperature != 0 && top != 1)
        draw(row, top, settings[2], random_word(streams[2 * number], ((u64)(u32)streams[2 * number + 1] << 32) + (u32)places[number]), tokens + number);
    else if (share == 0 && threadIdx.x == 0)
        tokens[number] = exists ? (int)~(u32)best : NONE;
    meet();
}
