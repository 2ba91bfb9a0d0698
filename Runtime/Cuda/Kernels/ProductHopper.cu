// Matrix products on sm_90a: a persistent grid, in each block producers that copy steps of 64 along the contracted
// axis into a ring of stages, and two consumer warpgroups that share a tile of 128 rows and 256 columns. Sizes may be odd:
// the copy engine gives zeros beyond the end. Every sum is made by one warpgroup in one order.
// LEFT_OVER_ROWS, RIGHT_OVER_ROWS: 1 where an operand is contracted over its rows, 0 along them. ACCUMULATE: whether an
// addend is read, which may be the output. BIAS: whether a vector is added to each row. GROUPED: 0 one product; 1 the left's
// rows in groups, each with a right of its own; 2 the contracted rows in groups, each with an output of its own.
// Rows in groups lie in the order of their groups, each group's from a multiple of 64 on, or, where PICKED is 1, anywhere:
// producers pick the left's rows then. Where GATHERS isn't 0, warps gather them (RowGathering.cu) while products are under way.
// DEFERRED: whether a tile's results, which are of 16 bits, are stored while the next tile's products are under way.

struct ProductShared
{
    u32 left, right;
    Gates gates;
    RowGathering gathering;
};

/// Rows of a tile that a group's rows read, wherever they lie: eight threads to a row, each with 16 bytes of it, swizzled as the
/// copy engine does. Beyond the group's end they are some row of it; what comes of them is not stored.
struct PickedRows
{
    static constexpr int Apart = Warpgroup / 8;
    const Element* sources[Rows / Apart];
    u32 target;

    PickedRows() = default;

    DEVICE PickedRows(const ProductArgs& args, const TilePlace& place)
    {
        int piece = threadIdx.x % 8, first = threadIdx.x / 8;
        target = first * RowBytes + (piece ^ first % 8) * 16;
#pragma unroll
        for (int i = 0; i < Rows / Apart; i++)
        {
            int row = place.start + min(place.row + first + i * Apart, place.rows(args) - 1);
            sources[i] = args.left + args.order[row] / (int)args.share * args.leftStride + piece * 8;
        }
    }

    /// Copies a step from column k on; `full` learns of it.
    DEVICE void copy(u32 tile, u32 full, int k, int depth) const
    {
        int bytes = k + (int)threadIdx.x % 8 * 8 < depth ? 16 : 0;
#pragma unroll
        for (int i = 0; i < Rows / Apart; i++)
            copy_piece(tile + target + i * Apart * RowBytes, sources[i] + (bytes ? k : 0), bytes);
        pieces_arrive(full);
    }
};

/// By one thread; where rows are picked, by a warpgroup, whose first thread copies the right operand.
DEVICE void produce(const ProductShared& shared, const TensorMap& left, const TensorMap& right, const ProductArgs& args)
{
    Ring ring;
    TilePlace place(args);
    for (int tile = blockIdx.x; place.find(args, tile); tile += gridDim.x)
    {
        int row = place.row + (GROUPED == 1 && !PICKED ? place.aligned : 0), first = GROUPED == 2 ? place.aligned : 0;
        PickedRows picked;
        if (PICKED)
            picked = PickedRows(args, place);
        if (GATHERS)
            shared.gathering.await(args, place, tile);
        for (int step = 0; step < place.steps; step++, ring.advance())
        {
            int k = first + step * Depth;
            u32 full = shared.gates.full + 8 * ring.stage, a = shared.left + ring.stage * LeftBytes, b = shared.right + ring.stage * RightBytes;
            shared.gates.await_empty(ring);
            if (PICKED)
                picked.copy(a, full, k, args.depth);
            if (PICKED && threadIdx.x > 0)
                continue;
            shared.gates.expect(ring, PICKED ? RightBytes : LeftBytes + RightBytes);
            if (LEFT_OVER_ROWS)
#pragma unroll
                for (int i = 0; i < Rows / 64; i++)
                    copy_box(a + i * PieceBytes, left, full, row + 64 * i, k, 0, 0);
            else if (!PICKED)
                copy_box(a, left, full, k, row, 0, 0);
            int matrix = GROUPED == 1 ? place.group : 0;
            if (RIGHT_OVER_ROWS)
#pragma unroll
                for (int i = 0; i < Columns / 64; i++)
                    copy_box(b + i * PieceBytes, right, full, place.column + 64 * i, k, 0, matrix);
            else
                copy_box(b, right, full, k, place.column, 0, matrix);
        }
    }
    if (GATHERS)
        shared.gathering.end(args);
}

