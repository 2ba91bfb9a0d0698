// How the Hopper kernels of attention work together: a persistent grid whose blocks draw work from a counter; in each a
// producer warp that copies tiles into a ring of stages, and consumer warpgroups of 64 rows each.

// WARP_ARRIVALS: lanes that arrive at a barrier where a warp does. One can speak for all that __syncwarp has brought together; racecheck
// takes a lane's arrival for that lane's alone, so that kernels are compiled with 32 for it.
#ifndef WARP_ARRIVALS
#define WARP_ARRIVALS 1
#endif

constexpr int Warpgroup = 128, Rows = 64 * CONSUMERS, Threads = Warpgroup * (CONSUMERS + 1);
constexpr int ConsumerWarps = 4 * CONSUMERS;
constexpr int ConsumerRegisters = CONSUMERS == 2 ? 240 : CONSUMERS == 3 ? 160 : 240, ProducerRegisters = CONSUMERS == 3 ? 32 : 24;

/// Bytes of a row of a piece: a tile of more than 64 columns lies piece by piece.
constexpr int RowBytes = 128;

template <int TileRows, int Columns> constexpr int TileBytes = TileRows * Columns * 2;

/// A place in a ring of stages, and the parity of the round.
struct Place
{
    int stage = 0;
    u32 phase = 0;
};

template <int Stages> struct RingOf : Place
{
    DEVICE void advance()
    {
        if (++stage == Stages)
        {
            stage = 0;
            phase ^= 1;
        }
    }
};

typedef RingOf<STAGES> Ring;

/// Barriers of one operand's ring: `full` is awaited by consumers, `empty` by the producer.
struct Gates
{
    u32 full, empty;

    /// For so many arrivals of producers, and so many warps of consumers.
    DEVICE void init(int count, int producers, int consumers = ConsumerWarps)
    {
        for (int i = 0; i < count; i++)
        {
            barrier_init(full + 8 * i, producers);
            barrier_init(empty + 8 * i, consumers * WARP_ARRIVALS);
        }
    }

    DEVICE void await_full(Place place) const { barrier_wait(full + 8 * place.stage, place.phase); }

    DEVICE void await_empty(Place place) const { barrier_wait(empty + 8 * place.stage, place.phase ^ 1); }

    DEVICE void expect(Place place, int bytes) const { barrier_expect(full + 8 * place.stage, bytes); }

    /// A consumer warp is done with a stage. What its lanes have read by loads of their own, and not by products, wants a __syncwarp before.
    DEVICE void release(Place place) const
    {
        if (WARP_ARRIVALS > 1 || lane_index() == 0)
            barrier_arrive(empty + 8 * place.stage);
    }
};

/// Hands out the barriers of a block, one ring after the other; its first thread makes them ready.
struct Barriers
{
    u32 next;

    DEVICE Gates take(int count, int producers = 1, int consumers = ConsumerWarps)
    {
        Gates gates{next, next + 8 * count};
        if (threadIdx.x == 0)
            gates.init(count, producers, consumers);
        next += 16 * count;
        return gates;
    }
};

/// The memory that its launch gives a block, from where a swizzled tile may start.
DEVICE u32 tile_memory()
{
    extern __shared__ char memory[];
    return (shared_address(memory) + 1023) & ~1023u;
}

/// Splits a block, whose barriers are made, into a warp that produces and warpgroups that consume.
template <class Produce, class Consume> DEVICE void take_roles(Produce produce, Consume consume)
{
    if (threadIdx.x == 0)
        barrier_init_fence();
    __syncthreads();
    if (threadIdx.x < Warpgroup)
    {
        release_registers<ProducerRegisters>();
        if (threadIdx.x < 32)
            produce();
    }
    else
    {
        claim_registers<ConsumerRegisters>();
        consume(threadIdx.x / Warpgroup - 1);
    }
}

/// Copies `rows` positions from `position` of one head, `columns` wide, piece by piece.
DEVICE void copy_tile(u32 target, const TensorMap& map, u32 barrier, int rows, int columns, int position, int head, int batch)
{
    for (int column = 0; column < columns; column += 64)
        copy_box(target + column / 64 * rows * RowBytes, map, barrier, column, position, head, batch);
}

/// sums (+)= left · rightᵀ over `depth` columns of both, 64 rows of left.
template <int Depth, int Count> DEVICE void multiply(float (&sums)[Count], u32 left, int leftRows, u32 right, int rightRows)
{
    u64 a = matrix(left), b = matrix(right);
#pragma unroll
    for (int i = 0; i < Depth / 16; i++)
        product(sums, a + ((i / 4 * leftRows * RowBytes + i % 4 * 32) >> 4), b + ((i / 4 * rightRows * RowBytes + i % 4 * 32) >> 4), i);
}

/// sums += left · right over `depth` rows of right, or = where nothing is to keep; left is what pack_rows gives.
template <int Depth, int Count> DEVICE void multiply_rows(float (&sums)[Count], const u32* left, u32 right, int rightRows, bool keep = true)
{
    u64 b = matrix(right, rightRows * RowBytes);
#pragma unroll
    for (int i = 0; i < Depth / 16; i++)
        product_rows(sums, left + 4 * i, b + ((i * 16 * RowBytes) >> 4), i || keep);
}

/// An accumulator as the left operand of a product: neighbouring elements are neighbours there too.
template <int Count> DEVICE void pack_rows(u32 (&pairs)[Count / 2], const float (&values)[Count])
{
#pragma unroll
    for (int i = 0; i < Count / 2; i++)
        pairs[i] = pack(values[2 * i], values[2 * i + 1]);
    pin(pairs);
}

template <int Count> DEVICE void clear(float (&values)[Count])
{
#pragma unroll
    for (int i = 0; i < Count; i++)
        values[i] = 0;
}

/// Draws the next work item; the first of a block is its index.
DEVICE int draw(int* schedule)
{
    int next = 0;
    if (lane_index() == 0)
        next = gridDim.x + atomicAdd(schedule, 1);
    return next;
}

/// The last block to leave sets the counters back for the next launch.
DEVICE void leave(int* schedule)
{
    if (lane_index() == 0 && atomicAdd(schedule + 1, 1) == gridDim.x - 1)
        schedule[0] = schedule[1] = 0;
}
