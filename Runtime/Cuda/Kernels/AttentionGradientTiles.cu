// What the kernel of attention's gradients goes through: tiles of keys, in each those queries that see any of it, and what the warps of a
// block share while they do.
// QUERIES: queries of a tile, 64; KEY_STAGES: tiles of keys and values; the rest as there.

struct GradientArgs
{
    int queries, keys, heads, group, tiles, work, headSize, valueSize, rows, early;
    Heads queryTarget, keyTarget, valueTarget;
    float* sums;
    int* turns;
    const float* rowSums;
    int* schedule;
    Extra extra;
};

/// Heads whose tiles are drawn in turn.
constexpr int Band = 8;

constexpr int KeyBytes = TileBytes<Rows, HEAD>, ValueBytes = TileBytes<Rows, VALUE>, ScoreBytes = TileBytes<Rows, QUERIES>;
constexpr int QueryBytes = TileBytes<QUERIES, HEAD>, GradientBytes = TileBytes<QUERIES, VALUE>, TileRowBytes = 2 * QUERIES * sizeof(float);

typedef RingOf<KEY_STAGES> KeyRing;

/// Key rows of one key head. Bands of heads from late keys to early ones: under a causal mask a block then finds that those before it
/// have added to a query's sum. That leaves the longest to the end, but for the last heads (from `early` on), which take turns the other way.
struct KeyTile
{
    int b, keyHead, row, ascends;

    DEVICE void find(const GradientArgs& args, int work)
    {
        ascends = work >= args.early * args.tiles;
        int first = ascends ? args.early : work / (Band * args.tiles) * Band, count = ascends ? args.rows - first : min(Band, args.early - first);
        int within = work - first * args.tiles, tile = within / count, head = first + within % count, keyHeads = args.heads / args.group;
        row = (ascends ? tile : args.tiles - 1 - tile) * Rows;
        b = head / keyHeads;
        keyHead = head % keyHeads;
    }

    DEVICE int kind(const GradientArgs& args, int h, int query, int key) const
    {
        int first = query * QUERIES, last = min(first + QUERIES, args.queries) - 1;
        return tile_kind(args.extra, b, h, first, last, key, key + Rows - 1, args.keys);
    }
};

/// The tiles of queries that see any of a tile's keys, head by head. Where none does it is the last head's first, of which all
/// pairs are hidden: it gives gradients of zero.
struct QueryTiles : KeyTile
{
    int h, query, count;
    bool some, any = false;
    TileWalk walk;

    DEVICE QueryTiles(const GradientArgs& args, const KeyTile& tile) : KeyTile(tile), h(keyHead * args.group), query(0), count((args.queries + QUERIES - 1) / QUERIES) {}

    /// Of the tile of queries, among all.
    DEVICE int index(const GradientArgs& args) const { return (b * args.heads + h) * count + query; }

    DEVICE bool advance(const GradientArgs& args)
    {
        for (;;)
        {
            query = walk.advance(count, [&](int tile) { return kind(args, h, tile, row); }, some);
            if (query >= 0)
                return any = true;
            if (h + 1 == (keyHead + 1) * args.group)
                break;
            h++;
            walk = TileWalk();
        }
        query = 0;
        if (any)
            return false;
        return some = any = true;
    }
};

struct GradientShared
{
    u32 key, value, query, gradient, scores;
    float* rows;
    KeyTile* work;
    struct Turn* turns;
    Gates keys, tiles, staged, turn, added;

    /// The tile whose keys and values are there; at the end one before the first row.
    DEVICE KeyTile await_keys(KeyRing at) const
    {
        keys.await_full(at);
        KeyTile tile = work[at.stage];
        __syncwarp();
        return tile;
    }
};