/// Columns of a tile that are stored at once: what is added to is read before, so that all of it is under way together.
constexpr int StoredColumns = 128;

/// Some columns of one of the thread's two rows, pair by pair; `inside` of the row's columns exist from `target` and `addend` on.
DEVICE void store_pairs(const float* sums, Output* target, const Output* addend, int inside)
{
    constexpr int Pairs = StoredColumns / 8;
    Vec<Output, 2> old[Pairs];
    if (ACCUMULATE)
#pragma unroll
        for (int j = 0; j < Pairs; j++)
            if (8 * j + 1 < inside)
                old[j] = *(const Vec<Output, 2>*)(addend + 8 * j);
            else if (8 * j < inside)
                old[j].e[0] = addend[8 * j];
#pragma unroll
    for (int j = 0; j < Pairs; j++)
    {
        float x = sums[4 * j], y = sums[4 * j + 1];
        if (ACCUMULATE)
        {
            x += widen(old[j].e[0]);
            y += widen(old[j].e[1]);
        }
        if (8 * j + 1 < inside)
            *(Vec<Output, 2>*)(target + 8 * j) = Vec<Output, 2>{narrow<Output>(x), narrow<Output>(y)};
        else if (8 * j < inside)
            target[8 * j] = narrow<Output>(x);
    }
}

/// One of the thread's two rows of a tile, if it exists; `columns` are left of it from `target` on.
DEVICE void store_row(const float (&sums)[Columns / 2], int half, Output* target, const Output* addend, bool exists, int columns)
{
    int quad = lane_index() & 3;
    if (sizeof(Output) == 4 || ACCUMULATE || columns < Columns)
    {
#pragma unroll
        for (int first = 0; first < Columns; first += StoredColumns)
            store_pairs(sums + first / 2 + 2 * half, target + first + 2 * quad, addend + first + 2 * quad, exists ? columns - first - 2 * quad : 0);
    }
    else
    {
#pragma unroll
        for (int j = 0; j < Columns / 8; j += 4)
        {
            u32 pairs[4];
#pragma unroll
            for (int i = 0; i < 4; i++)
                pairs[i] = pack(sums[4 * (j + i) + 2 * half], sums[4 * (j + i) + 2 * half + 1]);
            uint4 eight = quad_transpose(pairs[0], pairs[1], pairs[2], pairs[3]);
            if (exists)
                *(uint4*)(target + 8 * (j + quad)) = eight;
        }
    }
}

/// Adds the bias to both rows; `columns` are left from `bias` on.
DEVICE void add_bias(float (&sums)[Columns / 2], const Output* bias, int columns)
{
    int first = 2 * (lane_index() & 3);
#pragma unroll
    for (int j = 0; j < Columns / 8; j++)
    {
        float x = 8 * j + first < columns ? widen(bias[8 * j + first]) : 0, y = 8 * j + first + 1 < columns ? widen(bias[8 * j + first + 1]) : 0;
        sums[4 * j] += x;
        sums[4 * j + 1] += y;
        sums[4 * j + 2] += x;
        sums[4 * j + 3] += y;
    }
}

/// Has a step's products begin, which lies where the ring is.
DEVICE void begin_step(const ProductShared& shared, const Ring& ring, int group, float (&sums)[Columns / 2])
{
    constexpr int LeftStep = LEFT_OVER_ROWS ? 16 * RowBytes : 32, RightStep = RIGHT_OVER_ROWS ? 16 * RowBytes : 32;
    u64 a = matrix(shared.left + ring.stage * LeftBytes + group * PieceBytes), b = matrix(shared.right + ring.stage * RightBytes, PieceBytes);
    shared.gates.await_full(ring);
    if (PICKED)
        pieces_fence();
    product_fence();
#pragma unroll
    for (int i = 0; i < Depth / 16; i++)
        product<LEFT_OVER_ROWS, RIGHT_OVER_ROWS>(sums, a + ((i * LeftStep) >> 4), b + ((i * RightStep) >> 4), 1);
    product_commit();
}

