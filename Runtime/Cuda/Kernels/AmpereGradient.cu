// What the gradients on the tensor cores of sm_80 and up share (Dao 2023, FlashAttention-2, algorithm 2). Blocks hold 64 rows and
// stream tiles of STREAMED; every gradient is summed in registers, by one block in one order.
// HEAD, VALUE: head sizes padded to 32.

struct GradientArgs
{
    Heads query, key, value, gradient, target, valueTarget;
    int queries, keys, heads, group, headSize, valueSize;
    const float* logSumExp;
    const float* rowDot;
    Extra extra;
};

constexpr int Rows = 4 * WarpRows;

/// Base 2, of a query; such that nothing is left of one that sees no key, or that doesn't exist.
DEVICE float log_sum_exp2(const GradientArgs& args, int b, int h, int q)
{
    float x = q < args.queries ? args.logSumExp[(i64)(b * args.heads + h) * args.queries + q] : -infinity();
    return x == -infinity() ? infinity() : x * Log2E;
}

DEVICE float row_dot(const GradientArgs& args, int b, int h, int q)
{
    return q < args.queries ? args.rowDot[(i64)(b * args.heads + h) * args.queries + q] : 0;
}

/// Of one pair of positions: its product of query and key becomes the probability, its product of gradient and value the
/// gradient of scale · product.
DEVICE void differentiate(float& s, float& dp, const GradientArgs& args, int b, int h, int q, int k, bool some, float logSumExp2, float dot)
{
    float change;
    s = some && !visible_pair(args.extra, b, h, q, k, args.keys) ? 0 : probability(args.extra, s, logSumExp2, b, h, q, k, change);
    dp = s == 0 ? 0 : s * (dp - dot) * change;
}
