// What a warp makes of a tile of scores, 16 rows by KEYS: hidden pairs, exponentials, and at the end the result (Dao et al.
// 2022, FlashAttention, algorithm 1: online softmax). The tensor core's accumulators give a thread two rows.

/// What makes the exponent of 2 of what `modify` leaves.
constexpr float Scale2 = MODIFIED ? Log2E : SCALE * Log2E;

/// The softmax of two rows in progress: the largest score so far, as the product gave it, and this thread's share of the sum.
struct Softmax
{
    float largest[2] = {-infinity(), -infinity()}, sum[2] = {0, 0};

    /// Scores become exponentials; gives the factors by which what was summed before shrinks.
    DEVICE void update(float (&s)[KEYS / 2], float (&shrink)[2])
    {
#pragma unroll
        for (int r = 0; r < 2; r++)
        {
            float most = largest[r];
#pragma unroll
            for (int i = 0; i < KEYS / 2; i += 4)
                most = fmaxf(most, fmaxf(s[i + 2 * r], s[i + 2 * r + 1]));
            most = quad_max(most);
            float origin = most == -infinity() ? 0 : most * Scale2, total = 0;
            shrink[r] = exp2_fast(largest[r] * Scale2 - origin);
            largest[r] = most;
#pragma unroll
            for (int i = 0; i < KEYS / 2; i += 4)
            {
                s[i + 2 * r] = exp2_fast(s[i + 2 * r] * Scale2 - origin);
                s[i + 2 * r + 1] = exp2_fast(s[i + 2 * r + 1] * Scale2 - origin);
                total += s[i + 2 * r] + s[i + 2 * r + 1];
            }
            sum[r] = sum[r] * shrink[r] + total;
        }
    }
};

/// Applies the score modification, and hides what the mask hides. q, k: positions of the thread's first element.
DEVICE void modify(float (&s)[KEYS / 2], const Extra& extra, int b, int h, int q, int k, bool some, int keys)
{
#if MODIFIED
#pragma unroll
    for (int i = 0; i < KEYS / 2; i++)
        s[i] = modified(extra, b, h, q + accumulator_row(i), k + accumulator_column(i), s[i] * SCALE);
#endif
    if (some)
#pragma unroll
        for (int i = 0; i < KEYS / 2; i++)
            if (!visible_pair(extra, b, h, q + accumulator_row(i), k + accumulator_column(i), keys))
                s[i] = -infinity();
}

/// The weighted values of a warp's 16 rows from `row` on, and their log-sum-exp where it is wanted.
template <int Count> DEVICE void store_result(
    const float (&o)[Count], const Softmax& softmax, const Heads& output, float* logSumExp, int b, int h, int heads, int row, int queries, int valueSize)
{
    int rows = queries - row;
    float inverse[2];
#pragma unroll
    for (int r = 0; r < 2; r++)
    {
        float sum = quad_sum(softmax.sum[r]);
        inverse[r] = sum == 0 ? 0 : 1 / sum;
        int i = lane_index() / 4 + 8 * r;
        if (logSumExp && (lane_index() & 3) == 0 && i < rows)
            logSumExp[(i64)(b * heads + h) * queries + row + i] = sum == 0 ? -infinity() : (softmax.largest[r] * Scale2 + log2_fast(sum)) * Ln2;
    }
    store_rows(o, inverse[0], inverse[1], row_pointer(output, b, row, h), output.position, rows, valueSize);
}