/// Where row r of a tile's group is stored, if it exists.
DEVICE i64 stored_row(const ProductArgs& args, const TilePlace& place, int r)
{
    return GROUPED == 1 && r < place.rows(args) ? args.order[place.start + r] : r;
}

DEVICE void store_tile(float (&sums)[Columns / 2], const ProductArgs& args, const TilePlace& place, int row)
{
    Output* output = args.output + (GROUPED == 2 ? place.group * args.groupStride : 0) + place.column;
    if (BIAS)
        add_bias(sums, args.bias + place.column, args.columns - place.column);
#pragma unroll
    for (int half = 0; half < 2; half++)
    {
        int r = row + 8 * half;
        i64 at = stored_row(args, place, r);
        store_row(
            sums, half, output + at * args.stride, args.addend + place.column + at * args.addendStride, r < place.rows(args), args.columns - place.column);
    }
}

DEVICE void consume(const ProductShared& shared, const ProductArgs& args, int group)
{
    Ring ring;
    Waiting waiting;
    TilePlace place(args);
    for (int tile = blockIdx.x; place.find(args, tile); tile += gridDim.x)
    {
        int row = place.row + group * 64 + (threadIdx.x & 127) / 32 * 16 + lane_index() / 4, rows = place.rows(args);
        if (GROUPED == 1 && place.row + group * 64 >= rows)
        {
            // A group's last tile may have no rows for this warpgroup.
            for (int step = 0; step < place.steps; step++, ring.advance())
            {
                shared.gates.await_full(ring);
                shared.gates.release(ring);
            }
            continue;
        }
        float sums[Columns / 2];
        clear(sums);
        Ring before = ring;
        for (int step = 0; step < place.steps; step++, ring.advance())
        {
            begin_step(shared, ring, group, sums);
            // While this step's products, and those before, are under way.
            if (DEFERRED)
                waiting.store();
            product_wait<1>();
            if (step > 0)
                shared.gates.release(before);
            before = ring;
        }
        product_wait<0>();
        pin(sums);
        if (place.steps > 0)
            shared.gates.release(before);
        if (DEFERRED)
        {
            waiting.store_all();
            waiting.take(sums);
            Element* output = (Element*)args.output + place.column;
            waiting.send(
                output + stored_row(args, place, row) * args.stride, output + stored_row(args, place, row + 8) * args.stride, rows - row,
                args.columns - place.column);
        }
        else
            store_tile(sums, args, place, row);
    }
    if (DEFERRED)
        waiting.store_all();
}

extern "C" __global__ void __launch_bounds__(Threads, 1) product_hopper(
    const __grid_constant__ TensorMap left, const __grid_constant__ TensorMap right, const __grid_constant__ ProductArgs args)
{
    __shared__ u64 barriers[2 * STAGES + 2 * GATHERS];
    ProductShared shared;
    shared.left = tile_memory();
    shared.right = shared.left + STAGES * LeftBytes;
    u32 first = shared_address(barriers);
    shared.gates = {first, first + 8 * STAGES};
    u32 second = first + 16 * STAGES;
    shared.gathering = {shared.right + STAGES * RightBytes, {second, second + 8 * GATHERS}};
    if (threadIdx.x == 0)
    {
        shared.gates.init(STAGES, PICKED ? 1 + Warpgroup : 1);
        if (GATHERS)
            shared.gathering.gates.init(GATHERS, 1, 1);
        barrier_init_fence();
    }
    __syncthreads();
    if (threadIdx.x < Warpgroup)
    {
        release_registers<PICKED ? 56 : GATHERS ? 40 : ProducerRegisters>();
        if (PICKED || threadIdx.x == 0)
            produce(shared, left, right, args);
        else if (GATHERS && threadIdx.x / 32 == 1)
            shared.gathering.load(args);
        else if (GATHERS && threadIdx.x / 32 == 2)
            shared.gathering.store(args);
    }
    else
    {
        claim_registers<PICKED ? 216 : GATHERS ? 232 : ConsumerRegisters>();
        consume(shared, args, threadIdx.x / Warpgroup - 1);
    }
}
