// Tiles of attention in shared memory, and products of them by the tensor cores of one warp (mma.sync, sm_80 and up): a warp
// makes 16 rows. Rows are padded by 16 bytes, so that eight of them lie in different banks.

constexpr int WarpRows = 16, Padding = 8;

template <int Columns> constexpr int RowElements = Columns + Padding;

/// Copies `Rows` positions from `first` of one head, of which only those below `positions` and the columns below `size`
/// exist; the others are zeros. All threads of the block take part; await_tiles must follow.
template <int Rows, int Columns> DEVICE void load_tile(Element* to, const Heads& from, int b, int first, int h, int positions, int size)
{
    for (int i = threadIdx.x; i < Rows * (Columns / 8); i += blockDim.x)
    {
        int row = i / (Columns / 8), column = i % (Columns / 8) * 8;
        bool exists = first + row < positions && column < size;
        const Element* source = (const Element*)from.data + (exists ? from.offset(b, first + row, h) + column : 0);
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                     ::"r"(shared_address(to + row * RowElements<Columns> + column)), "l"(source), "r"(exists ? 16 : 0) : "memory");
    }
}

DEVICE void await_tiles()
{
    asm volatile("cp.async.wait_all;" ::: "memory");
    __syncthreads();
}

DEVICE void load_matrices(u32 (&pairs)[4], u32 address)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(pairs[0]), "=r"(pairs[1]), "=r"(pairs[2]), "=r"(pairs[3]) : "r"(address) : "memory");
}

/// Four sums of an accumulator.
template <int Count> DEVICE float (&fragment(float (&sums)[Count], int index))[4] { return *(float(*)[4])(sums + 4 * index); }

/// sums = left · rightᵀ: 16 rows of left, `Rows` of right, over `Depth` columns of both.
template <int Depth, int Rows> DEVICE void multiply(float (&sums)[Rows / 2], const Element* left, const Element* right)
{
    constexpr int Stride = RowElements<Depth>;
    int lane = lane_index();
    u32 l = shared_address(left + (lane & 15) * Stride + lane / 16 * 8);
    u32 r = shared_address(right + ((lane & 7) + lane / 16 * 8) * Stride + lane / 8 % 2 * 8);
#pragma unroll
    for (int i = 0; i < Rows / 2; i++)
        sums[i] = 0;
#pragma unroll
    for (int d = 0; d < Depth; d += 16)
    {
        u32 a[4];
        load_matrices(a, l + d * 2);
#pragma unroll
        for (int n = 0; n < Rows; n += 16)
        {
            u32 b[4];
            load_matrices(b, r + (n * Stride + d) * 2);
            multiply_fragment(fragment(sums, n / 8), a[0], a[1], a[2], a[3], b[0], b[1]);
            multiply_fragment(fragment(sums, n / 8 + 1), a[0], a[1], a[2], a[3], b[2], b[3]);
        }
    }
}

/// sums += left · right: left is an accumulator of 16 rows by `Depth`, right has `Depth` rows, of which `Columns` columns
/// from its start count.
template <int Depth, int Columns, int Stride> DEVICE void multiply_rows(float (&sums)[Columns / 2], const float (&left)[Depth / 2], const Element* right)
{
    int lane = lane_index();
    u32 r = shared_address(right + (lane & 15) * Stride + lane / 16 * 8);
#pragma unroll
    for (int d = 0; d < Depth; d += 16)
    {
        u32 a[4];
#pragma unroll
        for (int i = 0; i < 4; i++)
            a[i] = pack(left[d / 2 + 2 * i], left[d / 2 + 2 * i + 1]);
#pragma unroll
        for (int n = 0; n < Columns; n += 16)
        {
            u32 b[4];
            load_transposed(b, r + (d * Stride + n) * 2);
            multiply_fragment(fragment(sums, n / 8), a[0], a[1], a[2], a[3], b[0], b[1]);
            multiply_fragment(fragment(sums, n / 8 + 1), a[0], a[1], a[2], a[3], b[2], b[3]);
        }
    }
}
