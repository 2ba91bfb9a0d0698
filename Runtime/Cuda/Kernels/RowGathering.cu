// Gathers the left's rows of a grouped product, group by group, each group's from a multiple of 64 on, zeros in between, while products
// are under way: two warps of each block, by the copy engine, one into shared memory, the other out of it. Blocks take turns at sixteen rows of
// a tile, in the order in which products come to the tiles, and at most two tiles of each block ahead of them, so that what is gathered is
// read while it lies in the second-level cache. Whoever reads a tile's rows waits until all of them are there. Gathering waits for products
// only as far ahead as those have all the rows that they need, and all blocks run at once: none waits for ever.
// GATHERS: slots of that memory; SLOT_BYTES: of a slot, a row or as much of it as fits.

constexpr int SlotElements = SLOT_BYTES / 2, UnitRows = 16, UnitsOfTile = Rows / UnitRows;

/// Where a block's products are once they have come to their end.
constexpr int NoMoreTiles = 0x7fffffff;

struct RowGathering
{
    u32 slots;
    Gates gates;

    /// Waits until all rows of a tile are there, to which the block's products have come.
    DEVICE void await(const ProductArgs& args, const TilePlace& place, int tile) const
    {
        store_release(current(args), tile);
        const int* done = tile_rows(args) + place.before / tiles_of(args.columns, Columns) + place.row / Rows;
        int rows = min(Rows, place.rows(args) - place.row);
        while (load_acquire(done) < rows)
            ;
        copies_fence();
    }

    /// By the thread that has awaited tiles, after the last.
    DEVICE void end(const ProductArgs& args) const { store_release(current(args), NoMoreTiles); }

    /// Copies rows into shared memory; by one warp.
    DEVICE void load(const ProductArgs& args) const
    {
        RingOf<GATHERS> ring;
        TilePlace place(args);
        for (int unit = blockIdx.x; place.find(args, unit / UnitsOfTile, 1); unit += gridDim.x)
        {
            int row = row_of(place, unit), count = min(UnitRows, place.rows(args) - row);
            // Once its last row is copied, the block may leave: what products have come to is no longer told.
            if (count <= 0)
                continue;
            int firstOfBand = (place.before + place.row / Rows / Band * Band) * tiles_of(args.columns, Columns);
            await_current(args, firstOfBand - 2 * (int)gridDim.x);
            int source = lane_index() < count ? args.order[place.start + row + lane_index()] / (int)args.share : 0;
            for (int i = 0; i < count; i++)
            {
                const Element* from = args.left + __shfl_sync(0xffffffffu, source, i) * args.leftStride;
                if (lane_index() == 0)
                    for (int k = 0; k < args.depth; k += SlotElements, ring.advance())
                    {
                        int bytes = 2 * min(SlotElements, args.depth - k);
                        gates.await_empty(ring);
                        gates.expect(ring, bytes);
                        copy_bytes(slots + ring.stage * SLOT_BYTES, from + k, bytes, gates.full + 8 * ring.stage);
                    }
            }
        }
    }

    /// Copies them out of it, and says so; by another warp.
    DEVICE void store(const ProductArgs& args) const
    {
        RingOf<GATHERS> ring;
        TilePlace place(args);
        for (int unit = blockIdx.x; place.find(args, unit / UnitsOfTile, 1); unit += gridDim.x)
        {
            int row = row_of(place, unit), count = min(UnitRows, place.rows(args) - row);
            Element* target = args.gathered + (i64)(place.aligned + row) * args.depth;
            for (int i = 0; i < count; i++, target += args.depth)
                for (int k = 0; k < args.depth; k += SlotElements, ring.advance())
                {
                    gates.await_full(ring);
                    if (lane_index() == 0)
                    {
                        copy_bytes_out(target + k, slots + ring.stage * SLOT_BYTES, 2 * min(SlotElements, args.depth - k));
                        copies_commit();
                        copies_wait_read();
                    }
                    __syncwarp();
                    gates.release(ring);
                }
            if (count > 0 && lane_index() == 0)
            {
                copies_wait();
                copies_fence();
                add_release(tile_rows(args) + unit / UnitsOfTile, count);
            }
            int room = tiles_of(place.rows(args), GroupAlignment) * GroupAlignment - row;
            for (int i = max(count, 0); i < min(UnitRows, room); i++, target += args.depth)
                for (int k = 8 * lane_index(); k < args.depth; k += 8 * 32)
                    *(uint4*)(target + k) = make_uint4(0, 0, 0, 0);
        }
        await_current(args, NoMoreTiles);
        leave(args, place.before);
    }

private:
    /// The tile that the block's products have come to: before that stands how many blocks have left.
    DEVICE static int* current(const ProductArgs& args) { return args.progress + 1 + blockIdx.x; }

    /// How many rows of each tile's are there.
    DEVICE static int* tile_rows(const ProductArgs& args) { return args.progress + 1 + gridDim.x; }

    DEVICE static int row_of(const TilePlace& place, int unit) { return place.row + unit % UnitsOfTile * UnitRows; }

    DEVICE static void await_current(const ProductArgs& args, int tile)
    {
        while (load_acquire(current(args)) < tile)
            __nanosleep(1000);
        __syncwarp();
    }

    /// The last block to leave sets the progress back for the next launch.
    DEVICE static void leave(const ProductArgs& args, int tiles)
    {
        int left = 0;
        if (lane_index() == 0)
        {
            __threadfence();
            left = atomicAdd(args.progress, 1);
            __threadfence();
        }
        if (__shfl_sync(0xffffffffu, left, 0) == gridDim.x - 1)
            for (int i = lane_index(); i < 1 + gridDim.x + tiles; i += 32)
                args.progress[i] = 0;
    }
};
