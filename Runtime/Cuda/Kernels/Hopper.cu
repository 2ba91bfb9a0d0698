// The instructions of sm_90a that C++ has no words for: barriers in shared memory, bulk tensor copies and
// warpgroup products. Shared memory is addressed by 32-bit numbers throughout.

/// What cuTensorMapEncodeTiled writes.
struct alignas(64) TensorMap
{
    u64 words[16];
};

DEVICE void barrier_init(u32 barrier, int arrivals)
{
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}

/// Makes initialised barriers visible to the copy engine; a block barrier must follow.
DEVICE void barrier_init_fence() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }

DEVICE void barrier_arrive(u32 barrier)
{
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}

/// Arrives, and has the phase wait for so many bytes of bulk copies.
DEVICE void barrier_expect(u32 barrier, int bytes)
{
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}

DEVICE void barrier_wait(u32 barrier, u32 parity)
{
    u32 done;
    do
        asm volatile("{ .reg .pred p; mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2; selp.u32 %0, 1, 0, p; }"
                     : "=r"(done) : "r"(barrier), "r"(parity) : "memory");
    while (!done);
}

/// Where a place in shared memory is found in a block of the cluster.
DEVICE u32 place_there(u32 place, u32 rank)
{
    u32 there;
    asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(place), "r"(rank));
    return there;
}

/// Arrives at a barrier that place_there has found.
DEVICE void barrier_arrive_there(u32 barrier)
{
    asm volatile("mbarrier.arrive.shared::cluster.b64 _, [%0];" ::"r"(barrier) : "memory");
}

/// A block's number in its cluster.
DEVICE u32 cluster_rank()
{
    u32 rank;
    asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    return rank;
}

/// A barrier of all threads of a cluster.
DEVICE void cluster_sync()
{
    asm volatile("barrier.cluster.arrive.release.aligned;\n\tbarrier.cluster.wait.acquire.aligned;" ::: "memory");
}

/// A box of a tensor of four axes (innermost first), from global to shared memory.
DEVICE void copy_box(u32 target, const TensorMap& map, u32 barrier, int x, int y, int z, int w)
{
    asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6}], [%2];"
                 ::"r"(target), "l"(&map), "r"(barrier), "r"(x), "r"(y), "r"(z), "r"(w) : "memory");
}

/// The same to that place in each block of a cluster whose bit is set, telling the barrier that lies there in each.
DEVICE void copy_box_to(unsigned short blocks, u32 target, const TensorMap& map, u32 barrier, int x, int y, int z, int w)
{
    asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1, {%4, %5, %6, %7}], [%2], %3;"
                 ::"r"(target), "l"(&map), "r"(barrier), "h"(blocks), "r"(x), "r"(y), "r"(z), "r"(w) : "memory");
}

/// So many bytes as they lie, a multiple of 16.
DEVICE void copy_bytes(u32 target, const void* source, int bytes, u32 barrier)
{
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];"
                 ::"r"(target), "l"(source), "r"(bytes), "r"(barrier) : "memory");
}

/// So many bytes from shared to global memory, a multiple of 16.
DEVICE void copy_bytes_out(void* target, u32 source, int bytes)
{
    asm volatile("cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], %2;" ::"l"(target), "r"(source), "r"(bytes) : "memory");
}

/// Ends a group of what the thread copies out.
DEVICE void copies_commit() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }

/// Waits until all that the thread copies out has been read from shared memory.
DEVICE void copies_wait_read() { asm volatile("cp.async.bulk.wait_group.read 0;" ::: "memory"); }

/// Waits until all that the thread has copied out is there.
DEVICE void copies_wait() { asm volatile("cp.async.bulk.wait_group 0;" ::: "memory"); }

/// What the copy engine does in global memory and what threads do are in order across this point.
DEVICE void copies_fence() { asm volatile("fence.proxy.async.global;" ::: "memory"); }

