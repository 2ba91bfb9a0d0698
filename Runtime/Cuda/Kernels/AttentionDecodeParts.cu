// Parts of a row that several blocks have computed, brought together: by the blocks of a cluster, which send each other the columns that each
// adds, or in global memory.

/// Floats of a part's row: its weighted values, then its largest score (times log₂ e) and its sum.
constexpr int PartFloats = VALUE + 2;

typedef float Part[GROUP][PartFloats];

#if CLUSTERED
/// A row's parts in the shared memory of each block of its cluster, which has every blocks-th eight columns of them. One block alone is no cluster.
struct Parts
{
    Part* all;
    u32 barrier;
    int count, blocks;

    DEVICE Parts(Part* all, u64* barrier, int count) : all(all), barrier((u32)__cvta_generic_to_shared(barrier)), count(count), blocks(gridDim.x)
    {
        if (blocks == 1)
            return;
        if (threadIdx.x == 0)
        {
            barrier_init(this->barrier, 1);
            barrier_init_fence();
            int mine = (VALUE / 8 - blockIdx.x + blocks - 1) / blocks;
            barrier_expect(this->barrier, count * GROUP * (8 * mine + 2) * (int)sizeof(float));
        }
        asm volatile("barrier.cluster.arrive.relaxed;" ::: "memory");
    }

    /// Waits until all blocks are there.
    DEVICE void open() const
    {
        if (blocks > 1)
            asm volatile("barrier.cluster.wait;" ::: "memory");
    }

    DEVICE bool has(int tile) const { return tile % blocks == blockIdx.x; }

    DEVICE void put(int part, int h, int tile, int column, float x, float y) const { send(&all[part][h][8 * tile + column], tile % blocks, x, y); }

    /// All blocks want these; each warp has them, and sends them to one.
    DEVICE void end(int part, int h, float largest, float sum) const
    {
        if (threadIdx.x / 32 < blocks)
            send(&all[part][h][VALUE], threadIdx.x / 32, largest, sum);
    }

    DEVICE void send(float* to, int block, float x, float y) const
    {
        if (blocks == 1)
            *(float2*)to = make_float2(x, y);
        else
            asm volatile("st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.v2.f32 [%0], {%1, %2}, [%3];"
                         ::"r"(of_block((u32)__cvta_generic_to_shared(to), block)), "f"(x), "f"(y), "r"(of_block(barrier, block)) : "memory");
    }

    /// Where another block of the cluster has what this one has at an address.
    DEVICE static u32 of_block(u32 address, int block)
    {
        u32 there;
        asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(address), "r"(block));
        return there;
    }

    /// Waits for all that was sent to this block. Afterwards nobody touches its memory any more.
    DEVICE bool gather() const
    {
        if (blocks == 1)
            __syncthreads();
        else
            barrier_wait(barrier, 0);
        return true;
    }
};
#else
/// A row's parts in global memory.
struct Parts
{
    Part* all;
    int* counter;
    int count, blocks;

    DEVICE bool has(int) const { return true; }

    DEVICE void put(int part, int h, int tile, int column, float x, float y) const { *(float2*)&all[part][h][8 * tile + column] = make_float2(x, y); }

    DEVICE void end(int part, int h, float largest, float sum) const
    {
        if (threadIdx.x < 32)
            *(float2*)&all[part][h][VALUE] = make_float2(largest, sum);
    }

    /// Whether this block is the last of its row to have come here; all its threads then see every part.
    DEVICE bool gather() const
    {
        __shared__ bool last;
        __threadfence();
        __syncthreads();
        if (threadIdx.x == 0)
        {
            last = atomicAdd(counter, 1) == blocks - 1;
            if (last)
                *counter = 0;
            __threadfence();
        }
        __syncthreads();
        return last;
    }
};
#endif
