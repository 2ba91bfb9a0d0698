// What the attention kernels share. The compiler's text comes before: struct Extra, the operands of its functions;
// admits(extra, b, h, q, k); modified(extra, b, h, q, k, score), which counts under MODIFIED, and its derivative slope; under MASKED
// mask_kind(extra, b, h, q0, q1, k0, k1), which tells of a box of positions, ends included, whether all its
// pairs are hidden (0), all visible (2) or neither is known (1); SCALE.

/// An operand [batch, position, head, element], strides in elements; a head's elements are contiguous.
struct Heads
{
    void* data;
    i64 batch, position, head;

    DEVICE i64 offset(int b, int q, int h) const { return b * batch + q * position + h * head; }
};

/// The tiles along one axis that hold a visible pair, in order: a warp classifies 32 at a time, one in each lane.
struct TileWalk
{
    int next = 0;
    u32 visible = 0, partial = 0;

    /// kind: of a tile, as mask_kind tells. Gives the tile's index, or -1 at the end.
    template <class Kind> DEVICE int advance(int count, Kind kind, bool& some)
    {
        while (visible == 0)
        {
            if (next >= count)
                return -1;
            int tile = next + lane_index(), what = tile < count ? kind(tile) : 0;
            visible = __ballot_sync(0xffffffffu, what != 0);
            partial = __ballot_sync(0xffffffffu, what == 1);
            next += 32;
        }
        int bit = __ffs(visible) - 1;
        visible &= visible - 1;
        some = (partial >> bit) & 1;
        return next - 32 + bit;
    }
};

/// What a mask makes of queries q0..q1 and keys k0..k1, of which only the first `keys` exist.
DEVICE int tile_kind(const Extra& extra, int b, int h, int q0, int q1, int k0, int k1, int keys)
{
#if MASKED
    int kind = mask_kind(extra, b, h, q0, q1, k0, min(k1, keys - 1));
#else
    int kind = 2;
#endif
    return kind == 2 && k1 >= keys ? 1 : kind;
}

DEVICE bool visible_pair(const Extra& extra, int b, int h, int q, int k, int keys)
{
    return k < keys && admits(extra, b, h, q, k);
}

/// exp(score - log-sum-exp), that in base 2, of a product of query and key; `slope` receives d score / d (scale · product).
DEVICE float probability(const Extra& extra, float product, float logSumExp2, int b, int h, int q, int k, float& change)
{
#if MODIFIED
    change = slope(extra, b, h, q, k, product * SCALE);
    return exp2_fast(modified(extra, b, h, q, k, product * SCALE) * Log2E - logSumExp2);
#else
    change = 1;
    return exp2_fast(product * (SCALE * Log2E) - logSumExp2);
#endif
}

DEVICE Output* row_pointer(const Heads& heads, int b, int q, int h) { return (Output*)heads.data + heads.offset(b, q, h); }

/// Stores a warp's 16 rows of an accumulator, the thread's two rows scaled. `target` is the first of them, of which so many
/// exist; columns beyond `columns` are padding.
template <int Count> DEVICE void store_rows(const float (&values)[Count], float scale0, float scale1, Output* target, i64 stride, int rows, int columns)
{
    int quad = lane_index() & 3, first = lane_index() >> 2;
#pragma unroll
    for (int half = 0; half < 2; half++)
    {
        int r = first + 8 * half;
        float scale = half ? scale1 : scale0;
        Output* row = target + r * stride;
        if constexpr (sizeof(Output) == 4)
        {
#pragma unroll
            for (int j = 0; j < Count / 4; j++)
                if (r < rows && 8 * j < columns)
                    *(float2*)(row + 8 * j + 2 * quad) = make_float2(values[4 * j + 2 * half] * scale, values[4 * j + 2 * half + 1] * scale);
        }
        else
        {
#pragma unroll
            for (int j = 0; j < Count / 4; j += 4)
            {
                u32 pairs[4];
#pragma unroll
                for (int i = 0; i < 4; i++)
                    pairs[i] = pack(values[4 * (j + i) + 2 * half] * scale, values[4 * (j + i) + 2 * half + 1] * scale);
                uint4 eight = quad_transpose(pairs[0], pairs[1], pairs[2], pairs[3]);
                if (r < rows && 8 * (j + quad) < columns)
                    *(uint4*)(row + 8 * (j + quad)) = eight;
            }
        }
    }
}