/// 16 bytes by a thread itself, of which so many are there and the others zeros.
DEVICE void copy_piece(u32 target, const void* source, int bytes)
{
    asm volatile("cp.async.cg.shared::cta.global.L2::128B [%0], [%1], 16, %2;" ::"r"(target), "l"(source), "r"(bytes) : "memory");
}

/// Arrives once the pieces that the thread has copied are there.
DEVICE void pieces_arrive(u32 barrier)
{
    asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(barrier) : "memory");
}

/// Has products see what threads have copied.
DEVICE void pieces_fence() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

/// Stores four matrices of 8 by 8 elements of 16 bits; a lane gives the address of a row, and its pairs of each as a product's sums lie.
DEVICE void store_matrices(u32 target, u32 a, u32 b, u32 c, u32 d)
{
    asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(target), "r"(a), "r"(b), "r"(c), "r"(d) : "memory");
}

/// What another block's thread has stored by store_release is there with all that it had done before.
DEVICE int load_acquire(const int* source)
{
    int value;
    asm volatile("ld.acquire.gpu.global.s32 %0, [%1];" : "=r"(value) : "l"(source) : "memory");
    return value;
}

DEVICE void store_release(int* target, int value) { asm volatile("st.release.gpu.global.s32 [%0], %1;" ::"l"(target), "r"(value) : "memory"); }

/// Adds to what load_acquire reads.
DEVICE void add_release(int* target, int value) { asm volatile("red.release.gpu.global.add.s32 [%0], %1;" ::"l"(target), "r"(value) : "memory"); }

/// Adds to four floats in memory; loads and stores of such that other blocks add to pass by the first-level cache.
DEVICE void add_four(float4* target, float4 x)
{
    asm volatile("red.relaxed.gpu.global.add.v4.f32 [%0], {%1, %2, %3, %4};" ::"l"(target), "f"(x.x), "f"(x.y), "f"(x.z), "f"(x.w) : "memory");
}

DEVICE void store_four(float4* target, float4 x)
{
    asm volatile("st.global.cg.v4.f32 [%0], {%1, %2, %3, %4};" ::"l"(target), "f"(x.x), "f"(x.y), "f"(x.z), "f"(x.w) : "memory");
}

DEVICE float4 load_four(const float4* source)
{
    float4 x;
    asm volatile("ld.global.cg.v4.f32 {%0, %1, %2, %3}, [%4];" : "=f"(x.x), "=f"(x.y), "=f"(x.z), "=f"(x.w) : "l"(source) : "memory");
    return x;
}

/// A block-wide barrier of some of its threads, by number.
DEVICE void named_sync(int id, int threads) { asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory"); }

DEVICE void named_arrive(int id, int threads) { asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory"); }

template <int Registers> DEVICE void release_registers() { asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(Registers)); }

template <int Registers> DEVICE void claim_registers() { asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(Registers)); }

/// Describes a matrix in shared memory whose rows are pieces of 64 half-precision elements, 128 bytes, swizzled as the copy
/// engine's 128-byte mode does: eight rows to 1024 bytes. Its columns beyond 64 lie pieceBytes further on; only
/// products that contract over rows look at that.
DEVICE u64 matrix(u32 address, u32 pieceBytes = 16)
{
    return ((u64)1 << 62) | ((u64)(1024 >> 4) << 32) | ((u64)(pieceBytes >> 4) << 16) | ((address & 0x3ffff) >> 4);
}

DEVICE void product_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }

DEVICE void product_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

/// Waits until at most so many committed groups of products are under way.
template <int Pending> DEVICE void product_wait() { asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(Pending) : "memory"); }

/// Keeps the compiler from moving accesses to accumulators across this point.
template <int Count> DEVICE void pin(float (&values)[Count])
{
#pragma unroll
    for (int i = 0; i < Count; i++)
        asm volatile("" : "+f"(values[i])::"memory");
}

