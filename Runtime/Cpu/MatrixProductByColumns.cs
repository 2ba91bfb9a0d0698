namespace Legato.Runtime.Cpu;

/// <summary>
/// Products of some hundred rows and weights stored [N,K]; several of one left matrix are computed as one. A, which all columns
/// need, is packed once for all products. Workers claim blocks of columns and pack them into memory of their own, which stays in
/// the L2 cache: panels that pass from core to core, or through memory, would cost more than the turning of their elements. While
/// a block is multiplied, the weights of the next are fetched. Columns are computed of all members of their chain, in their
/// order, so that a later one's epilogue finds what it reads of an earlier one.
/// </summary>
/// <param name="members">The products, chain by chain.</param>
/// <param name="chains">How many products each chain has.</param>
internal readonly unsafe ref struct MatrixProductByColumns(ReadOnlySpan<MatrixProductArgs> members, ReadOnlySpan<int> chains, int workers, MatrixProductTile tile)
{
    /// <summary>Packed rows beyond so many bytes leave the L3 cache while the columns pass.</summary>
    private const long MostABytes = 8 << 20;

    /// <summary>A worker has at least so many blocks, that none waits long for the last.</summary>
    private const int BlocksEach = 4;

    /// <summary>Tiles of rows that are packed as one item.</summary>
    private const int TilesPacked = 4;

    /// <summary>Up to so many workers each packs all of A: to turn an element oneself takes half as long as to have it from another core.</summary>
    private const int WorkersApart = 2;

    private readonly ReadOnlySpan<MatrixProductArgs> members = members;
    private readonly ReadOnlySpan<int> chains = chains;

    /// <summary>Columns of all members of a chain.</summary>
    /// <param name="First">The chain's first member.</param>
    /// <param name="Members">How many it has; 0 where nothing is left.</param>
    private readonly record struct Block(int First, int Members, int Start, int End);

    public bool Suits
    {
        get
        {
            int panels = 0;
            foreach (ref readonly MatrixProductArgs args in members)
            {
                if (args.BatchCount != 1 || args.BRowStride != 1 || MatrixProductPrivate.Suits(args)) return false;
                panels += Panels(args);
            }
            return AFloats * sizeof(float) <= MostABytes && PanelBytes <= tile.CacheBytes && panels >= BlocksEach * workers;
        }
    }

    public long ScratchBytes => (AFloats * (PacksApart ? workers : 1) + BFloats * workers) * sizeof(float);

    private int M => members[0].M;

    private int K => members[0].K;

    private bool PacksApart => workers <= WorkersApart;

    private long PanelBytes => (long)K * tile.Columns * sizeof(float);

    /// <summary>A whole number of cache lines.</summary>
    private long AFloats => Lines((long)MatrixProduct.Divide(M, tile.Rows) * tile.AWidth * K);

    /// <summary>As much as half of the L2 cache's share holds, and a panel at least.</summary>
    private long BFloats => Lines(Math.Max(tile.CacheBytes / 2, PanelBytes) / sizeof(float));

    public void Run(Worker worker, nint scratch)
    {
        float* a = (float*)scratch, b = a + AFloats * (PacksApart ? workers : 1) + BFloats * worker.Index;
        if (PacksApart)
        {
            a += AFloats * worker.Index;
            PackRows(0, M, a);
        }
        else
        {
            int rows = TilesPacked * tile.Rows;
            while (worker.TryClaim(MatrixProduct.Divide(M, rows), out int item))
                PackRows(item * rows, Math.Min(M, (item + 1) * rows), a);
            worker.Barrier();
        }
        // Known one ahead, so that it can be fetched.
        Block block = BlockOf(worker.Claim());
        while (block.Members > 0)
        {
            Block next = BlockOf(worker.Claim());
            for (int i = block.First; i < block.First + block.Members; i++)
                Compute(members[i], a, b, block, i + 1 < block.First + block.Members ? Weights(i + 1, block) : Weights(next.First, next));
            block = next;
        }
    }

    private void PackRows(int m0, int m1, float* a)
    {
        nint panelStride = (nint)K * tile.AWidth;
        members[0].PackA(tile, 0, m0, m1, 0, K, a + m0 / tile.Rows * panelStride, panelStride);
    }

    /// <summary>Multiplies all rows with a block's columns, and meanwhile fetches the weights that come next.</summary>
    private void Compute(in MatrixProductArgs args, float* a, float* b, in Block block, WeightPiece next)
    {
        nint aPanelStride = (nint)K * tile.AWidth, bPanelStride = (nint)K * tile.Columns, cStride = (nint)args.CRowStride;
        bool liesReady = block.End <= args.ColumnsInPanels && args.BElement == MatrixElement.Float32;
        if (liesReady) b = (float*)args.B + block.Start * (nint)K;
        else args.PackB(tile, 0, block.Start, block.End, 0, K, b, bPanelStride);
        int tiles = MatrixProduct.Divide(M, tile.Rows) * MatrixProduct.Divide(block.End - block.Start, tile.Columns);
        byte* source = (byte*)next.Start;
        nint each = (next.Bytes + tiles - 1) / tiles;
        float* c = (float*)args.C;
        for (int m = 0; m < M; m += tile.Rows, a += aPanelStride, c += tile.Rows * cStride)
        {
            float* panel = b;
            for (int n = block.Start; n < block.End; n += tile.Columns, panel += bPanelStride, source += each)
                tile.Strip(Math.Min(tile.Rows, M - m), Math.Min(tile.Columns, block.End - n), K, a, aPanelStride, panel, c + n, cStride,
                    args.Accumulate, new MatrixProductNext(source, each));
        }
        args.Epilogue?.Invoke(0, 0, M, block.Start, block.End);
    }

    private WeightPiece Weights(int member, in Block block)
    {
        if (block.Members == 0) return default;
        ref readonly MatrixProductArgs args = ref members[member];
        nint stride = (nint)args.BColumnStride * args.BElementSize;
        return new WeightPiece(args.B + block.Start * stride, (block.End - block.Start) * stride);
    }

    /// <summary>Blocks of one chain after another. The last ones, before whose end workers wait, are a panel wide.</summary>
    private Block BlockOf(int item)
    {
        for (int chain = 0, first = 0; chain < chains.Length; first += chains[chain++])
        {
            int panels = Panels(members[first]), width = BlockPanels(chains[chain]);
            int narrow = chain + 1 == chains.Length && width > 1 ? Math.Min(panels, workers * width) : 0;
            int wide = MatrixProduct.Divide(panels - narrow, width);
            if (item < wide + narrow)
            {
                int start = item < wide ? item * width : panels - narrow + item - wide, end = item < wide ? Math.Min(start + width, panels - narrow) : start + 1;
                return new Block(first, chains[chain], start * tile.Columns, Math.Min(members[first].N, end * tile.Columns));
            }
            item -= wide + narrow;
        }
        return default;
    }

    /// <summary>Panels of each member in a block of a chain.</summary>
    private int BlockPanels(int chainMembers)
    {
        int panels = 0;
        foreach (ref readonly MatrixProductArgs args in members)
            panels += Panels(args);
        long most = Math.Min(tile.CacheBytes / 2 / PanelBytes, panels / (BlocksEach * workers));
        return (int)Math.Max(1, most / chainMembers);
    }

    private int Panels(in MatrixProductArgs args) => MatrixProduct.Divide(args.N, tile.Columns);

    private static long Lines(long floats) => (floats + 15) / 16 * 16;
}