/// The same for what a product reads from registers: made in the midst of products under way, it would have them run one by one.
template <int Count> DEVICE void pin(u32 (&values)[Count])
{
#pragma unroll
    for (int i = 0; i < Count; i++)
        asm volatile("" : "+r"(values[i])::"memory");
}

#define ACC4(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define ACC16(i) ACC4(i), ACC4(i + 4), ACC4(i + 8), ACC4(i + 12)
#define REG0 "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15"
#define REG1 "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define REG2 "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47"
#define REG3 "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define REG4 "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79"
#define REG5 "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"
#define REG6 "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111"
#define REG7 "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"

// One step of 16 along the contracted axis, 64 rows by so many columns. `keep` false overwrites the accumulators.
// product: left and right from shared memory, contracted along their rows' contiguous elements, or over their rows.
// product_rows: left from registers; right contracted over its rows.
#define PRODUCT(COLUMNS, COUNT, REGISTERS, ACCUMULATORS, A, B, C, D, E, F)                                                        \
    template <int LeftOverRows = 0, int RightOverRows = 0>                                                                        \
    DEVICE void product(float (&d)[COUNT], u64 left, u64 right, int keep)                                                         \
    {                                                                                                                             \
        asm volatile("{ .reg .pred p; setp.ne.b32 p, %" #C ", 0; "                                                                \
                     "wgmma.mma_async.sync.aligned.m64n" #COLUMNS "k16.f32." ELEMENT "." ELEMENT " {" REGISTERS "}, "                   \
                     "%" #A ", %" #B ", p, 1, 1, %" #D ", %" #E "; }"                                                               \
                     : ACCUMULATORS : "l"(left), "l"(right), "r"(keep), "n"(LeftOverRows), "n"(RightOverRows));                   \
    }                                                                                                                             \
    DEVICE void product_rows(float (&d)[COUNT], const u32* left, u64 right, int keep)                                             \
    {                                                                                                                             \
        asm volatile("{ .reg .pred p; setp.ne.b32 p, %" #F ", 0; "                                                                \
                     "wgmma.mma_async.sync.aligned.m64n" #COLUMNS "k16.f32." ELEMENT "." ELEMENT " {" REGISTERS "}, "                   \
                     "{%" #A ", %" #B ", %" #C ", %" #D "}, %" #E ", p, 1, 1, 1; }"                                               \
                     : ACCUMULATORS : "r"(left[0]), "r"(left[1]), "r"(left[2]), "r"(left[3]), "l"(right), "r"(keep));             \
    }

#define REGISTERS32 REG0 ", " REG1
#define REGISTERS48 REGISTERS32 ", " REG2
#define REGISTERS64 REGISTERS48 ", " REG3
#define REGISTERS96 REGISTERS64 ", " REG4 ", " REG5
#define REGISTERS128 REGISTERS96 ", " REG6 ", " REG7
#define ACCUMULATORS32 ACC16(0), ACC16(16)
#define ACCUMULATORS48 ACCUMULATORS32, ACC16(32)
#define ACCUMULATORS64 ACCUMULATORS48, ACC16(48)
#define ACCUMULATORS96 ACCUMULATORS64, ACC16(64), ACC16(80)
#define ACCUMULATORS128 ACCUMULATORS96, ACC16(96), ACC16(112)

PRODUCT(64, 32, REGISTERS32, ACCUMULATORS32, 32, 33, 34, 35, 36, 37)
PRODUCT(96, 48, REGISTERS48, ACCUMULATORS48, 48, 49, 50, 51, 52, 53)
PRODUCT(128, 64, REGISTERS64, ACCUMULATORS64, 64, 65, 66, 67, 68, 69)
PRODUCT(192, 96, REGISTERS96, ACCUMULATORS96, 96, 97, 98, 99, 100, 101)
PRODUCT(256, 128, REGISTERS128, ACCUMULATORS128, 128, 129, 130, 131, 132, 133)
